//! Lists of wanted indications (DEVICE_SERVICE_SUBSCRIBE_LIST, MBIM 1.0 section 10.5.30). A list
//! names services, each with its CIDs, or with none, which means all of them.

use std::collections::{BTreeMap, BTreeSet};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, DEVICE_SERVICE_SUBSCRIBE_LIST, DeviceServiceSubscribeList, EventEntry,
};
use uwwan_mbim::services::{phonebook, sms, stk, ussd};
use uwwan_mbim::session::Command;
use uwwan_mbim::uuid::Uuid;

/// Largest number of services in a client's list.
const MOST_SERVICES: usize = 64;
/// Largest number of CIDs in a client's list, of all services together.
const MOST_CIDS: usize = 512;

/// List of wanted indications. Order and repetitions do not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List(BTreeMap<Uuid, Wanted>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    All,
    These(BTreeSet<u32>),
}

impl List {
    /// Returns the list of the indications that a function sends after OPEN, which also holds for a
    /// client that has sent no list.
    pub(crate) fn standard() -> Self {
        let mut list = Self::default();
        for cid in [
            bc::SUBSCRIBER_READY_STATUS,
            bc::RADIO_STATE,
            bc::PREFERRED_PROVIDERS,
            bc::REGISTER_STATE,
            bc::PACKET_SERVICE,
            bc::SIGNAL_STATE,
            bc::CONNECT,
            bc::PROVISIONED_CONTEXTS,
            bc::IP_CONFIGURATION,
            bc::EMERGENCY_MODE,
            bc::MULTICARRIER_PROVIDERS,
            sms::CONFIGURATION,
            sms::READ,
            sms::MESSAGE_STORE_STATUS,
            ussd::USSD,
            phonebook::CONFIGURATION,
            stk::PAC,
        ] {
            list.add(cid.service, &[cid.cid]);
        }
        list
    }

    /// Returns the list in the information buffer of a client's set command, or `None` when the
    /// buffer is malformed or the list too long.
    pub(crate) fn parse(info: &[u8]) -> Option<Self> {
        let set = DeviceServiceSubscribeList::decode(info).ok()?;
        let cids: usize = set.events.iter().map(|entry| entry.cids.len()).sum();
        if set.events.len() > MOST_SERVICES || cids > MOST_CIDS {
            return None;
        }
        let mut list = Self::default();
        for entry in &set.events {
            list.add(entry.device_service_id, &entry.cids);
        }
        Some(list)
    }

    fn add(&mut self, service: Uuid, cids: &[u32]) {
        let wanted = self
            .0
            .entry(service)
            .or_insert_with(|| Wanted::These(BTreeSet::new()));
        match wanted {
            Wanted::These(these) if !cids.is_empty() => these.extend(cids),
            wanted => *wanted = Wanted::All,
        }
    }

    /// Adds the indications of another list.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (service, wanted) in &other.0 {
            match wanted {
                Wanted::All => self.add(*service, &[]),
                Wanted::These(these) => {
                    let these: Vec<u32> = these.iter().copied().collect();
                    self.add(*service, &these);
                }
            }
        }
    }

    /// Returns whether the list has an indication.
    pub(crate) fn wants(&self, id: CidId) -> bool {
        match self.0.get(&id.service) {
            None => false,
            Some(Wanted::All) => true,
            Some(Wanted::These(these)) => these.contains(&id.cid),
        }
    }

    /// Returns the set command that sends the list to the modem.
    pub(crate) fn command(&self) -> Command {
        let events = self
            .0
            .iter()
            .map(|(service, wanted)| EventEntry {
                device_service_id: *service,
                cids: match wanted {
                    Wanted::All => Vec::new(),
                    Wanted::These(these) => these.iter().copied().collect(),
                },
            })
            .collect();
        let content = DeviceServiceSubscribeList { events };
        Command::set(DEVICE_SERVICE_SUBSCRIBE_LIST, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(Uuid, &[u32])]) -> List {
        let events = entries
            .iter()
            .map(|(service, cids)| EventEntry {
                device_service_id: *service,
                cids: cids.to_vec(),
            })
            .collect();
        List::parse(&DeviceServiceSubscribeList { events }.encode()).unwrap()
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let [ready, radio, register] = [
            bc::SUBSCRIBER_READY_STATUS.cid,
            bc::RADIO_STATE.cid,
            bc::REGISTER_STATE.cid,
        ];
        let configuration = [sms::CONFIGURATION.cid];
        let one = list(&[
            (bc::UUID, &[radio, ready, radio]),
            (sms::UUID, &configuration),
            (bc::UUID, &[register]),
        ]);
        let other = list(&[
            (sms::UUID, &configuration),
            (bc::UUID, &[ready, radio, register]),
        ]);
        assert_eq!(one, other);
    }

    #[test]
    fn all_of_a_service_absorbs_the_rest() {
        let mut merged = list(&[(bc::UUID, &[bc::SUBSCRIBER_READY_STATUS.cid])]);
        merged.merge(&list(&[(bc::UUID, &[])]));
        merged.merge(&list(&[(bc::UUID, &[bc::RADIO_STATE.cid])]));
        assert_eq!(merged, list(&[(bc::UUID, &[])]));
        assert!(merged.wants(CidId {
            service: bc::UUID,
            cid: 77
        }));
        assert!(!merged.wants(sms::CONFIGURATION));
    }

    #[test]
    fn the_command_says_the_list() {
        let standard = List::standard();
        let command = standard.command();
        assert_eq!(List::parse(&command.info), Some(standard));
    }

    #[test]
    fn long_lists_are_refused() {
        let events = (0..=MOST_SERVICES)
            .map(|n| EventEntry {
                device_service_id: Uuid([n as u8; 16]),
                cids: vec![1],
            })
            .collect();
        let info = DeviceServiceSubscribeList { events }.encode();
        assert_eq!(List::parse(&info), None);
        let events = vec![EventEntry {
            device_service_id: bc::UUID,
            cids: (0..=MOST_CIDS as u32).collect(),
        }];
        let info = DeviceServiceSubscribeList { events }.encode();
        assert_eq!(List::parse(&info), None);
        assert_eq!(List::parse(&[1, 0, 0]), None);
    }
}
