//! The name service, which has A and AAAA records for a few names and no recursion.

use std::collections::HashMap;
use std::net::IpAddr;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};

/// Time in seconds for which an answer may be kept.
const TTL: u32 = 60;

/// Names of the network with their addresses.
pub(super) struct Names(HashMap<String, Vec<IpAddr>>);

impl Names {
    pub(super) fn new(names: Vec<(String, Vec<IpAddr>)>) -> Names {
        Names(
            names
                .into_iter()
                .map(|(name, addresses)| {
                    (name.trim_end_matches('.').to_ascii_lowercase(), addresses)
                })
                .collect(),
        )
    }

    /// Returns the answer to a query; `None` for bytes that are no query that can be answered.
    pub(super) fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Packet::parse(query).ok()?;
        if query.has_flags(PacketFlag::RESPONSE) || query.questions.len() != 1 {
            return None;
        }
        let mut reply = Packet::new_reply(query.id());
        reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
        if query.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        let question = query.questions.first()?;
        reply.questions.push(question.clone());
        if query.opcode() != OPCODE::StandardQuery {
            *reply.rcode_mut() = RCODE::NotImplemented;
            return reply.build_bytes_vec_compressed().ok();
        }
        let name = question.qname.to_string().to_ascii_lowercase();
        match self.0.get(&name) {
            None => *reply.rcode_mut() = RCODE::NameError,
            Some(addresses)
                if matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) =>
            {
                let wanted = |address: &&IpAddr| match question.qtype {
                    QTYPE::TYPE(TYPE::A) => address.is_ipv4(),
                    QTYPE::TYPE(TYPE::AAAA) => address.is_ipv6(),
                    QTYPE::ANY => true,
                    _ => false,
                };
                for address in addresses.iter().filter(wanted) {
                    let data = match *address {
                        IpAddr::V4(v4) => RData::A(A { address: v4.into() }),
                        IpAddr::V6(v6) => RData::AAAA(AAAA { address: v6.into() }),
                    };
                    reply.answers.push(ResourceRecord::new(
                        question.qname.clone(),
                        CLASS::IN,
                        TTL,
                        data,
                    ));
                }
            }
            Some(_) => {}
        }
        reply.build_bytes_vec_compressed().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Names {
        Names::new(vec![(
            "Test.uwwan.".into(),
            vec![
                "198.51.100.1".parse().unwrap(),
                "2001:db8::1".parse().unwrap(),
            ],
        )])
    }

    /// Returns a query as a stub resolver sends it (RFC 1035 section 4.1).
    fn query(labels: &[&str], kind: u16) -> Vec<u8> {
        let mut query = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            query.push(label.len() as u8);
            query.extend(label.bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        query
    }

    #[test]
    fn a_known_name_has_its_addresses_by_family() {
        let answer = names()
            .answer(&query(&["tEst", "UWWAN"], 1))
            .expect("an answer");
        assert_eq!(answer[..2], [0x12, 0x34]);
        assert_eq!(answer[2] & 0x80, 0x80, "it is a response");
        assert_eq!(answer[3] & 0x0f, 0, "NOERROR");
        assert_eq!(answer[6..8], [0, 1], "one answer");
        assert_eq!(answer[answer.len() - 6..], [0, 4, 198, 51, 100, 1]);

        let answer = names()
            .answer(&query(&["test", "uwwan"], 28))
            .expect("an answer");
        assert_eq!(answer[6..8], [0, 1]);
        assert_eq!(
            answer[answer.len() - 18..answer.len() - 14],
            [0, 16, 0x20, 0x01]
        );
    }

    #[test]
    fn another_type_of_a_known_name_is_empty_and_another_name_does_not_exist() {
        let mx = names()
            .answer(&query(&["test", "uwwan"], 15))
            .expect("an answer");
        assert_eq!((mx[3] & 0x0f, &mx[6..8]), (0, &[0, 0][..]));
        let unknown = names()
            .answer(&query(&["nothing", "uwwan"], 1))
            .expect("an answer");
        assert_eq!((unknown[3] & 0x0f, &unknown[6..8]), (3, &[0, 0][..]));
    }

    #[test]
    fn a_response_is_not_answered() {
        let mut response = query(&["test", "uwwan"], 1);
        response[2] |= 0x80;
        assert_eq!(names().answer(&response), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), valid in any::<bool>()) {
            if valid && bytes.len() >= 12 {
                bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            }
            let _ = names().answer(&bytes);
        }
    }
}
