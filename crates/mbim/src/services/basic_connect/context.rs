//! Context types of data sessions, which are told apart by UUID (MBIM 1.0 section 10.5.12, with
//! Microsoft's additions).

use crate::uuid::Uuid;

macro_rules! context_types {
    ($($constant:ident $name:literal $uuid:literal),* $(,)?) => {
        /// UUIDs of the context types.
        pub mod context_type {
            use crate::uuid::Uuid;

            $(
                #[doc = concat!("The context type `", $name, "`.")]
                pub const $constant: Uuid = Uuid::literal($uuid);
            )*
        }

        const CONTEXT_TYPES: &[(Uuid, &str)] = &[$((context_type::$constant, $name)),*];
    };
}

context_types! {
    NONE "none" "b43f758c-a560-4b46-b35e-c5869641fb54",
    INTERNET "internet" "7e5e2a7e-4e6f-7272-736b-656e7e5e2a7e",
    VPN "vpn" "9b9f7bbe-8952-44b7-83ac-ca41318df7a0",
    VOICE "voice" "88918294-0ef4-4396-8cca-a8588fbc02b2",
    VIDEO_SHARE "video_share" "05a2a716-7c34-4b4d-9a91-c5ef0c7aaacc",
    PURCHASE "purchase" "b3272496-ac6c-422b-a8c0-acf687a27217",
    IMS "ims" "21610d01-3074-4bce-9425-b53a07d697d6",
    MMS "mms" "46726664-7269-6bc6-9624-d1d35389aca9",
    LOCAL "local" "a57a9afc-b09f-45d7-bb40-033c39f60db9",
    ADMIN "admin" "5f7e4c2e-e80b-40a9-a239-f0abcfd11f4b",
    APP "app" "74d88a3d-dfbd-4799-9a8c-7310a37bb2ee",
    XCAP "xcap" "50d378a7-baa5-4a50-b872-3fe5bb463411",
    TETHERING "tethering" "5e4e0601-48dc-4e2b-acb8-08b4016bbaac",
    EMERGENCY_CALLING "emergency_calling" "5f41adb8-204e-4d31-9da8-b3c970e360f2",
}

/// Returns the name of a context type in snake case, if it is a known one.
#[must_use]
pub fn context_type_name(uuid: Uuid) -> Option<&'static str> {
    CONTEXT_TYPES
        .iter()
        .find(|(known, _)| *known == uuid)
        .map(|(_, name)| *name)
}

/// Returns the context type with this name or UUID. Names are in snake case, with `-` allowed for
/// `_`, and case does not matter. Returns `None` for any other text.
#[must_use]
pub fn context_type_named(text: &str) -> Option<Uuid> {
    let wanted = text.to_ascii_lowercase().replace('-', "_");
    let named = CONTEXT_TYPES
        .iter()
        .find(|(_, name)| *name == wanted)
        .map(|(uuid, _)| *uuid);
    named.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uuids_map_both_ways() {
        assert_eq!(
            context_type_named("Video-Share"),
            Some(context_type::VIDEO_SHARE)
        );
        assert_eq!(context_type_name(context_type::INTERNET), Some("internet"));
        assert_eq!(
            context_type_named("7e5e2a7e-4e6f-7272-736b-656e7e5e2a7e"),
            Some(context_type::INTERNET)
        );
        assert_eq!(context_type_named("nonsense"), None);
    }
}
