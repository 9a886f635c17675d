//! Replacements of identities: the same one for the same identity, wherever and however it is written.
//!
//! A replacement has the length of what it replaces, digits where there are digits and letters where
//! there are letters, so that it stays valid where it stands. Numbers that have a form of their own
//! keep it: an IMEI begins with a test TAC and ends with a check digit, addresses are those that
//! are set aside for documentation.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::Serialize;

/// Largest number of identities that are told apart. All beyond get the same replacement.
const MOST: usize = 65_536;

/// The kind of an identity, or of anything else that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Number of the device: an IMEI, ESN or MEID.
    Device,
    /// Number of the subscriber (IMSI).
    Subscriber,
    /// Number of the SIM card (ICCID).
    Card,
    /// Telephone number.
    Telephone,
    /// Serial number of the USB device.
    Serial,
    /// Ethernet address.
    Ethernet,
    /// IPv4 or IPv6 address.
    Address,
    /// Name of a person, or user name with which a person logs in.
    Name,
    /// PIN, PUK or password.
    Secret,
    /// Content of a short message, of a USSD dialogue, or of a message to the SIM.
    Message,
    /// Cell, area or position: a place in the network or on the earth.
    Place,
    /// Content of a datagram.
    Payload,
}

impl Kind {
    /// Returns the plural of the kind in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device numbers (IMEI)",
            Self::Subscriber => "subscriber numbers (IMSI)",
            Self::Card => "SIM card numbers (ICCID)",
            Self::Telephone => "telephone numbers",
            Self::Serial => "serial numbers",
            Self::Ethernet => "Ethernet addresses",
            Self::Address => "IP addresses",
            Self::Name => "names",
            Self::Secret => "PINs and passwords",
            Self::Message => "messages and what passes to and from the SIM",
            Self::Place => "cells and places",
            Self::Payload => "datagrams' contents",
        }
    }

    /// Returns whether texts of the kind are looked for everywhere in a capture.
    const fn is_sought(self) -> bool {
        matches!(
            self,
            Self::Device
                | Self::Subscriber
                | Self::Card
                | Self::Telephone
                | Self::Serial
                | Self::Ethernet
                | Self::Address
        )
    }
}

/// The identities seen, with their replacements.
#[derive(Debug, Default)]
pub struct Identities {
    /// Replacements by text without punctuation, each with whether the text is looked for
    /// everywhere.
    texts: HashMap<Vec<u16>, (Vec<u16>, bool)>,
    /// Number of texts of each kind that were replaced.
    numbers: HashMap<Kind, u32>,
    /// Number of each network of 24 bits, and of each host in it.
    v4: HashMap<[u8; 3], (usize, HashMap<u8, u8>)>,
    /// Number of each prefix of 64 bits, and of each interface identifier.
    v6_prefixes: HashMap<u64, usize>,
    v6_interfaces: HashMap<u64, u64>,
    ethernet: HashMap<[u8; 6], usize>,
}

impl Identities {
    /// Replaces text, given in units of UTF-16 or in ASCII characters. Punctuation, spaces and NULs stay.
    /// Returns whether there was anything to replace.
    pub fn text(&mut self, kind: Kind, units: &mut [u16]) -> bool {
        let key: Vec<u16> = units
            .iter()
            .copied()
            .filter(|unit| is_word(*unit))
            .collect();
        if key.is_empty() {
            return false;
        }
        let replacement = match self.texts.get(&key) {
            Some((replacement, _)) => replacement.clone(),
            None if self.texts.len() >= MOST => form(kind, &key, 0),
            None => {
                let number = self.numbers.entry(kind).or_default();
                *number += 1;
                let mut replacement = form(kind, &key, *number);
                if replacement == key {
                    *number += 1;
                    replacement = form(kind, &key, *number);
                }
                self.texts
                    .insert(key, (replacement.clone(), kind.is_sought()));
                replacement
            }
        };
        let words = units.iter_mut().filter(|unit| is_word(**unit));
        for (unit, new) in words.zip(replacement) {
            *unit = new;
        }
        true
    }

