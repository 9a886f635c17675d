//! Questions to name servers, and the answers to them (RFC 1035).

use std::net::IpAddr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// Largest number of aliases between a name and its addresses.
const ALIASES: usize = 16;
/// Largest number of addresses of a name that are used.
const MOST: usize = 64;

/// Family of the addresses that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn kind(self) -> TYPE {
        match self {
            Self::V4 => TYPE::A,
            Self::V6 => TYPE::AAAA,
        }
    }
}

/// Meaning of an answer from a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses of the name, at least one.
    Addresses(Vec<IpAddr>),
    /// The name exists and has no address of that family.
    NoAddress,
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// The answer did not fit a datagram.
    Cut,
    /// The server cannot answer. The text is the name of its response code.
    Failed(String),
}

/// Returns a question for the addresses of a name, as a datagram. Returns `None` for a text that is
/// no name.
pub(super) fn question(id: u16, name: &str, family: Family) -> Option<Vec<u8>> {
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let class = QCLASS::CLASS(CLASS::IN);
    let kind = QTYPE::TYPE(family.kind());
    let question = Question::new(named(name)?, kind, class, false);
    query.questions.push(question);
    query.build_bytes_vec().ok()
}

/// Returns the labels of a name, if they are valid in the name of a host.
fn named(name: &str) -> Option<Name<'_>> {
    let sane = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.split('.').all(sane) {
        return None;
    }
    Name::new(name).ok()
}

/// Reads the answer to the question for that name with that id. Returns `None` for bytes that
/// answer another question or none.
pub(super) fn read(bytes: &[u8], id: u16, name: &str, family: Family) -> Option<Answer> {
    let packet = Packet::parse(bytes).ok()?;
    let [asked] = packet.questions.as_slice() else {
        return None;
    };
    let ours = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && asked.qtype == QTYPE::TYPE(family.kind())
        && is_same(&asked.qname.to_string(), name);
    if !ours {
        return None;
    }
    let found = addresses(&packet, name, family);
    Some(match packet.rcode() {
        RCODE::NoError if !found.is_empty() => Answer::Addresses(found),
        RCODE::NoError if packet.has_flags(PacketFlag::TRUNCATION) => Answer::Cut,
        RCODE::NoError => Answer::NoAddress,
        RCODE::NameError => Answer::NoName,
        code => Answer::Failed(format!("{code:?}")),
    })
}

/// Returns the addresses of a name, and those of the names that it is an alias of.
fn addresses(packet: &Packet<'_>, name: &str, family: Family) -> Vec<IpAddr> {
    let mut name = name.to_owned();
    for _ in 0..ALIASES {
        let theirs = packet.answers.iter();
        let mut theirs = theirs.filter(|record| is_same(&record.name.to_string(), &name));
        let found: Vec<_> = theirs
            .clone()
            .filter_map(|record| match (&record.rdata, family) {
                (RData::A(data), Family::V4) => Some(IpAddr::V4(data.address.into())),
                (RData::AAAA(data), Family::V6) => Some(IpAddr::V6(data.address.into())),
                _ => None,
            })
            .take(MOST)
            .collect();
        if !found.is_empty() {
            return found;
        }
        let alias = theirs.find_map(|record| match &record.rdata {
            RData::CNAME(alias) => Some(alias.0.to_string()),
            _ => None,
        });
        let Some(alias) = alias else { break };
        name = alias;
    }
    Vec::new()
}

fn is_same(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns an answer with its flags and code, and records of name, kind and data.
    fn answer(flags: [u8; 2], records: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let mut bytes = question(7, "a.test", Family::V4).unwrap();
        bytes[2..4].copy_from_slice(&flags);
        bytes[7] = records.len().try_into().unwrap();
        for (name, kind, data) in records {
            bytes.extend(*name);
            bytes.extend([
                0,
                *kind,
                0,
                1,
                0,
                0,
                0,
                60,
                0,
                data.len().try_into().unwrap(),
            ]);
            bytes.extend(*data);
        }
        bytes
    }

    /// A pointer to the name in the question (RFC 1035, 4.1.4).
    const OWN: &[u8] = b"\xc0\x0c";

    #[test]
    fn a_question_is_as_rfc_1035_has_it() {
        let bytes = question(0x1234, "a.test.", Family::V6).unwrap();
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x1c\0\x01";
        assert_eq!(bytes, expected);
        let long = "a".repeat(64);
        for wrong in ["", ".", "a..b", "a b", "ü.de", &long, &"a.".repeat(200)] {
            assert_eq!(question(1, wrong, Family::V4), None, "{wrong}");
        }
    }

    #[test]
    fn each_answer_is_told_from_the_others() {
        let ask = |bytes: &[u8]| read(bytes, 7, "A.test", Family::V4);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let two = [(OWN, 1, &[192, 0, 2, 1][..]), (OWN, 1, &[192, 0, 2, 2])];
        let found = Answer::Addresses(vec![address(1), address(2)]);
        assert_eq!(ask(&answer([0x81, 0x80], &two)), Some(found));
        let other = b"\x01b\x04test\0";
        let alias = [(&other[..], 1, &[192, 0, 2, 3][..]), (OWN, 5, other)];
        let found = Answer::Addresses(vec![address(3)]);
        assert_eq!(ask(&answer([0x81, 0x80], &alias)), Some(found));
        for (flags, expected) in [
            ([0x81, 0x80], Answer::NoAddress),
            ([0x81, 0x83], Answer::NoName),
            ([0x83, 0x80], Answer::Cut),
            ([0x81, 0x82], Answer::Failed("ServerFailure".into())),
            ([0x81, 0x85], Answer::Failed("Refused".into())),
        ] {
            assert_eq!(ask(&answer(flags, &[])), Some(expected), "{flags:x?}");
        }
        // A name that is an alias of itself has no address.
        let own = b"\x01a\x04test\0";
        let turning = [(OWN, 5, &own[..])];
        assert_eq!(
            ask(&answer([0x81, 0x80], &turning)),
            Some(Answer::NoAddress)
        );
        // An answer from another sender, and a question, are no answer.
        let good = answer([0x81, 0x80], &two);
        assert_eq!(read(&good, 8, "a.test", Family::V4), None);
        assert_eq!(read(&good, 7, "b.test", Family::V4), None);
        assert_eq!(read(&good, 7, "a.test", Family::V6), None);
        assert_eq!(ask(&answer([0x01, 0x00], &[])), None);
        for length in 0..good.len() - 1 {
            ask(&good[..length]);
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(flags: [u8; 2], name: Vec<u8>, kind: u8, data in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&answer(flags, &[(&name, kind, &data)]), 7, "a.test", Family::V4);
            read(&data, 7, "a.test", Family::V4);
        }
    }
}
