//! Leases of DHCP.

use super::super::dhcp::{MOST_REQUESTS, REFUSED_PAUSE};
use super::*;

#[test]
fn an_address_is_leased_and_renewed() {
    let (mut link, now) = link(ContextIpType::IPV4);
    let (discover, _) = link.timeout(now);
    assert_eq!(discover.len(), 1);
    assert_eq!(discover[0][12..20], [0, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(fold(sum(&discover[0][..20])), 0);
    // An unanswered request is repeated, ever more slowly.
    let mut at = now;
    for pause in [1, 2, 4, 8, 8] {
        let next = link.poll_timeout(false).unwrap();
        assert_eq!((next - at).as_secs(), pause);
        at = next;
        assert_eq!(link.timeout(at).0.len(), 1);
    }
    let offer = answer(&discover[0], DhcpMessageType::Offer);
    assert!(BOTH.take(&offer));
    assert_eq!(link.handle(at, &offer), Change::Nothing);
    let (request, _) = link.timeout(at);
    let ack = answer(&request[0], DhcpMessageType::Ack);
    assert_eq!(link.handle(at, &ack), Change::Addresses);
    assert!(link.is_settled(at));
    assert_eq!(link.given().ipv4, [(Ipv4Addr::new(10, 0, 0, 2), 30)]);
    assert_eq!(link.given().gateway4, Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(link.given().dns4, [Ipv4Addr::new(9, 9, 9, 9)]);
    let renewal = link.poll_timeout(true).unwrap();
    assert_eq!((renewal - at).as_secs(), 50);
    let (request, _) = link.timeout(renewal);
    assert_eq!(request[0][12..20], [10, 0, 0, 2, 10, 0, 0, 1]);
    let ack = answer(&request[0], DhcpMessageType::Ack);
    assert_eq!(link.handle(renewal, &ack), Change::Nothing);
    // A lease that no server renews runs out.
    let mut now = renewal;
    let mut change = Change::Nothing;
    while change == Change::Nothing {
        now = link.poll_timeout(true).unwrap();
        change = link.timeout(now).1;
    }
    assert_eq!(change, Change::Lost);
    assert!((100..=108).contains(&(now - renewal).as_secs()));
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    for bad in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        let (mut link, now) = link(ContextIpType::IPV4);
        let discover = link.timeout(now).0.remove(0);
        let with = |mut bytes: Vec<u8>| {
            bytes[44..48].copy_from_slice(&bad);
            bytes
        };
        let offer = answer(&discover, DhcpMessageType::Offer);
        link.handle(now, &with(offer.clone()));
        assert_eq!(state(&link), State::Discovering);
        link.handle(now, &offer);
        let request = link.timeout(now).0.remove(0);
        let ack = answer(&request, DhcpMessageType::Ack);
        assert_eq!(link.handle(now, &with(ack.clone())), Change::Nothing);
        assert!(link.given().ipv4.is_empty() && !link.is_settled(now + GRACE));
        assert_eq!(link.handle(now, &ack), Change::Addresses);
        let renewal = link.poll_timeout(true).unwrap();
        let request = link.timeout(renewal).0.remove(0);
        let ack = answer(&request, DhcpMessageType::Ack);
        assert_eq!(link.handle(renewal, &with(ack)), Change::Nothing);
        assert_eq!(link.given().ipv4.len(), 1);
    }
}

#[test]
fn only_what_was_asked_of_the_server_is_taken() {
    let (mut link, now, ack) = leased(ContextIpType::IPV4V6);
    let with = |bytes: &[u8], option: u8, at: usize, to: u8| {
        let mut bytes = bytes.to_vec();
        let found = bytes.windows(2).rposition(|two| two == [option, 4]);
        let found = found.unwrap_or_else(|| panic!("no option {option}"));
        bytes[found + 2 + at] = to;
        bytes
    };
    let as_nak = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let kind = bytes.windows(3).position(|three| three == [53, 1, 5]);
        bytes[kind.unwrap() + 2] = 6;
        bytes
    };
    // The exchange is over, so no answer is expected.
    assert_eq!(link.handle(now, &as_nak(&ack)), Change::Nothing);
    let mut moved = ack.clone();
    moved[47] = 9;
    assert_eq!(link.handle(now, &moved), Change::Nothing);
    let renewal = now + Duration::from_secs(50);
    let request = link.timeout(renewal).0.remove(0);
    assert_ne!(request[32..36], ack[32..36], "each exchange has its own id");
    assert_ne!(request[32..36], NUMBER.to_be_bytes()[4..], "no id is known");
    assert_eq!(link.handle(renewal, &moved), Change::Nothing);
    let renewed = answer(&request, DhcpMessageType::Ack);
    let forged = with(&as_nak(&renewed), 54, 3, 66);
    assert_eq!(link.handle(renewal, &forged), Change::Nothing);
    let mut stranger = with(&renewed, 54, 3, 66);
    stranger[47] = 9;
    assert_eq!(link.handle(renewal, &stranger), Change::Nothing);
    assert_eq!(link.handle(renewal, &as_nak(&renewed)), Change::Lost);
    // The time for the other family begins anew with the next address.
    assert!(!link.is_settled(renewal + GRACE));
    assert_eq!(
        link.dhcp.as_ref().unwrap().poll_timeout(),
        Some(renewal + REFUSED_PAUSE)
    );
}

#[test]
fn requests_end_and_renewals_reach_any_server() {
    let (mut link, now) = link(ContextIpType::IPV4);
    let discover = link.timeout(now).0.remove(0);
    link.handle(now, &answer(&discover, DhcpMessageType::Offer));
    for _ in 0..MOST_REQUESTS {
        assert!(matches!(state(&link), State::Requesting { .. }));
        link.timeout(link.poll_timeout(false).unwrap());
    }
    link.timeout(link.poll_timeout(false).unwrap());
    assert_eq!(state(&link), State::Discovering);

    let (mut link, now, _) = leased(ContextIpType::IPV4);
    let mut to = Vec::new();
    loop {
        let at = link.poll_timeout(true).unwrap();
        let (sent, change) = link.timeout(at);
        if change == Change::Lost {
            assert_eq!((at - now).as_secs(), 100);
            break;
        }
        to.push(((at - now).as_secs(), sent[0][16]));
    }
    // The requests go to the server 10.0.0.1 up to 7/8 of the lease, then to all servers.
    assert_eq!(to[0], (50, 10));
    for (seconds, first) in to {
        assert_eq!(first, if seconds < 88 { 10 } else { 255 }, "{seconds}");
    }
}
