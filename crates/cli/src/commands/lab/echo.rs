//! Marked datagrams: echo requests (RFC 792, RFC 4443) whose answers show to which trial and which
//! datagram they belong, and whether a byte has changed on the way.

use std::net::IpAddr;

use uwwan_netstack::echo;

/// Length in bytes of the mark at the beginning of the data: number of the trial and number of the
/// datagram, both of 32 bits.
const MARK: usize = 8;
/// Length of the header of an echo request in bytes.
const ICMP_HEADER: usize = 8;

/// Address that answers echo requests, with the host's own address of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Address of the host.
    pub from: IpAddr,
    /// Address that answers echo requests.
    pub to: IpAddr,
}

/// Mark of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Number of the trial.
    pub trial: u32,
    /// Number of the datagram in the trial.
    pub number: u32,
}

/// The meaning of a datagram from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The datagram is the answer to the datagram with this mark, as it was sent.
    Answer(Mark),
    /// The datagram is the answer to the datagram with this mark, with other bytes.
    Corrupted(Mark),
    /// The datagram is something else.
    Other,
}

impl Path {
    /// Returns the length in bytes of the shortest datagram that has a mark.
    pub fn shortest(&self) -> usize {
        self.header() + MARK
    }

    fn header(&self) -> usize {
        ICMP_HEADER
            + match self.to {
                IpAddr::V4(_) => 20,
                IpAddr::V6(_) => 40,
            }
    }

    /// Returns an echo request of `length` bytes, or of the shortest length if that is longer. Returns
    /// `None` for addresses of two families.
    pub fn request(&self, identity: u16, mark: Mark, length: usize) -> Option<Vec<u8>> {
        let data = data(mark, length.max(self.shortest()) - self.header());
        echo::request(self.from, self.to, identity, mark.number as u16, &data)
    }
}

/// Returns data that depend on the mark: each byte depends on its place and on the mark.
fn data(mark: Mark, length: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(length);
    data.extend_from_slice(&mark.trial.to_be_bytes());
    data.extend_from_slice(&mark.number.to_be_bytes());
    let seed = mark.trial.wrapping_mul(31).wrapping_add(mark.number) as u8;
    data.extend((MARK..length).map(|at| seed ^ (at as u8) ^ ((at >> 8) as u8)));
    data
}

/// Reads a datagram from the device; `identity` is that of the driver's echo requests.
pub fn read(datagram: &[u8], identity: u16) -> Reading {
    let reply = echo::reply(datagram).filter(|reply| reply.ident == identity);
    let Some((reply, head)) = reply.and_then(|reply| Some((reply, reply.data.get(..MARK)?))) else {
        return Reading::Other;
    };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mark = Mark {
        trial: word(0),
        number: word(4),
    };
    if reply.sound && data(mark, reply.data.len()) == reply.data {
        Reading::Answer(mark)
    } else {
        Reading::Corrupted(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: Mark = Mark {
        trial: 7,
        number: 300,
    };

    /// Returns the reply to a request. Its checksum is left wrong.
    fn reply(mut request: Vec<u8>) -> Vec<u8> {
        let (at, kind) = match request[0] >> 4 {
            4 => (20, 0),
            _ => (40, 129),
        };
        request[at] = kind;
        request
    }

    #[test]
    fn a_datagram_tells_what_it_belongs_to() {
        for (from, to) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            let path = Path {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
            };
            for length in [0, 100, 1500] {
                let request = path.request(9, MARKED, length).unwrap();
                assert_eq!(request.len(), length.max(path.shortest()));
                assert_eq!(read(&request, 9), Reading::Other, "a request is no answer");
                let reply = reply(request);
                assert_eq!(
                    read(&reply, 9),
                    Reading::Corrupted(MARKED),
                    "by its checksum"
                );
                assert_eq!(read(&reply, 10), Reading::Other, "of somebody else");
            }
        }
    }

    #[test]
    fn anything_may_come() {
        for bytes in [&[][..], &[0x45], &[0x60; 40], &[0x45; 28], &[0xff; 100]] {
            assert_eq!(read(bytes, 9), Reading::Other);
        }
        let mixed = Path {
            from: "192.0.2.2".parse().unwrap(),
            to: "2001:db8::1".parse().unwrap(),
        };
        assert_eq!(mixed.request(9, MARKED, 100), None);
    }
}
