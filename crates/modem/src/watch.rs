//! Black holes: a link that takes datagrams and brings nothing back.
//!
//! The passive rule: when datagrams that deserve an answer (see
//! `packet::deserves_answer`) went out and nothing at all came in for
//! [`Watch::PATIENCE`] since the first of them, the link is said to be silent, once, until
//! something comes in. So that an idle link is judged too, a probe is sent after going online: a
//! query for the root's name servers to the first name server the network gave, or an echo
//! request to the gateway where it gave none.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::packet::{ICMP, ICMPV6, UDP, fold, pseudo6, sum};
use crate::status::Addresses;

/// Finding of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Datagrams went out and nothing came back, ever.
    NeverAnswered {
        /// Number of datagrams sent that deserved an answer.
        asked: u32,
    },
    /// Datagrams went out and nothing comes back any more.
    FellSilent {
        /// Number of datagrams sent that deserved an answer, since the last that came in.
        asked: u32,
    },
    /// Something came in after one of the other verdicts.
    Recovered,
}

/// Watches one session of one bring-up for answers.
#[derive(Debug)]
pub struct Watch {
    asked: u32,
    first_asked: Option<Instant>,
    /// Time at which there were enough questions to judge by.
    enough_asked: Option<Instant>,
    heard_ever: bool,
    last_heard: Instant,
    silent: bool,
}

impl Watch {
    /// Time in which nothing may come back before a session that never worked is judged.
    pub const PATIENCE: Duration = Duration::from_secs(6);
    const ASKED: u32 = 3;
    /// The same for a session that has worked: the time of a handover or a dip in coverage.
    const PATIENCE_AFTER_WORK: Duration = Duration::from_secs(30);
    /// Age of traffic below which there is nothing to watch.
    const FRESH: Duration = Duration::from_secs(2);

    /// Starts to watch when the session comes up.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            asked: 0,
            first_asked: None,
            enough_asked: None,
            heard_ever: false,
            last_heard: now,
            silent: false,
        }
    }

    /// Returns whether sent datagrams must be shown to [`Watch::sent`]; `false` while answers are
    /// fresh.
    #[must_use]
    pub fn armed(&self, now: Instant) -> bool {
        !self.heard_ever || now.duration_since(self.last_heard) >= Self::FRESH
    }

    /// Notes that a datagram that deserves an answer has left.
    pub fn sent(&mut self, now: Instant) {
        self.asked = self.asked.saturating_add(1);
        self.first_asked.get_or_insert(now);
        if self.asked >= Self::ASKED {
            self.enough_asked.get_or_insert(now);
        }
    }

    /// Notes that datagrams have come in, and returns a verdict that this changes.
    pub fn heard(&mut self, now: Instant) -> Option<Verdict> {
        self.heard_ever = true;
        self.last_heard = now;
        self.asked = 0;
        self.first_asked = None;
        self.enough_asked = None;
        std::mem::take(&mut self.silent).then_some(Verdict::Recovered)
    }

    /// Judges at or after [`Watch::deadline`], and returns a new verdict.
    pub fn check(&mut self, now: Instant) -> Option<Verdict> {
        if now < self.deadline()? {
            return None;
        }
        self.silent = true;
        let asked = self.asked;
        Some(if self.heard_ever {
            Verdict::FellSilent { asked }
        } else {
            Verdict::NeverAnswered { asked }
        })
    }

    /// Returns when to judge next, if anything is open.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.silent {
            return None;
        }
        let patience = if self.heard_ever {
            Self::PATIENCE_AFTER_WORK
        } else {
            Self::PATIENCE
        };
        // The last question, too, gets time for its answer.
        Some((self.first_asked? + patience).max(self.enough_asked? + Self::FRESH))
    }
}

/// A probe: the datagram, and how to know its answer so that the host never sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    datagram: Vec<u8>,
    from: IpAddr,
    protocol: u8,
}

/// Number that ties answers to our probes: source port of the query, identifier of the echo
/// request.
const IDENTITY: u16 = 0xd7a3;

impl Probe {
    /// Makes the probe for these addresses; `None` when there is nobody to ask.
    #[must_use]
    pub fn for_addresses(addresses: &Addresses) -> Option<Self> {
        if let Some(ours) = addresses.ipv4 {
            if let Some(server) = addresses.dns4.first() {
                return Some(Self::new(ours.address.into(), (*server).into(), UDP));
            }
            if let Some(gateway) = addresses.gateway4 {
                return Some(Self::new(ours.address.into(), gateway.into(), ICMP));
            }
        }
        if let Some(ours) = addresses.ipv6 {
            if let Some(server) = addresses.dns6.first() {
                return Some(Self::new(ours.address.into(), (*server).into(), UDP));
            }
            if let Some(gateway) = addresses.gateway6 {
                return Some(Self::new(ours.address.into(), gateway.into(), ICMPV6));
            }
        }
        None
    }

