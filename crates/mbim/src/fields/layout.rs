//! Macro that states a layout once for every direction.

/// Defines layouts. For each one it generates the struct (with `Debug`, `Clone`, `PartialEq`,
/// `Default`, `Serialize`), its [`Schema`](super::Schema) and [`Layout`](super::Layout), and
/// inherent `encode` and `decode`.
///
/// ```text
/// layout! {
///     /// Doc comment of the struct.
///     DeviceServices {
///         @device_services_count of device_services,     // a count: on the wire only
///         max_dss_sessions: u32,                          // encoding follows from the type
///         device_services: Vec<DeviceServiceElement> as refs(device_services_count),
///     }
///     PinSet {
///         pin: String [max(32), personal],                // options: max, personal, when, contents
///     }
/// }
/// ```
///
/// The encodings after `as` are `refs(count)`, `packed(count)`, `listed(count)`, `counted(count)`,
/// `pointed(count)`, `utf8`, `sized`, `sized_reversed`, `prefixed`, `rest`, `at`, `inline`,
/// `sized_struct`, `sized_array`, `tlv_text`, `tlv_numbers`, `tlvs` and `wide` (a named number as
/// 64 bits); [`Kind`](super::Kind) describes them.
macro_rules! layout {
    ($(
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(@$count:ident of $($of:ident)|+ ,)*
                $(#[$field_meta:meta])*
                $field:ident: $type:ty $(as $kind:ident $(($($argument:tt)*))?)? $([$($option:ident $(($($value:expr),*))?),*])?
            ),*
            $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = ""]
                #[doc = concat!(
                    "Field `", stringify!($field), "`, in the ",
                    $crate::fields::encoding!($type $(, $kind $(($($argument)*))?)?),
                )]
                pub $field: $type,
            )*
        }

        impl $name {
            /// Encodes the struct as an information buffer.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                $crate::fields::Layout::encode_info(self)
            }

            /// Decodes an information buffer. Bytes after the last field are tolerated.
            ///
            /// # Errors
            /// Returns the first problem that costs a value, with its offset in bytes.
            pub fn decode(info: &[u8]) -> Result<Self, $crate::fields::DecodeError> {
                $crate::fields::Layout::decode_info(info)
            }
        }

        /// Writes the fields with personal content hidden.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&$crate::fields::Layout::to_record(self), f)
            }
        }

        /// Serializes the fields with personal content hidden.
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let record = $crate::fields::Layout::to_record(self);
                serde::Serialize::serialize(
                    &$crate::print::record_json(&record, $crate::print::Personal::Hide),
                    serializer,
                )
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::fields::Wire::zero(),)* }
            }
        }

        impl $crate::fields::Layout for $name {
            const SCHEMA: &'static $crate::fields::Schema = &$crate::fields::Schema {
                name: stringify!($name),
                fields: &[$(
                    $($crate::fields::Field::new(
                        stringify!($count),
                        $crate::fields::Kind::Count { of: &[$(stringify!($of)),+] },
                    ),)*
                    $crate::fields::Field::new(
                        stringify!($field),
                        $crate::fields::kind!($type $(, $kind $(($($argument)*))?)?),
                    )$($(.$option($($($value),*)?))*)?,
                )*],
            };

            fn to_record(&self) -> $crate::fields::Record {
                $crate::fields::Record {
                    schema: Self::SCHEMA,
                    values: vec![$(
                        $({ let _: &str = stringify!($count); None },)*
                        Some($crate::fields::Wire::to_value(&self.$field)),
                    )*],
                }
            }

            #[allow(unused_variables, unused_mut)]
            fn from_record(record: $crate::fields::Record) -> Self {
                let mut values = record.values.into_iter();
                $(
                    $({ let _: &str = stringify!($count); let _ = values.next(); })*
                    let $field = values
                        .next()
                        .flatten()
                        .and_then($crate::fields::Wire::from_value)
                        .unwrap_or_else($crate::fields::Wire::zero);
                )*
                Self { $($field,)* }
            }
        }

        impl $crate::fields::Wire for $name {
            fn to_value(&self) -> $crate::fields::Value {
                $crate::fields::Value::Struct($crate::fields::Layout::to_record(self))
            }
            fn from_value(value: $crate::fields::Value) -> Option<Self> {
                match value {
                    $crate::fields::Value::Struct(record) => Some($crate::fields::Layout::from_record(record)),
                    _ => None,
                }
            }
            fn zero() -> Self {
                Self::default()
            }
        }

        impl $crate::fields::WireKind for $name {
            const KIND: $crate::fields::Kind =
                $crate::fields::Kind::Inline(<Self as $crate::fields::Layout>::SCHEMA);
        }
    )*};
}
pub(crate) use layout;