    /// Replaces ASCII text as [`Identities::text`] does. Bytes that are not ASCII count as letters.
    pub fn ascii(&mut self, kind: Kind, bytes: &mut [u8]) -> bool {
        let mut units: Vec<u16> = bytes.iter().map(|byte| u16::from(*byte)).collect();
        let any = self.text(kind, &mut units);
        for (byte, unit) in bytes.iter_mut().zip(units) {
            *byte = unit as u8;
        }
        any
    }

    /// Replaces an IPv4 address by one for documentation (RFC 5737) or benchmarks (RFC 2544). Addresses
    /// of one network of 24 bits stay in one. Returns whether the address was one of a host.
    pub fn ipv4(&mut self, address: &mut [u8; 4]) -> bool {
        let ip = Ipv4Addr::from(*address);
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast() {
            return false;
        }
        let [a, b, c, host] = *address;
        let known = self.v4.len();
        if known >= MOST && !self.v4.contains_key(&[a, b, c]) {
            *address = [198, 19, 255, 255];
            return true;
        }
        let (net, hosts) = self.v4.entry([a, b, c]).or_insert((known, HashMap::new()));
        let number = hosts.len();
        let number = *hosts.entry(host).or_insert(number as u8);
        let [x, y, z] = match *net {
            0 => [192, 0, 2],
            1 => [198, 51, 100],
            2 => [203, 0, 113],
            net => match u16::try_from(net - 3) {
                Ok(net) if net < 511 => [198, 18 + (net >> 8) as u8, net as u8],
                _ => [198, 19, 255],
            },
        };
        *address = [x, y, z, number.wrapping_add(1)];
        true
    }