    fn new(from: IpAddr, to: IpAddr, protocol: u8) -> Self {
        let mut payload = vec![0u8; 8];
        if protocol == UDP {
            payload[0..2].copy_from_slice(&IDENTITY.to_be_bytes());
            payload[3] = 53;
            // RFC 1035 section 4: recursion desired, one question: the root, NS, IN.
            payload.extend_from_slice(&[0xd7, 0xa3, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]);
            payload[5] = payload.len() as u8;
        } else {
            payload[0] = if protocol == ICMP { 8 } else { 128 };
            payload[4..6].copy_from_slice(&IDENTITY.to_be_bytes());
        }
        let checksum_at = if protocol == UDP { 6 } else { 2 };
        let mut datagram = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = vec![
                    0x45,
                    0,
                    0,
                    (20 + payload.len()) as u8,
                    0,
                    0,
                    0x40,
                    0,
                    64,
                    protocol,
                    0,
                    0,
                ];
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
                let mut header = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64];
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
            from: to,
            protocol,
        }
    }

    /// Returns the datagram to send.
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// Returns whether a datagram is the answer. Only to be asked while a probe is out.
    #[must_use]
    pub fn is_answer(&self, datagram: &[u8]) -> bool {
        let (source, protocol, at) = match datagram.first().map(|byte| byte >> 4) {
            Some(4) if datagram.len() >= 28 => (
                &datagram[12..16],
                datagram[9],
                usize::from(datagram[0] & 0x0f) * 4,
            ),
            Some(6) if datagram.len() >= 48 => (&datagram[8..24], datagram[6], 40),
            _ => return false,
        };
        let same_source = match self.from {
            IpAddr::V4(v4) => v4.octets()[..] == *source,
            IpAddr::V6(v6) => v6.octets()[..] == *source,
        };
        let identity_at = if protocol == UDP { at + 2 } else { at + 4 };
        same_source
            && protocol == self.protocol
            && datagram.get(identity_at..identity_at + 2) == Some(&IDENTITY.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weeks of traffic leave nothing behind that a later silence would be judged by.
    #[test]
    fn silence_is_noticed_after_weeks() {
        let begin = Instant::now();
        let mut watch = Watch::new(begin);
        let mut now = begin;
        for day in 0..40 {
            now = begin + Duration::from_secs(day * 86_400);
            for _ in 0..5 {
                watch.sent(now);
            }
            assert_eq!(watch.check(now + Duration::from_secs(1)), None, "day {day}");
            assert_eq!(watch.heard(now + Duration::from_secs(1)), None);
        }
        watch.asked = u32::MAX - 1;
        for _ in 0..5 {
            watch.sent(now + Duration::from_secs(3600));
        }
        let verdict = watch.check(now + Duration::from_secs(3700));
        assert_eq!(verdict, Some(Verdict::FellSilent { asked: u32::MAX }));
        let back = watch.heard(now + Duration::from_secs(7 * 86_400));
        assert_eq!(back, Some(Verdict::Recovered));
    }
    use crate::packet::{deserves_answer, is_cut, is_ip};
    use crate::status::{Prefix4, Prefix6};

    #[test]
    fn silence_is_said_once_and_taken_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(start);
        assert!(watch.armed(start));
        assert_eq!(watch.deadline(), None);
        for second in 0..3 {
            watch.sent(at(second));
        }
        assert_eq!(watch.check(at(5)), None);
        assert_eq!(
            watch.check(at(6)),
            Some(Verdict::NeverAnswered { asked: 3 })
        );
        assert_eq!(watch.check(at(60)), None);
        assert_eq!(watch.heard(at(61)), Some(Verdict::Recovered));
        assert_eq!(watch.heard(at(62)), None);
        assert!(!watch.armed(at(63)));
        assert!(watch.armed(at(64)));
        for second in 70..80 {
            watch.sent(at(second));
        }
        assert_eq!(watch.check(at(99)), None);
        assert_eq!(
            watch.check(at(100)),
            Some(Verdict::FellSilent { asked: 10 })
        );
    }

    #[test]
    fn one_lost_question_is_no_black_hole() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        watch.sent(start);
        assert_eq!(watch.check(start + Duration::from_secs(3600)), None);
        assert_eq!(watch.deadline(), None, "nothing to wake up for");
        // Two more an hour later: they get their time, too.
        let later = start + Duration::from_secs(3600);
        watch.sent(later);
        watch.sent(later);
        assert_eq!(watch.check(later), None);
        let verdict = watch.check(later + Duration::from_secs(2));
        assert_eq!(verdict, Some(Verdict::NeverAnswered { asked: 3 }));
    }

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
}
