//! The Ethernet beneath a session whose host interface carries IP.
//!
//! A modem that carries frames is the only other station on its link, so there is one address to learn,
//! and every frame of the modem carries it. Datagrams go to all stations until then. Some firmware
//! answers no ARP request and sends requests itself, some has the host's own address; the modem's
//! address is learnt all the same. The host interface needs no address resolution: requests for its
//! address are answered here.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use uwwan_ncm::LinkHeader;

use crate::packet::{self, ARP};

/// Number of ARP packets kept per round. Further ones of a flood are dropped.
const MOST_ARP: usize = 4;
/// Number of times the gateway's address is asked for.
const REQUESTS: u32 = 5;
/// Time between two requests for the gateway's address.
const INTERVAL: Duration = Duration::from_secs(1);

/// The facts learnt of the link from received frames.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Station that sent the last frame.
    peer: Option<[u8; 6]>,
    /// ARP packets that have not been handled.
    arp: Vec<[u8; ARP]>,
}

/// The content of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stripped {
    /// IP datagram of this length in bytes behind the header.
    Ip(usize),
    /// ARP packet, which is kept.
    Arp,
    /// Something else.
    Other,
}

impl Seen {
    /// Examines a frame: its sender is recorded, and an ARP packet kept.
    #[inline]
    pub(super) fn strip(&mut self, frame: &[u8]) -> Stripped {
        if let Some(source) = packet::frame_source(frame) {
            self.peer = Some(source);
        }
        if let Some(datagram) = packet::datagram_in(frame) {
            return Stripped::Ip(datagram.len());
        }
        match packet::arp_in(frame) {
            Some(arp) => {
                if self.arp.len() < MOST_ARP {
                    self.arp.push(arp);
                }
                Stripped::Arp
            }
            None => Stripped::Other,
        }
    }
}

/// The link of one bring-up.
#[derive(Debug)]
pub(super) struct Link {
    header: LinkHeader,
    /// Whether the other station's address is known.
    known: bool,
    /// Number of requests for that address that are left.
    left: u32,
    /// Time of the next request.
    next: Option<Instant>,
}

impl Link {
    pub(super) fn new(header: LinkHeader) -> Self {
        Self {
            header,
            known: false,
            left: REQUESTS,
            next: None,
        }
    }

    /// Asks for the gateway's address, unless a frame has shown it.
    pub(super) fn resolve(&mut self, now: Instant) {
        self.left = REQUESTS;
        self.next = (!self.known).then_some(now);
    }

    /// Returns the time of the next request, if there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Takes the sender of received frames, and returns the headers to write from here on when they
    /// change.
    pub(super) fn learn(&mut self, seen: &Seen) -> Option<LinkHeader> {
        let peer = seen.peer?;
        self.known = true;
        self.next = None;
        let changed = self.header.to != peer;
        self.header.to = peer;
        changed.then_some(self.header)
    }

    /// Returns the ARP packets to send: answers to received requests, and requests that are due.
    /// `ipv4` is the host's address and the gateway's.
    pub(super) fn arp(
        &mut self,
        seen: &mut Seen,
        ipv4: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
        now: Instant,
    ) -> Vec<[u8; ARP]> {
        let host = self.header.from;
        let Some((ours, gateway)) = ipv4 else {
            seen.arp.clear();
            self.next = None;
            return Vec::new();
        };
        let answers = seen.arp.drain(..);
        let mut packets: Vec<_> = answers
            .filter_map(|request| packet::arp_answer(&request, host, ours.octets()))
            .collect();
        if self.next.is_some_and(|at| now >= at) {
            self.left -= 1;
            self.next = (self.left > 0).then_some(now + INTERVAL);
            let gateway = gateway.unwrap_or(ours);
            let frame = packet::arp_request(host, ours.octets(), gateway.octets());
            packets.extend(packet::arp_in(&frame));
        }
        packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const MODEM: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn link() -> Link {
        Link::new(LinkHeader {
            to: LinkHeader::BROADCAST,
            from: HOST,
        })
    }

    fn ipv4() -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
        Some((OURS, Some(GATEWAY)))
    }

