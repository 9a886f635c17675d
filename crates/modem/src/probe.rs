//! Probes: datagrams that demand an answer. The answer is recognised so that the host never sees it.
//!
//! A name server is asked for the root's name servers (RFC 1035), a gateway for an echo (RFC 792,
//! RFC 4443). Each probe has an identity, which its answer repeats: the source port of a query, the
//! identifier of an echo request.
//!
//! On an Ethernet link the host gets its addresses from elsewhere. There the probes look for a DHCP
//! server (RFC 2131; the transaction id repeats the identity), which does not lease an address for
//! that, and resolve the gateway that the user has named (RFC 826). The answer to the latter repeats no
//! identity, and is not kept from the host.

use std::net::IpAddr;

use crate::packet::{self, DHCP_CLIENT, DHCP_SERVER, ICMP, ICMPV6, UDP, fold, pseudo6, sum};
use crate::status::Addresses;

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    datagram: Vec<u8>,
    answer: Answer,
    identity: u16,
}

/// Answer that a probe demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// IP datagram of this protocol from this address.
    Ip { from: IpAddr, protocol: u8 },
    /// Ethernet frame with a message of a DHCP server.
    Offer,
    /// Ethernet frame with the ARP reply of this address.
    Resolution([u8; 4]),
}

/// Identity of the probes that are sent after going online.
pub(crate) const FIRST_IDENTITY: u16 = 0xd7a3;
/// Number of name servers of each family that are probed.
const MOST_SERVERS: usize = 2;
/// Lengths in bytes of the query for the root's name servers and of its header.
const QUERY: usize = 17;
/// Length in bytes of an OPT record (RFC 6891, 6.1.2) with an empty padding option (RFC 7830).
const PADDING_RECORD: usize = 15;
/// Offset of the options in a DHCP message, the cookie before them, and the shortest message in bytes
/// (RFC 2131, 2; RFC 1542, 2.1).
const DHCP_OPTIONS: usize = 236;
const DHCP_COOKIE: [u8; 4] = [99, 130, 83, 99];
const DHCP_LEAST: usize = 300;
/// Upper half of the transaction ids of DHCP probes; the lower one is the identity.
const DHCP_TRANSACTION: u16 = 0xd7a3;

impl Probe {
    /// Returns the probe for these addresses; `None` when they have neither gateway nor name
    /// server.
    #[must_use]
    pub fn for_addresses(addresses: &Addresses) -> Option<Self> {
        let (ours, to, protocol) = asked(addresses).into_iter().next()?;
        Some(Self::new(ours, to, protocol, FIRST_IDENTITY, 0))
    }

    /// Returns a probe for each gateway and the first name servers of these addresses. The
    /// datagrams have `length` bytes, or more where a probe cannot be so short.
    #[must_use]
    pub fn all(addresses: &Addresses, identity: u16, length: usize) -> Vec<Self> {
        asked(addresses)
            .into_iter()
            .map(|(ours, to, protocol)| Self::new(ours, to, protocol, identity, length))
            .collect()
    }