/// Expands to the words that end the documentation of a field, from its type and the word after
/// `as`.
macro_rules! encoding {
    ($type:ty) => {
        concat!(
            "usual encoding of `",
            stringify!($type),
            "` ([`WireKind`](crate::fields::WireKind))."
        )
    };
    ($type:ty, $kind:ident) => {
        concat!(
            "encoding `",
            stringify!($kind),
            "` of `",
            stringify!($type),
            "` ([`Kind`](crate::fields::Kind))."
        )
    };
    ($type:ty, $kind:ident($count:ident)) => {
        concat!(
            "encoding `",
            stringify!($kind),
            "` of `",
            stringify!($type),
            "` ([`Kind`](crate::fields::Kind)). The wire has its number of elements or bytes in `",
            stringify!($count),
            "`.",
        )
    };
}
pub(crate) use encoding;

/// Expands to the encoding of a field, from its type and the word after `as`.
macro_rules! kind {
    ($type:ty) => { <$type as $crate::fields::WireKind>::KIND };
    ($type:ty, refs($count:ident)) => {
        $crate::fields::Kind::Refs { count: stringify!($count), of: $crate::fields::kind!(@item $type) }
    };
    ($type:ty, packed($count:ident)) => {
        $crate::fields::Kind::Packed { count: stringify!($count), of: $crate::fields::kind!(@item $type) }
    };
    ($type:ty, listed($count:ident)) => {
        $crate::fields::Kind::Listed { count: stringify!($count), of: $crate::fields::kind!(@item $type) }
    };
    ($type:ty, at) => { $crate::fields::Kind::At($crate::fields::kind!(@item $type)) };
    ($type:ty, inline) => { *$crate::fields::kind!(@item $type) };
    ($type:ty, sized_struct) => { $crate::fields::Kind::SizedStruct($crate::fields::kind!(@schema $type)) };
    ($type:ty, sized_array) => { $crate::fields::Kind::SizedArray($crate::fields::kind!(@schema $type)) };
    ($type:ty, counted($count:ident)) => { $crate::fields::Kind::Counted { count: stringify!($count) } };
    ($type:ty, pointed($count:ident)) => { $crate::fields::Kind::Pointed { count: stringify!($count) } };
    ($type:ty, utf8) => { $crate::fields::Kind::Utf8 };
    ($type:ty, sized) => { $crate::fields::Kind::Sized };
    ($type:ty, sized_reversed) => { $crate::fields::Kind::SizedReversed };
    ($type:ty, prefixed) => { $crate::fields::Kind::Prefixed };
    ($type:ty, rest) => { $crate::fields::Kind::Rest };
    ($type:ty, tlv_text) => { $crate::fields::Kind::TlvText };
    ($type:ty, tlv_numbers) => { $crate::fields::Kind::TlvNumbers };
    ($type:ty, tlvs) => { $crate::fields::Kind::Tlvs };
    ($type:ty, wide) => { $crate::fields::Kind::Named { names: <$type>::NAMES, bytes: 8 } };
    (@item $type:ty) => { &<<$type as $crate::fields::List>::Item as $crate::fields::WireKind>::KIND };
    (@schema $type:ty) => { <<$type as $crate::fields::List>::Item as $crate::fields::Layout>::SCHEMA };
}
pub(crate) use kind;