    #[test]
    fn the_other_station_is_learnt_from_any_frame() {
        let (mut link, mut seen) = (link(), Seen::default());
        let now = Instant::now();
        link.resolve(now);
        let request = link.arp(&mut seen, ipv4(), now);
        assert_eq!(request.len(), 1);
        assert_eq!((&request[0][8..14], request[0][7]), (&HOST[..], 1));
        assert_eq!(request[0][24..28], GATEWAY.octets());
        assert_eq!(link.deadline(), Some(now + INTERVAL));
        // The frame carries a datagram instead of ARP, with padding behind it.
        let mut frame = [HOST, MODEM].concat();
        frame.extend([0x08, 0x00, 0x45, 0, 0, 20]);
        frame.resize(60, 0);
        assert_eq!(seen.strip(&frame), Stripped::Ip(20));
        let learnt = link.learn(&seen).unwrap();
        assert_eq!((learnt.to, learnt.from), (MODEM, HOST));
        assert_eq!(link.learn(&seen), None, "nothing new");
        assert_eq!(link.deadline(), None);
        link.resolve(now);
        assert_eq!(link.deadline(), None);
    }

    #[test]
    fn requests_for_the_hosts_address_are_answered_and_no_others() {
        let (mut link, mut seen) = (link(), Seen::default());
        let now = Instant::now();
        let asks = |from: Ipv4Addr, target: Ipv4Addr| {
            packet::arp_request(MODEM, from.octets(), target.octets())
        };
        assert_eq!(seen.strip(&asks(GATEWAY, OURS)), Stripped::Arp);
        // The requests come from a neighbour of the gateway, a station with the host's address, and
        // the gateway itself.
        for other in [
            asks(GATEWAY, Ipv4Addr::new(10, 0, 0, 3)),
            asks(OURS, OURS),
            asks(GATEWAY, GATEWAY),
        ] {
            assert_eq!(seen.strip(&other), Stripped::Arp);
        }
        let answers = link.arp(&mut seen, ipv4(), now);
        assert_eq!(answers.len(), 1);
        let answer = answers[0];
        assert_eq!(answer[..8], [0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(answer[8..14], HOST);
        assert_eq!(answer[14..18], OURS.octets());
        assert_eq!(answer[18..24], MODEM);
        assert_eq!(answer[24..28], GATEWAY.octets());
        // The request is a probe before an address is handed out, of which the host is not yet
        // sure.
        seen.strip(&asks(Ipv4Addr::UNSPECIFIED, OURS));
        assert_eq!(link.arp(&mut seen, None, now), [[0; ARP]; 0]);
        for _ in 0..100 {
            seen.strip(&asks(GATEWAY, OURS));
        }
        assert_eq!(link.arp(&mut seen, ipv4(), now).len(), MOST_ARP);
    }

    #[test]
    fn a_silent_station_is_asked_a_few_times() {
        let (mut link, mut seen) = (link(), Seen::default());
        let mut now = Instant::now();
        link.resolve(now);
        let mut asked = 0;
        while let Some(at) = link.deadline() {
            now = at;
            asked += link.arp(&mut seen, ipv4(), now).len();
        }
        assert_eq!(asked, REQUESTS as usize);
    }

    #[test]
    fn other_frames_are_neither() {
        let mut seen = Seen::default();
        let mut frame = [HOST, MODEM].concat();
        assert_eq!(seen.strip(&frame), Stripped::Other);
        frame.extend([0x81, 0x00, 0, 1, 0x08, 0x00, 0x45]);
        assert_eq!(seen.strip(&frame), Stripped::Other);
        for length in 0..14 {
            assert_eq!(seen.strip(&frame[..length]), Stripped::Other);
        }
    }
}
