//! Both families together, and the functions that the tests of each share.

use std::hash::RandomState;
use std::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use super::dhcp::{State, datagram};
use super::*;
use crate::packet::discovery::{MTU, NAME_SERVERS, PREFIX};
use crate::packet::icmpv6::ROUTER_ADVERTISEMENT;
use crate::packet::{ICMPV6, fold, pseudo6, sum};

mod leases;
mod routers;

const NUMBER: u64 = 0x0123_4567_89ab_cdef;

const BOTH: LinkFamilies = LinkFamilies { v4: true, v6: true };

fn link(family: ContextIpType) -> (Link, Instant) {
    let now = Instant::now();
    (Link::new(now, family, NUMBER, RandomState::new()), now)
}

/// Returns the state of the link's DHCP client.
fn state(link: &Link) -> State {
    link.dhcp.as_ref().unwrap().state
}

/// Returns a link whose address is leased for 100 s, and the server's last answer.
fn leased(family: ContextIpType) -> (Link, Instant, Vec<u8>) {
    let (mut link, now) = link(family);
    let discover = link.timeout(now).0.remove(0);
    link.handle(now, &answer(&discover, DhcpMessageType::Offer));
    let request = link.timeout(now).0.remove(0);
    let ack = answer(&request, DhcpMessageType::Ack);
    assert_eq!(link.handle(now, &ack), Change::Addresses);
    (link, now, ack)
}

/// Returns the server's answer to a request, as a datagram.
fn answer(request: &[u8], kind: DhcpMessageType) -> Vec<u8> {
    let message = &request[28..];
    let packet = DhcpPacket::new_checked(message).unwrap();
    let asked = DhcpRepr::parse(&packet).unwrap();
    let server = Ipv4Addr::new(10, 0, 0, 1);
    let mut bytes = datagram(
        &DhcpRepr {
            message_type: kind,
            your_ip: Ipv4Addr::new(10, 0, 0, 2),
            router: Some(server),
            subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 252)),
            server_identifier: Some(server),
            dns_servers: Some([Ipv4Addr::new(9, 9, 9, 9)].into_iter().collect()),
            lease_duration: Some(100),
            client_identifier: None,
            parameter_request_list: None,
            max_size: None,
            requested_ip: None,
            client_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            ..asked
        },
        server,
        Ipv4Addr::BROADCAST,
    );
    bytes[28] = 2;
    bytes[20..24].copy_from_slice(&[0, 67, 0, 68]);
    bytes
}

/// Returns an advertisement with this ICMP code and these options.
fn advertisement(code: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![ROUTER_ADVERTISEMENT, code, 0, 0, 64, 0, 7, 8];
    message.extend([0; 8]);
    message.extend(options);
    let router = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
    let everybody = "ff02::1".parse::<Ipv6Addr>().unwrap().octets();
    let mut packet = vec![0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255];
    packet.extend(router);
    packet.extend(everybody);
    let checksum = fold(pseudo6(&router, &everybody, message.len(), ICMPV6) + sum(&message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(message);
    packet
}

/// Returns an advertisement of this prefix of 64 bits.
pub(in crate::session) fn advertised(prefix: &str) -> Vec<u8> {
    advertisement(0, &prefix_option(prefix))
}

fn prefix_option(prefix: &str) -> Vec<u8> {
    let mut option = vec![PREFIX, 4, 64, 0x40, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    option.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
    option
}

fn servers_option(lifetime: u8, server: &str) -> Vec<u8> {
    let mut option = vec![NAME_SERVERS, 3, 0, 0, 0, 0, 0, lifetime];
    option.extend(server.parse::<Ipv6Addr>().unwrap().octets());
    option
}

#[test]
fn what_others_ask_for_is_not_ours() {
    let (mut link, now) = link(ContextIpType::IPV4V6);
    let (sent, _) = link.timeout(now);
    let mut offer = answer(&sent[0], DhcpMessageType::Offer);
    offer[32] ^= 1;
    link.handle(now, &offer);
    assert_eq!(state(&link), State::Discovering);
    for datagram in [&sent[0][..], &sent[1], &[], &[0x45; 9]] {
        assert!(!BOTH.take(datagram));
    }
}

#[test]
fn a_family_that_never_comes_is_asked_for_ever_more_slowly() {
    let (mut link, now) = link(ContextIpType::IPV4V6);
    link.handle(now, &advertisement(0, &prefix_option("2001:db8::")));
    let mut sent = 0;
    let end = now + Duration::from_secs(24 * 3600);
    while let Some(at) = link.poll_timeout(true).filter(|at| *at < end) {
        sent += link.timeout(at).0.len();
    }
    assert!((30..45).contains(&sent), "{sent}");
}

#[test]
fn beside_the_modem_the_link_is_asked_for_one_family() {
    let (link, now) = link(ContextIpType::IPV4V6);
    let mut link = link.beside_modem(ContextIpType::IPV6).unwrap();
    let only = LinkFamilies {
        v4: false,
        v6: true,
    };
    assert_eq!(link.families(), only);
    assert!(link.is_settled(now), "the session does not wait");
    let (sent, _) = link.timeout(now);
    assert!(sent.len() == 1 && sent[0][0] >> 4 == 6, "{sent:?}");
    let advertisement = advertisement(0, &prefix_option("2001:db8::"));
    assert!(only.take(&advertisement));
    assert_eq!(link.handle(now, &advertisement), Change::Addresses);
    // The modem's configuration of the other family stays, and its name servers where there are no
    // others.
    let server = "2001:db8::53".parse().unwrap();
    let mut given = Given {
        ipv4: vec![([10, 0, 0, 9].into(), 30)],
        dns6: vec![server],
        mtu6: 1400,
        ..Given::default()
    };
    link.give(&mut given);
    assert_eq!((given.ipv4.len(), given.ipv6.len()), (1, 1));
    assert_eq!((given.dns6, given.mtu6), (vec![server], 1400));
    assert!(link.beside_modem(ContextIpType::IPV4).is_none());
    let (_, _, ack) = leased(ContextIpType::IPV4);
    assert!(BOTH.take(&ack) && !only.take(&ack));
}