    /// Replaces an IPv6 address by one for documentation (RFC 3849). Addresses of one prefix of 64 bits
    /// stay in one; those that are link-local or multicast stay so. Returns whether anything was
    /// replaced.
    pub fn ipv6(&mut self, address: &mut [u8; 16]) -> bool {
        let ip = Ipv6Addr::from(*address);
        if ip.is_unspecified() || ip.is_loopback() {
            return false;
        }
        if ip.is_multicast() {
            // The last bytes may be those of an interface identifier, and the bytes between may hold
            // a prefix (RFC 4291, 2.7.1; RFC 3306). Low numbers are assigned ones.
            let assigned = address[2..15].iter().all(|byte| *byte == 0);
            if !assigned {
                let solicited = address[..13] == SOLICITED;
                address[if solicited { 13 } else { 2 }..].fill(0);
            }
            return !assigned;
        }
        // ::ffff:0:0/96 and 64:ff9b::/96 have an IPv4 address inside (RFC 4291, RFC 6052).
        let mapped = address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
            || address[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
        let (high, low) = address.split_at_mut(8);
        if mapped && let Some(inner) = low.last_chunk_mut() {
            return self.ipv4(inner);
        }
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let (prefix, interface) = (word(high), word(low));
        if prefix >> 54 != 0xfe80 >> 6 {
            let next = self.v6_prefixes.len();
            let number = match self.v6_prefixes.get(&prefix) {
                Some(number) => *number,
                None if next >= MOST => MOST,
                None => *self.v6_prefixes.entry(prefix).or_insert(next),
            };
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            high.copy_from_slice(&(0x2001_0db8_0000_0000 | u64::from(number)).to_be_bytes());
        }
        if interface != 0 {
            let next = self.v6_interfaces.len() as u64 + 1;
            let number = match self.v6_interfaces.get(&interface) {
                Some(number) => *number,
                None if next > MOST as u64 => next,
                None => *self.v6_interfaces.entry(interface).or_insert(next),
            };
            low.copy_from_slice(&number.to_be_bytes());
        }
        true
    }

    /// Replaces an Ethernet address by one that is locally administered. Group addresses stay, except
    /// for the bytes that an IPv6 address has left in them. Returns whether the address was one of a
    /// host.
    pub fn ethernet(&mut self, address: &mut [u8; 6]) -> bool {
        if address[0] & 1 != 0 {
            if address[..3] == [0x33, 0x33, 0xff] {
                address[3..].fill(0);
            }
            return false;
        }
        if *address == [0; 6] {
            return false;
        }
        let next = self.ethernet.len() + 1;
        let number = match self.ethernet.get(address) {
            Some(number) => *number,
            None if next > MOST => next,
            None => *self.ethernet.entry(*address).or_insert(next),
        };
        let [a, b, c, d] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        *address = [0x02, 0, a, b, c, d];
        true
    }

    /// Replaces an IPv4 address in text, with the length of the text: as its replacement where that can
    /// be written so, with leading zeros if need be, and otherwise digit by digit.
    pub fn ipv4_text(&mut self, text: &mut [u8]) -> bool {
        let parsed = std::str::from_utf8(text).ok().map(str::parse::<Ipv4Addr>);
        let Some(Ok(address)) = parsed else {
            return false;
        };
        let mut octets = address.octets();
        if !self.ipv4(&mut octets) {
            return false;
        }
        // The text itself is looked for as well as its replacement in bytes.
        let before: Vec<u16> = text.iter().map(|byte| u16::from(*byte)).collect();
        let shortest = Ipv4Addr::from(octets).to_string();
        let Some(mut room) = text.len().checked_sub(shortest.len()) else {
            return self.ascii(Kind::Address, text);
        };
        let mut new = String::new();
        for (place, octet) in octets.iter().enumerate().rev() {
            let digits = octet.to_string();
            let more = room.min(3 - digits.len());
            room -= more;
            let dot = if place == 3 { "" } else { "." };
            new = format!("{}{digits}{dot}{new}", "0".repeat(more));
        }
        if room > 0 {
            return self.ascii(Kind::Address, text);
        }
        text.copy_from_slice(new.as_bytes());
        if self.texts.len() < MOST {
            let after = text.iter().map(|byte| u16::from(*byte)).collect();
            self.texts.insert(before, (after, true));
        }
        true
    }

    /// Replaces an IPv6 address in text as [`Identities::ipv4_text`] does.
    pub fn ipv6_text(&mut self, text: &mut [u8]) -> bool {
        let parsed = std::str::from_utf8(text).ok().map(str::parse::<Ipv6Addr>);
        let Some(Ok(address)) = parsed else {
            return false;
        };
        let mut octets = address.octets();
        if !self.ipv6(&mut octets) {
            return false;
        }
        match written(Ipv6Addr::from(octets), text.len()) {
            Some(new) => text.copy_from_slice(new.as_bytes()),
            None => {
                self.ascii(Kind::Address, text);
            }
        }
        true
    }

    /// Returns the texts that are looked for everywhere, with their replacements: those so long that a
    /// match is no coincidence.
    pub fn sought(&self) -> Vec<(&[u16], &[u16])> {
        let long = |text: &&Vec<u16>| {
            let digits = text.iter().filter(|unit| is_word(**unit)).count();
            digits >= SOUGHT || text.contains(&u16::from(b'.'))
        };
        let mut sought: Vec<_> = self
            .texts
            .iter()
            .filter(|(text, (_, sought))| *sought && long(text))
            .map(|(text, (replacement, _))| (text.as_slice(), replacement.as_slice()))
            .collect();
        // A hash map has no order, and the result must not depend on it.
        sought.sort_unstable();
        sought
    }

    /// Returns the number of identities of a kind that were told apart.
    pub fn told_apart(&self, kind: Kind) -> usize {
        match kind {
            Kind::Address => {
                self.v4
                    .values()
                    .map(|(_, hosts)| hosts.len())
                    .sum::<usize>()
                    + self.v6_interfaces.len()
            }
            Kind::Ethernet => self.ethernet.len(),
            kind => self.numbers.get(&kind).map_or(0, |number| *number as usize),
        }
    }
}

/// Returns an IPv6 address written in `length` characters, if it can be written so.
fn written(address: Ipv6Addr, length: usize) -> Option<String> {
    let shortest = address.to_string();
    let groups = address.segments();
    let explicit = groups.map(|group| format!("{group:x}")).join(":");
    // The loop begins with the shortest form, and adds one group of the zeros that it leaves out at
    // a time.
    let (front, back) = shortest.split_once("::").unwrap_or((&shortest, ""));
    let zeros = |count: usize| ":0".repeat(count);
    let partly = (0..6).map(|count| format!("{front}{}::{back}", zeros(count)));
    let mut forms = partly
        .chain([explicit])
        .filter(|form| form.parse() == Ok(address));
    forms.find_map(|form| {
        let mut room = length.checked_sub(form.len())?;
        let padded: Vec<String> = form
            .split(':')
            .map(|group| {
                let more = if group.is_empty() {
                    0
                } else {
                    room.min(4 - group.len())
                };
                room -= more;
                format!("{}{group}", "0".repeat(more))
            })
            .collect();
        (room == 0).then(|| padded.join(":"))
    })
}

/// Least number of characters of a text that is looked for everywhere.
const SOUGHT: usize = 7;
/// First bytes of a solicited-node address (RFC 4291, 2.7.1).
const SOLICITED: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];

