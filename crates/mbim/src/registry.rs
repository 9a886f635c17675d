//! Every known service, found by its identifier or name.

use std::fmt;

pub use crate::service::{Cid, CidId, Layouts, Part, Service, Version};
use crate::services;
use crate::uuid::Uuid;

impl fmt::Debug for CidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes `service/command`, each by its name, or else by UUID and number.
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

/// Returns every known service.
#[must_use]
pub fn services() -> &'static [&'static Service] {
    services::ALL
}

/// Returns the service with this identifier.
#[must_use]
pub fn service(uuid: Uuid) -> Option<&'static Service> {
    services()
        .iter()
        .copied()
        .find(|service| service.uuid == uuid)
}

/// Returns the service with this name (snake case, `-` for `_` allowed) or identifier.
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

/// Returns the command that `id` addresses.
#[must_use]
pub fn cid(id: CidId) -> Option<&'static Cid> {
    service(id.service)?.cid(id.cid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{Field, Kind, Schema};

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

    /// Commands that carry AT commands, toolkit commands or messages of another protocol may carry
    /// a PIN, a number or the text of a message, so their content is personal.
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

    /// Checks that counts, conditions and elements refer to fields that exist and whose size is
    /// known.
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
