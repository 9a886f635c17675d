//! Every known service with its commands and their layouts.

use std::fmt;

use crate::fields::Schema;
use crate::message::CommandKind;
use crate::services;
use crate::uuid::Uuid;

/// A command of a service: enough to address it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CidId {
    /// Service.
    pub service: Uuid,
    /// Command number.
    pub cid: u32,
}

impl fmt::Debug for CidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `service/command`, by name or else by UUID and number.
impl fmt::Display for CidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match service(self.service) {
            Some(service) => f.write_str(service.name)?,
            None => fmt::Display::fmt(&self.service, f)?,
        }
        match cid(*self) {
            Some(cid) => write!(f, "/{}", cid.name),
            None => write!(f, "/{}", self.cid),
        }
    }
}

/// Version of the Microsoft extensions in force, which changes some layouts device-wide.
///
/// Plain MBIM 1.0 unless the host negotiated more through the `VERSION` command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// MBIM 1.0, MBIMEx 1.0.
    #[default]
    V1,
    /// MBIMEx 2.0.
    V2,
    /// MBIMEx 3.0.
    V3,
}

/// In which part of an exchange an information buffer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Command, query.
    Query,
    /// Command, set.
    Set,
    /// Answer to either.
    Done,
    /// Indication.
    Notify,
}

impl From<CommandKind> for Part {
    fn from(kind: CommandKind) -> Self {
        if kind == CommandKind::QUERY {
            Self::Query
        } else {
            Self::Set
        }
    }
}

/// Layouts of a command's information buffers; `None` where there is no such buffer or only raw bytes.
#[derive(Debug, Clone, Copy)]
pub struct Layouts {
    /// Query.
    pub query: Option<&'static Schema>,
    /// Set.
    pub set: Option<&'static Schema>,
    /// Answer.
    pub done: Option<&'static Schema>,
    /// Indication.
    pub notify: Option<&'static Schema>,
}

impl Layouts {
    /// No layouts.
    pub const NONE: Self = Self {
        query: None,
        set: None,
        done: None,
        notify: None,
    };

    const fn part(&self, part: Part) -> Option<&'static Schema> {
        match part {
            Part::Query => self.query,
            Part::Set => self.set,
            Part::Done => self.done,
            Part::Notify => self.notify,
        }
    }
}

/// A command of a service.
#[derive(Debug)]
pub struct Cid {
    /// Name in snake case.
    pub name: &'static str,
    /// Number.
    pub number: u32,
    /// Layouts of MBIM 1.0, and of commands that exist in later versions only.
    pub base: Layouts,
    /// Layouts that MBIMEx 2.0 changes.
    pub v2: Layouts,
    /// Layouts that MBIMEx 3.0 changes.
    pub v3: Layouts,
}

impl Cid {
    /// The layout of one part under a version: the newest not above it.
    #[must_use]
    pub fn layout(&self, part: Part, version: Version) -> Option<&'static Schema> {
        let v3 = self.v3.part(part).filter(|_| version >= Version::V3);
        let v2 = || self.v2.part(part).filter(|_| version >= Version::V2);
        v3.or_else(v2).or_else(|| self.base.part(part))
    }
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Name in snake case.
    pub name: &'static str,
    /// Identifier.
    pub uuid: Uuid,
    /// Its commands in the order of their numbers.
    pub cids: &'static [Cid],
}

impl Service {
    /// The command with this number.
    #[must_use]
    pub fn cid(&self, number: u32) -> Option<&'static Cid> {
        self.cids.iter().find(|cid| cid.number == number)
    }

    /// The command with this name (snake case, `-` for `_` allowed) or number.
    #[must_use]
    pub fn cid_named(&self, text: &str) -> Option<&'static Cid> {
        let wanted = text.to_ascii_lowercase().replace('-', "_");
        self.cids
            .iter()
            .find(|cid| cid.name == wanted || text.parse() == Ok(cid.number))
    }
}

/// Every known service.
#[must_use]
pub fn services() -> &'static [&'static Service] {
    services::ALL
}

/// The service with this identifier.
#[must_use]
pub fn service(uuid: Uuid) -> Option<&'static Service> {
    services()
        .iter()
        .copied()
        .find(|service| service.uuid == uuid)
}

/// The service with this name (snake case, `-` for `_` allowed) or identifier.
#[must_use]
pub fn service_named(text: &str) -> Option<&'static Service> {
    if let Ok(uuid) = text.parse() {
        return service(uuid);
    }
    let wanted = text.to_ascii_lowercase().replace('-', "_");
    services()
        .iter()
        .copied()
        .find(|service| service.name == wanted)
}

/// The command addressed.
#[must_use]
pub fn cid(id: CidId) -> Option<&'static Cid> {
    service(id.service)?.cid(id.cid)
}