/// Returns whether a unit is part of an identity and no punctuation.
fn is_word(unit: u16) -> bool {
    u8::try_from(unit).map_or(true, |byte| {
        byte.is_ascii_alphanumeric() || !byte.is_ascii()
    })
}

/// Returns the replacement with a number, in the form of its kind.
fn form(kind: Kind, key: &[u16], number: u32) -> Vec<u16> {
    let digits = key.iter().all(|unit| (0x30..0x3a).contains(unit));
    let length = key.len();
    // The replacement's number goes to the end; the form says what stands in front of it and behind
    // it.
    let (prefix, checked) = match kind {
        _ if !digits => ("", false),
        // 00 1017 is a TAC for tests.
        Kind::Device if length >= 14 => ("00101700", length == 15),
        // The network of 001 01 is for tests (ITU-T E.212).
        Kind::Subscriber if length >= 10 => ("00101", false),
        Kind::Card if length >= 15 => ("89", true),
        // Country code 999 is not assigned (ITU-T E.164).
        Kind::Telephone if length >= 8 => ("999", false),
        _ => ("", false),
    };
    let end = length - usize::from(checked);
    let mut out: Vec<u16> = key.iter().map(|unit| zero(*unit)).collect();
    let mut rest = number;
    for place in (prefix.len()..end).rev() {
        let base = if out[place] == u16::from(b'0') { 10 } else { 6 };
        out[place] += (rest % base) as u16;
        rest /= base;
    }
    for (place, byte) in prefix.bytes().enumerate() {
        out[place] = byte.into();
    }
    if checked {
        out[end] = u16::from(b'0') + check_digit(&out[..end]);
    }
    out
}

/// Returns the least character of the same class: digit, lower-case or upper-case letter. Letters
/// stay among those of hexadecimal numbers.
fn zero(unit: u16) -> u16 {
    u16::from(match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii_digit() => b'0',
        Ok(byte) if byte.is_ascii_uppercase() => b'A',
        _ => b'a',
    })
}

