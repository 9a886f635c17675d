//! Free text, such as a log: whatever looks like a person's number or address is replaced, and so are
//! the identities of the capture beside it.

use std::net::IpAddr;

use super::identities::{Identities, Kind};
use super::sweep::Sweep;

/// Least number of digits that are taken for the number of a device, a card or a subscriber.
const LONG_NUMBER: usize = 14;
/// Least number of digits behind a plus sign that are taken for a telephone number.
const TELEPHONE: usize = 6;

/// Returns the text without identities.
pub fn scrub(text: &str, sweep: &Sweep, identities: &mut Identities) -> String {
    let before = text.as_bytes();
    let mut bytes = before.to_vec();
    sweep.pass(before, &mut bytes);
    let swept = String::from_utf8_lossy(&bytes);
    let mut out = String::with_capacity(swept.len());
    let mut rest = &*swept;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let (word, further) = rest.split_at(end);
        let plus = out.ends_with('+');
        out.push_str(&one(word, plus, identities));
        let other = further.find(is_part).unwrap_or(further.len());
        out.push_str(&further[..other]);
        rest = &further[other..];
    }
    out
}

/// Returns whether a character may be part of a number or an address.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':')
}

/// Returns a word with its identities replaced.
fn one(word: &str, plus: bool, identities: &mut Identities) -> String {
    let core = word.trim_matches(['.', ':']);
    // An address may begin or end with colons, and a sentence ends with a dot.
    for part in [word, word.trim_end_matches(['.', ':']), core] {
        if let Some(new) = address(part, identities) {
            return word.replacen(part, &new, 1);
        }
    }
    // An IPv4 address may have a port behind it, or a name in front.
    let parts: Vec<String> = word
        .split(':')
        .map(|part| {
            let core = part.trim_matches('.');
            match address(core, identities) {
                Some(new) => part.replacen(core, &new, 1),
                None => part.to_owned(),
            }
        })
        .collect();
    let mut bytes = parts.join(":").into_bytes();
    let least = if plus { TELEPHONE } else { LONG_NUMBER };
    for run in bytes.chunk_by_mut(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        let differ = run.iter().any(|digit| Some(digit) != run.first());
        if run.len() >= least && differ && run.iter().all(u8::is_ascii_digit) {
            identities.ascii(Kind::Telephone, run);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the replacement of an address, if the text is the address of a host.
fn address(text: &str, identities: &mut Identities) -> Option<String> {
    if let Some(mut octets) = ethernet(text) {
        let host = identities.ethernet(&mut octets);
        let octets = octets.map(|octet| format!("{octet:02x}"));
        return host.then(|| octets.join(":"));
    }
    match text.parse().ok()? {
        IpAddr::V4(v4) => {
            let mut octets = v4.octets();
            let host = identities.ipv4(&mut octets);
            host.then(|| IpAddr::from(octets).to_string())
        }
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            let host = identities.ipv6(&mut octets);
            host.then(|| IpAddr::from(octets).to_string())
        }
    }
}

/// Reads an Ethernet address: six pairs of hexadecimal digits with colons between them.
fn ethernet(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut pairs = text.split(':');
    for octet in &mut octets {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_of_people_go_and_the_rest_stays() {
        let mut identities = Identities::default();
        let mut serial = *b"SN-47110815-0042";
        identities.ascii(Kind::Serial, &mut serial);
        let sweep = Sweep::new(&identities);
        let mut scrubbed = |text: &str| scrub(text, &sweep, &mut identities);
        for (text, gone) in [
            (
                "address 10.169.198.77/30, DNS 193.213.112.4.",
                &["10.169.198.77", "193.213"][..],
            ),
            (
                "10.169.198.78:53 and dns:193.213.112.9",
                &["10.169", "193.213"],
            ),
            ("2a02:2121:2c4:7105::7/64 on-link", &["2a02"]),
            ("link 0c:5b:8f:27:9a:64 up", &["8f:27"]),
            (
                "imei=490154203237518, +4722334455",
                &["490154203237518", "22334455"],
            ),
            ("serial number SN471108150042", &["4711", "0042"]),
        ] {
            let new = scrubbed(text);
            for gone in gone {
                assert!(!new.contains(gone), "{gone} is in {new}");
            }
        }
        for stays in [
            "12:34:56.789012 INFO online for 3.2 s, 16.8 MB at 03f0:a31d 1-4.2",
            "firmware 11.617.13.00.00, 0000000000000000, 127.0.0.1 and ::1",
            "ünïcode …: 1234567890123 B",
        ] {
            assert_eq!(scrubbed(stays), stays);
        }
    }
}