/// States a service: its name, identifier and commands with the layout of each part. Generates
/// `SERVICE`, `UUID` and for each command a constant to address it.
macro_rules! service_table {
    (
        $name:ident = $uuid:literal {
            $($cid:ident $constant:ident = $number:literal {
                $($part:ident: $layout:ty),* $(,)?
                $(; v2 $($part2:ident: $layout2:ty),*)?
                $(; v3 $($part3:ident: $layout3:ty),*)?
            })*
        }
    ) => {
        /// Identifier of the service.
        pub const UUID: $crate::uuid::Uuid = $crate::uuid::Uuid::literal($uuid);

        $(
            #[doc = concat!("Command ", stringify!($number), ", `", stringify!($cid), "`.")]
            pub const $constant: $crate::registry::CidId =
                $crate::registry::CidId { service: UUID, cid: $number };
        )*

        /// The service.
        #[allow(clippy::needless_update)]
        pub static SERVICE: $crate::registry::Service = $crate::registry::Service {
            name: stringify!($name),
            uuid: UUID,
            cids: &[$($crate::registry::Cid {
                name: stringify!($cid),
                number: $number,
                base: $crate::registry::layouts!($($part: $layout),*),
                v2: $crate::registry::layouts!($($($part2: $layout2),*)?),
                v3: $crate::registry::layouts!($($($part3: $layout3),*)?),
            },)*],
        };
    };
}
pub(crate) use service_table;

macro_rules! layouts {
    ($($part:ident: $layout:ty),*) => {
        $crate::registry::Layouts {
            $($part: Some(<$layout as $crate::fields::Layout>::SCHEMA),)*
            ..$crate::registry::Layouts::NONE
        }
    };
}
pub(crate) use layouts;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{Field, Kind};

    #[test]
    fn names_and_numbers_are_unique() {
        for (index, service) in services().iter().enumerate() {
            for other in &services()[index + 1..] {
                assert!(
                    service.uuid != other.uuid && service.name != other.name,
                    "{}",
                    service.name
                );
            }
            for pair in service.cids.windows(2) {
                assert!(
                    pair[0].number < pair[1].number,
                    "{}: {} out of order",
                    service.name,
                    pair[1].name
                );
            }
        }
    }

    #[test]
    fn services_are_found_by_name_and_uuid() {
        let service = service_named("Basic-Connect").unwrap();
        assert_eq!(service.cid_named("device_caps").unwrap().number, 1);
        assert_eq!(service.cid_named("15").unwrap().name, "ip_configuration");
        assert_eq!(
            service_named("a289cc33-bcbb-8b4f-b6b0-133ec2aae6df")
                .unwrap()
                .name,
            "basic_connect"
        );
    }

    #[test]
    fn every_command_has_a_layout() {
        for service in services() {
            for cid in service.cids {
                let parts = [Part::Query, Part::Set, Part::Notify];
                assert!(
                    parts.iter().any(|part| cid.base.part(*part).is_some()),
                    "{}: {} can be sent nowhere",
                    service.name,
                    cid.name
                );
            }
        }
    }

    /// What carries AT commands, toolkit commands or whole foreign messages may carry a PIN, a
    /// number or the text of a message.
    #[test]
    fn tunnels_are_personal() {
        for name in ["stk", "compal", "fibocom", "intel_at_tunnel", "qmi"] {
            for cid in service_named(name).unwrap().cids {
                let layouts = [Part::Query, Part::Set, Part::Done, Part::Notify];
                for field in layouts
                    .iter()
                    .filter_map(|part| cid.base.part(*part))
                    .flat_map(|schema| schema.fields)
                {
                    let bytes = matches!(field.kind, Kind::Rest | Kind::Prefixed | Kind::Sized);
                    assert!(!bytes || field.personal, "{name}: {}", field.name);
                }
            }
        }
    }

    /// Counts, conditions and elements must refer to fields that exist and can be measured.
    fn check(schema: &'static Schema) {
        let position = |name: &str| {
            schema
                .position(name)
                .unwrap_or_else(|| panic!("{}: no field {name}", schema.name))
        };
        for (
            index,
            Field {
                name,
                kind,
                condition,
                ..
            },
        ) in schema.fields.iter().enumerate()
        {
            let place = format!("{}.{name}", schema.name);
            if let Some(condition) = condition {
                assert!(
                    position(condition.field) < index,
                    "{place}: condition comes later"
                );
            }
            match kind {
                Kind::Count { of } => assert!(
                    of.iter().all(|of| position(of) > index),
                    "{place}: counts backwards"
                ),
                Kind::Pointed { count } | Kind::Counted { count } => {
                    assert!(position(count) < index, "{place}: count comes later")
                }
                Kind::Refs { count, of } => {
                    assert!(position(count) < index, "{place}: count comes later");
                    match of {
                        Kind::Inline(inner) => check(inner),
                        Kind::Text => {}
                        other => panic!("{place}: no reader for elements {other:?}"),
                    }
                }
                Kind::Packed { count, of } | Kind::Listed { count, of } => {
                    assert!(position(count) < index, "{place}: count comes later");
                    assert!(
                        of.fixed_size().is_some(),
                        "{place}: elements of varying size"
                    );
                }
                Kind::At(of) => assert!(
                    of.fixed_size().is_some(),
                    "{place}: element of varying size"
                ),
                Kind::SizedArray(inner) => {
                    assert!(
                        inner.fixed_size().is_some(),
                        "{place}: elements of varying size"
                    );
                    check(inner);
                }
                Kind::Inline(inner) | Kind::SizedStruct(inner) => check(inner),
                Kind::Rest | Kind::Tlvs => {
                    assert_eq!(index + 1, schema.fields.len(), "{place}: not last")
                }
                _ => {}
            }
        }
    }

    #[test]
    fn layouts_are_consistent() {
        for cid in services().iter().flat_map(|service| service.cids) {
            for layouts in [&cid.base, &cid.v2, &cid.v3] {
                for part in [Part::Query, Part::Set, Part::Done, Part::Notify] {
                    layouts.part(part).into_iter().for_each(check);
                }
            }
        }
    }
}