/// Returns the check digit of Luhn (ISO/IEC 7812-1, annex B) for digits as text.
fn check_digit(digits: &[u16]) -> u16 {
    let doubled = |digit: u16| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u16 = digits
        .iter()
        .rev()
        .map(|unit| unit - u16::from(b'0'))
        .enumerate()
        .map(|(place, digit)| {
            if place % 2 == 0 {
                doubled(digit)
            } else {
                digit
            }
        })
        .fold(0, |sum, digit| (sum + digit) % 10);
    (10 - sum) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(identities: &mut Identities, kind: Kind, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        assert!(identities.ascii(kind, &mut bytes), "{text}");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn numbers_keep_their_form() {
        let identities = &mut Identities::default();
        let imei = replaced(identities, Kind::Device, "353613048804622");
        assert_eq!(imei, "001017000000011");
        assert_eq!(replaced(identities, Kind::Device, "353613048804622"), imei);
        assert_ne!(replaced(identities, Kind::Device, "353613048804630"), imei);
        let imsi = replaced(identities, Kind::Subscriber, "242010000000001");
        assert_eq!(imsi, "001010000000001");
        let iccid = replaced(identities, Kind::Card, "89470000000000000014");
        assert_eq!(iccid, "89000000000000000012");
        let number = replaced(identities, Kind::Telephone, "+47 90 00 21 00");
        assert_eq!(number, "+99 90 00 00 01");
        assert_eq!(
            replaced(identities, Kind::Telephone, "4790002100"),
            "9990000001"
        );
        assert_eq!(replaced(identities, Kind::Serial, "0A1b-F9"), "0A0a-A1");
        // A text that is a replacement already gets another replacement.
        assert_ne!(
            replaced(identities, Kind::Subscriber, "001010000000002"),
            "001010000000002"
        );
    }

    #[test]
    fn addresses_are_those_for_documentation() {
        let identities = &mut Identities::default();
        let mut v4 = |address: [u8; 4]| {
            let mut new = address;
            identities.ipv4(&mut new);
            new
        };
        assert_eq!(v4([10, 169, 198, 78]), [192, 0, 2, 1]);
        assert_eq!(v4([10, 169, 198, 1]), [192, 0, 2, 2]);
        assert_eq!(v4([8, 8, 8, 8]), [198, 51, 100, 1]);
        assert_eq!(v4([10, 169, 198, 78]), [192, 0, 2, 1]);
        for kept in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1]] {
            assert_eq!(v4(kept), kept);
        }
        for net in 0..=255 {
            for host in 0..=255 {
                v4([77, 1, net, host]);
            }
        }
        let mut v6 = |text: &str| {
            let mut address = text.parse::<Ipv6Addr>().unwrap().octets();
            identities.ipv6(&mut address);
            Ipv6Addr::from(address).to_string()
        };
        assert_eq!(v6("2a02:2121:9::a:b"), "2001:db8::1");
        assert_eq!(v6("fe80::a:b"), "fe80::1");
        assert_eq!(v6("2a02:2121:a::c"), "2001:db8:0:1::2");
        assert_eq!(v6("ff02::2"), "ff02::2");
        assert_eq!(v6("ff02::1:ff0a:b"), "ff02::1:ff00:0");
        assert_eq!(v6("64:ff9b::8.8.8.8"), "64:ff9b::c633:6401");
        let mut text = *b"10.169.198.78";
        assert!(identities.ipv4_text(&mut text));
        assert_eq!(&text, b"192.0.002.001");
        let mut short = *b"1.2.3.4";
        assert!(identities.ipv4_text(&mut short));
        assert_eq!(&short, b"0.0.0.1");
        for (text, wanted) in [
            (
                "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208",
                "2001:0db8:0000:0002:0000:0000:0000:003",
            ),
            ("2a02:2121:9::a:b", "2001:0db8:000::1"),
            ("2a02:2121:9::c", "2001:0db8::002"),
        ] {
            let mut text = text.as_bytes().to_vec();
            assert!(identities.ipv6_text(&mut text));
            assert_eq!(String::from_utf8(text).unwrap(), wanted);
        }
        let mut mac = [0x58, 2, 3, 4, 5, 6];
        assert!(identities.ethernet(&mut mac));
        assert_eq!(mac, [2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn no_number_of_identities_is_too_many() {
        let identities = &mut Identities::default();
        for number in 0..70_000u32 {
            let mut text = format!("35{number:013}");
            let before = text.clone();
            text = replaced(identities, Kind::Device, &text);
            assert_ne!(text, before);
        }
        assert_eq!(identities.sought().len(), MOST);
    }
}