    fn new(from: IpAddr, to: IpAddr, protocol: u8, identity: u16, length: usize) -> Self {
        let header = if from.is_ipv4() { 20 } else { 40 };
        let room = length.saturating_sub(header + 8);
        let mut payload = vec![0u8; 8];
        if protocol == UDP {
            payload[0..2].copy_from_slice(&identity.to_be_bytes());
            payload[3] = 53;
            let padding = room.checked_sub(QUERY + PADDING_RECORD);
            let records = u8::from(padding.is_some());
            // RFC 1035 section 4: recursion is desired, and there is one question: the root, NS,
            // IN.
            payload.extend_from_slice(&[0xd7, 0xa3, 1, 0, 0, 1, 0, 0, 0, 0, 0, records]);
            payload.extend_from_slice(&[0, 0, 2, 0, 1]);
            if let Some(padding) = padding {
                let [high, low] = (padding as u16).to_be_bytes();
                let [data_high, data_low] = (padding as u16 + 4).to_be_bytes();
                // The OPT record belongs to the root, and permits answers of up to 1232 bytes.
                payload.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
                payload.extend_from_slice(&[data_high, data_low, 0, 12, high, low]);
                payload.resize(payload.len() + padding, 0);
            }
            let length = payload.len() as u16;
            payload[4..6].copy_from_slice(&length.to_be_bytes());
        } else {
            payload[0] = if protocol == ICMP { 8 } else { 128 };
            payload[4..6].copy_from_slice(&identity.to_be_bytes());
            payload.resize(8 + room, 0);
        }
        let checksum_at = if protocol == UDP { 6 } else { 2 };
        let mut datagram = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let [high, low] = (20 + payload.len() as u16).to_be_bytes();
                let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
                header.extend_from_slice(&from.octets());
                header.extend_from_slice(&to.octets());
                let checksum = fold(sum(&header));
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                let pseudo = match protocol {
                    UDP => sum(&header[12..20]) + u32::from(protocol) + payload.len() as u32,
                    _ => 0,
                };
                let checksum = fold(pseudo + sum(&payload));
                payload[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
                header
            }
            (from, to) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                let [high, low] = (payload.len() as u16).to_be_bytes();
                let mut header = vec![0x60, 0, 0, 0, high, low, protocol, 64];
                header.extend_from_slice(&octets(from));
                header.extend_from_slice(&octets(to));
                let pseudo = pseudo6(&header[8..24], &header[24..40], payload.len(), protocol);
                let checksum = fold(pseudo + sum(&payload));
                payload[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
                header
            }
        };
        datagram.extend_from_slice(&payload);
        Self {
            datagram,
            answer: Answer::Ip { from: to, protocol },
            identity,
        }
    }

    /// Returns the probes of an Ethernet link, as frames of `host`, its Ethernet address. They have
    /// `length` bytes, or more where a probe cannot be so short.
    #[must_use]
    pub fn ethernet(
        host: [u8; 6],
        addresses: &Addresses,
        identity: u16,
        length: usize,
    ) -> Vec<Self> {
        let mut probes = vec![Self::discover(host, identity, length)];
        if let Some((ours, gateway)) = addresses.ipv4.zip(addresses.gateway4) {
            let gateway = gateway.octets();
            let mut frame = packet::arp_request(host, ours.address.octets(), gateway);
            frame.resize(frame.len().max(length), 0);
            probes.push(Self {
                datagram: frame,
                answer: Answer::Resolution(gateway),
                identity,
            });
        }
        probes
    }

    /// Returns the probe that looks for a DHCP server (RFC 2131, 4.4.1).
    fn discover(host: [u8; 6], identity: u16, length: usize) -> Self {
        let mut frame = packet::broadcast_ipv4(host);
        // The message is a request on Ethernet, whose answer is broadcast.
        let mut message = vec![1, 1, 6, 0];
        message.extend(DHCP_TRANSACTION.to_be_bytes());
        message.extend(identity.to_be_bytes());
        message.extend([0, 0, 0x80, 0]);
        message.resize(28, 0);
        message.extend(host);
        message.resize(DHCP_OPTIONS, 0);
        message.extend(DHCP_COOKIE);
        // The type is DISCOVER; mask and router are requested (RFC 2132, 9.6 and 9.8).
        message.extend([53, 1, 1, 55, 2, 1, 3, 255]);
        let room = length.saturating_sub(frame.len() + 28).max(DHCP_LEAST);
        message.resize(room, 0);
        let udp = (8 + message.len()) as u16;
        let [high, low] = (20 + udp).to_be_bytes();
        let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, UDP, 0, 0];
        header.extend([0; 4]);
        header.extend([255; 4]);
        let checksum = fold(sum(&header));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut datagram = Vec::new();
        for word in [DHCP_CLIENT, DHCP_SERVER, udp, 0] {
            datagram.extend(word.to_be_bytes());
        }
        datagram.extend(message);
        let pseudo = sum(&header[12..20]) + u32::from(UDP) + u32::from(udp);
        let checksum = fold(pseudo + sum(&datagram));
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(header);
        frame.extend(datagram);
        Self {
            datagram: frame,
            answer: Answer::Offer,
            identity,
        }
    }

    /// Returns whether the answer is of use to the host, too, which may have sent the same request.
    #[must_use]
    pub fn shares_answer(&self) -> bool {
        matches!(self.answer, Answer::Resolution(_))
    }

    /// Returns whether a frame is a DHCP server's answer to this probe.
    fn is_offer(&self, frame: &[u8]) -> bool {
        let Some(packet::Content::Ip(datagram)) = packet::content(frame) else {
            return false;
        };
        let [high, low] = self.identity.to_be_bytes();
        let [first, second] = DHCP_TRANSACTION.to_be_bytes();
        packet::udp_ports(datagram) == Some((DHCP_SERVER, DHCP_CLIENT))
            && packet::udp_over_ipv4(datagram)
                .and_then(|udp| udp.get(12..16))
                .is_some_and(|transaction| *transaction == [first, second, high, low])
    }

    /// Returns the datagram to send.
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// Returns the identity that the answer repeats.
    #[must_use]
    pub fn identity(&self) -> u16 {
        self.identity
    }

    /// Returns whether a datagram is the answer. This holds only while the probe is unanswered.
    #[must_use]
    pub fn is_answer(&self, datagram: &[u8]) -> bool {
        let (from, wanted) = match self.answer {
            Answer::Ip { from, protocol } => (from, protocol),
            Answer::Offer => return self.is_offer(datagram),
            Answer::Resolution(of) => return packet::is_arp_reply(datagram, of),
        };
        let (source, protocol, at) = match datagram.first().map(|byte| byte >> 4) {
            Some(4) if datagram.len() >= 28 => (
                &datagram[12..16],
                datagram[9],
                usize::from(datagram[0] & 0x0f) * 4,
            ),
            Some(6) if datagram.len() >= 48 => (&datagram[8..24], datagram[6], 40),
            _ => return false,
        };
        let same_source = match from {
            IpAddr::V4(v4) => v4.octets()[..] == *source,
            IpAddr::V6(v6) => v6.octets()[..] == *source,
        };
        let identity_at = if protocol == UDP { at + 2 } else { at + 4 };
        same_source
            && protocol == wanted
            && datagram.get(identity_at..identity_at + 2) == Some(&self.identity.to_be_bytes())
    }
}

