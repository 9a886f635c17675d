//! Addresses with their ports as SOCKS5 encodes them (RFC 1928, 5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::target::{Host, Target};

/// Kinds of addresses (RFC 1928, 5).
pub mod kind {
    pub const IPV4: u8 = 1;
    pub const NAME: u8 = 3;
    pub const IPV6: u8 = 4;
}

/// Splits an address with its kind from the beginning of a datagram (RFC 1928, 7). Returns it with the
/// bytes behind it.
pub fn split(bytes: &[u8]) -> Option<(Target, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (host, rest) = match *kind {
        kind::IPV4 => {
            let (address, rest) = rest.split_first_chunk::<4>()?;
            (Host::Address(Ipv4Addr::from(*address).into()), rest)
        }
        kind::IPV6 => {
            let (address, rest) = rest.split_first_chunk::<16>()?;
            (Host::Address(Ipv6Addr::from(*address).into()), rest)
        }
        kind::NAME => {
            let (length, rest) = rest.split_first()?;
            let (name, rest) = rest.split_at_checked((*length).into())?;
            (Host::parse(std::str::from_utf8(name).ok()?)?, rest)
        }
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    Some((Target { host, port }, rest))
}

/// Encodes an address with its kind and port, as requests, answers and datagrams have it.
pub fn bytes(of: SocketAddr) -> Vec<u8> {
    let mut bytes = match of.ip() {
        IpAddr::V4(address) => [&[kind::IPV4][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[kind::IPV6][..], &address.octets()].concat(),
    };
    bytes.extend(of.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_as_they_are_written() {
        for text in ["192.0.2.1:53", "[2001:db8::1]:65535"] {
            let all = [&bytes(text.parse().unwrap())[..], b"rest"].concat();
            let (target, rest) = split(&all).unwrap();
            assert_eq!((target.to_string().as_str(), rest), (text, &b"rest"[..]));
        }
        let (target, rest) = split(b"\x03\x0bexample.com\x00\x35x").unwrap();
        assert_eq!(
            (target.to_string().as_str(), rest),
            ("example.com:53", &b"x"[..])
        );
        assert_eq!(split(b"\x03\x0bexample.co"), None);
        assert_eq!(split(b"\x05\x00\x00\x00\x00\x00\x00"), None);
    }

    proptest! {
        #[test]
        fn anything_may_come(bytes: Vec<u8>) {
            let _ = split(&bytes);
        }
    }
}
