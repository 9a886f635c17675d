//! Advertisements of routers.

use super::super::router::ALL_ROUTERS;
use super::*;

#[test]
fn an_advertisement_makes_an_address() {
    let (mut link, now) = link(ContextIpType::IPV6);
    let (solicitation, _) = link.timeout(now);
    let bytes = &solicitation[0];
    assert_eq!(bytes[24..40], ALL_ROUTERS.octets());
    assert_eq!(
        fold(pseudo6(&bytes[8..24], &bytes[24..40], 8, ICMPV6) + sum(&bytes[40..])),
        0
    );
    let mut options = prefix_option("2001:db8:1:2::");
    options.extend([MTU, 1, 0, 0, 0, 0, 5, 0xb4]);
    options.extend(servers_option(1, "2001:db8::53"));
    let packet = advertisement(0, &options);
    assert!(BOTH.take(&packet));
    for cut in 0..packet.len() {
        assert_eq!(link.handle(now, &packet[..cut]), Change::Nothing, "{cut}");
    }
    for at in 0..packet.len() {
        let mut broken = packet.clone();
        broken[at] ^= 0x10;
        link.handle(now, &broken);
    }
    let mut forwarded = packet.clone();
    forwarded[7] = 64;
    let (mut link, now) = super::link(ContextIpType::IPV4V6);
    assert_eq!(link.handle(now, &forwarded), Change::Nothing);
    assert_eq!(link.handle(now, &packet), Change::Addresses);
    let address: Ipv6Addr = "2001:db8:1:2:123:4567:89ab:cdef".parse().unwrap();
    assert_eq!(link.given().ipv6, [(address, 64)]);
    assert_eq!(link.given().mtu6, 1460);
    assert_eq!(
        link.given().dns6,
        ["2001:db8::53".parse::<Ipv6Addr>().unwrap()]
    );
    // IPv4 may still come for a while.
    assert!(!link.is_settled(now));
    assert!(link.is_settled(now + GRACE));
}

#[test]
fn prefixes_that_no_host_can_have_are_refused() {
    for bad in ["ff0e:1::", "::", "fe80::"] {
        let (mut link, now) = link(ContextIpType::IPV6);
        let packet = advertisement(0, &prefix_option(bad));
        assert_eq!(link.handle(now, &packet), Change::Nothing, "{bad}");
        assert!(!link.is_settled(now + GRACE));
    }
}

#[test]
fn a_later_advertisement_keeps_what_it_does_not_tell() {
    let (mut link, now) = link(ContextIpType::IPV6);
    let prefix = prefix_option("2001:db8::");
    assert_eq!(
        link.handle(now, &advertisement(1, &prefix)),
        Change::Nothing
    );
    let (one, other) = ("2001:db8::53", "2001:db8::54");
    let mut options = [prefix.clone(), servers_option(9, one)].concat();
    options.extend(servers_option(9, other));
    options.extend([MTU, 1, 0, 0, 0, 0, 5, 0xb4]);
    link.handle(now, &advertisement(0, &options));
    let servers = |list: &[&str]| -> Vec<Ipv6Addr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    };
    assert_eq!(link.given().dns6, servers(&[one, other]));
    let again = advertisement(0, &prefix);
    assert_eq!(link.handle(now, &again), Change::Nothing);
    assert_eq!(link.given().mtu6, 1460);
    let removal = advertisement(0, &servers_option(0, one));
    assert_eq!(link.handle(now, &removal), Change::Addresses);
    assert_eq!(link.given().dns6, servers(&[other]));
}