/// Returns the hosts to probe, each with the host's own address and the protocol: name servers before
/// gateways, IPv4 before IPv6.
fn asked(addresses: &Addresses) -> Vec<(IpAddr, IpAddr, u8)> {
    let mut asked = Vec::new();
    if let Some(ours) = addresses.ipv4 {
        let ours = IpAddr::V4(ours.address);
        let servers = addresses.dns4.iter().take(MOST_SERVERS);
        asked.extend(servers.map(|server| (ours, IpAddr::V4(*server), UDP)));
        asked.extend(addresses.gateway4.map(|to| (ours, IpAddr::V4(to), ICMP)));
    }
    if let Some(ours) = addresses.ipv6 {
        let ours = IpAddr::V6(ours.address);
        let servers = addresses.dns6.iter().take(MOST_SERVERS);
        asked.extend(servers.map(|server| (ours, IpAddr::V6(*server), UDP)));
        asked.extend(addresses.gateway6.map(|to| (ours, IpAddr::V6(to), ICMPV6)));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{deserves_answer, is_cut, is_ip};
    use crate::status::{Prefix4, Prefix6};

    fn addresses() -> Addresses {
        Addresses {
            ipv4: Some(Prefix4 {
                address: [10, 169, 198, 77].into(),
                prefix: 30,
            }),
            gateway4: Some([10, 169, 198, 78].into()),
            ..Addresses::default()
        }
    }

    #[test]
    fn probes_are_sound_datagrams() {
        let gateway = Probe::for_addresses(&addresses()).unwrap();
        let server = Probe::for_addresses(&Addresses {
            dns4: vec![[193, 213, 112, 4].into()],
            ..addresses()
        })
        .unwrap();
        let six = Probe::for_addresses(&Addresses {
            ipv6: Some(Prefix6 {
                address: "2001:db8::2".parse().unwrap(),
                prefix: 64,
            }),
            dns6: vec!["2001:db8::53".parse().unwrap()],
            ..Addresses::default()
        })
        .unwrap();
        for probe in [&gateway, &server, &six] {
            let datagram = probe.datagram();
            assert!(is_ip(datagram) && !is_cut(datagram) && deserves_answer(datagram));
            assert!(!probe.is_answer(datagram));
        }
        assert_eq!(fold(sum(&gateway.datagram()[..20])), 0);
        assert_eq!(fold(sum(&gateway.datagram()[20..])), 0);
        let udp = server.datagram();
        assert_eq!(
            fold(sum(&udp[12..20]) + 17 + udp.len() as u32 - 20 + sum(&udp[20..])),
            0
        );
        let udp = six.datagram();
        assert_eq!(
            fold(pseudo6(&udp[8..24], &udp[24..40], udp.len() - 40, UDP) + sum(&udp[40..])),
            0
        );
        assert_eq!(Probe::for_addresses(&Addresses::default()), None);
    }

    #[test]
    fn answers_are_known() {
        let probe = Probe::for_addresses(&addresses()).unwrap();
        let mut reply = probe.datagram().to_vec();
        let (source, destination) = (reply[12..16].to_vec(), reply[16..20].to_vec());
        reply[12..16].copy_from_slice(&destination);
        reply[16..20].copy_from_slice(&source);
        reply[20] = 0;
        assert!(probe.is_answer(&reply));
        reply[25] ^= 1;
        assert!(!probe.is_answer(&reply), "another identifier");
        assert!(!probe.is_answer(&[]) && !probe.is_answer(&[0x4f; 28]));
    }

    #[test]
    fn frames_look_for_a_server_and_resolve_the_gateway() {
        let host = [2, 0, 0, 0, 0, 1];
        let alone = Probe::ethernet(host, &Addresses::default(), 7, 0);
        assert_eq!(alone.len(), 1);
        for length in [0, 700] {
            let probes = Probe::ethernet(host, &addresses(), 7, length);
            let [server, gateway] = &probes[..] else {
                panic!("{probes:?}")
            };
            for probe in [server, gateway] {
                let frame = probe.datagram();
                assert!(packet::frame_deserves_answer(frame) && !probe.is_answer(frame));
                assert!(length == 0 || frame.len() == length);
            }
            let frame = server.datagram();
            assert_eq!(fold(sum(&frame[14..34])), 0);
            let udp = frame.len() as u32 - 34;
            let pseudo = sum(&frame[26..34]) + 17 + udp;
            assert_eq!(fold(pseudo + sum(&frame[34..])), 0);
            assert!(frame.len() >= 14 + 28 + DHCP_LEAST);
            // The offer goes from the server's port to the client's.
            let mut offer = frame.to_vec();
            offer[34..38].copy_from_slice(&[0, 67, 0, 68]);
            assert!(server.is_answer(&offer) && !server.shares_answer());
            offer[49] ^= 1;
            assert!(!server.is_answer(&offer), "another transaction");
            let mut reply = gateway.datagram().to_vec();
            reply[21] = 2;
            reply[28..32].copy_from_slice(&[10, 169, 198, 78]);
            assert!(gateway.is_answer(&reply) && gateway.shares_answer());
            reply[31] ^= 1;
            assert!(!gateway.is_answer(&reply), "another station");
        }
    }

    #[test]
    fn a_probe_may_be_of_any_length() {
        let addresses = Addresses {
            dns4: vec![[193, 213, 112, 4].into(); 3],
            ipv6: Some(Prefix6 {
                address: "2001:db8::2".parse().unwrap(),
                prefix: 64,
            }),
            gateway6: Some("fe80::1".parse().unwrap()),
            ..addresses()
        };
        for length in [0, 85, 86, 484, 1400] {
            let probes = Probe::all(&addresses, 61_000, length);
            assert_eq!(probes.len(), 4, "two name servers and two gateways");
            for probe in &probes {
                let datagram = probe.datagram();
                assert!(is_ip(datagram) && !is_cut(datagram) && deserves_answer(datagram));
                assert!(length < 100 || datagram.len() == length);
                assert_eq!(probe.identity(), 61_000);
                let payload = match datagram[0] >> 4 {
                    4 => &datagram[20..],
                    _ => &datagram[40..],
                };
                let protocol = datagram[if datagram[0] >> 4 == 4 { 9 } else { 6 }];
                let pseudo = match protocol {
                    UDP => sum(&datagram[12..20]) + 17 + payload.len() as u32,
                    ICMP => 0,
                    protocol => {
                        pseudo6(&datagram[8..24], &datagram[24..40], payload.len(), protocol)
                    }
                };
                assert_eq!(fold(pseudo + sum(payload)), 0);
            }
        }
        // The query has its padding in one additional record, which ends with the datagram.
        let query = &Probe::all(&addresses, 61_000, 484)[0];
        let message = &query.datagram()[28..];
        assert_eq!(message[10..12], [0, 1]);
        let record = &message[QUERY..];
        assert_eq!(record[..3], [0, 0, 41]);
        let data = usize::from(u16::from_be_bytes([record[9], record[10]]));
        assert_eq!(record.len(), 11 + data);
        assert_eq!(record[11..13], [0, 12]);
        let padding = usize::from(u16::from_be_bytes([record[13], record[14]]));
        assert_eq!(data, 4 + padding);
    }
}
