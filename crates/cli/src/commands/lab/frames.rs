//! The Ethernet beneath the trials of a plain network device: datagrams go out in frames, and datagrams
//! from the device are taken out of their frames.
//!
//! USB is the cable, and the device at its other end is the only other station, so every frame of the device
//! carries its address. Until one has come the device is asked by ARP (RFC 826), and it asks for the host's
//! address in its turn.

use std::net::Ipv4Addr;

use uwwan_ncm::LinkHeader;

/// Length of an Ethernet header in bytes (IEEE 802.3, 3.1).
const HEADER: usize = 14;
/// Length of an ARP packet for Ethernet and IPv4 in bytes.
const ARP: usize = 28;
/// First bytes of an ARP packet for Ethernet and IPv4, in front of the operation's low byte.
const ARP_BEGIN: [u8; 7] = [0, 1, 8, 0, 6, 4, 0];
/// Operations of ARP.
const ASKS: u8 = 1;
const ANSWERS: u8 = 2;

/// The host's station on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Ethernet address of the host.
    own: [u8; 6],
    /// IPv4 address of the host.
    address: Ipv4Addr,
    /// Router behind which all other hosts are, if there is one.
    gateway: Option<Ipv4Addr>,
    /// Ethernet address of the device, once a frame of it has come.
    peer: Option<[u8; 6]>,
}

/// The content of a frame from the device.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An IP datagram.
    Datagram(&'a [u8]),
    /// An ARP request, which this frame answers.
    Question(Vec<u8>),
    /// A frame that concerns no trial.
    Other,
}

impl Station {
    /// Makes a station that knows no other.
    pub fn new(own: [u8; 6], address: Ipv4Addr, gateway: Option<Ipv4Addr>) -> Self {
        Self {
            own,
            address,
            gateway,
            peer: None,
        }
    }

    /// Returns the frames of a batch of datagrams. While the device's address is not known, they go to every
    /// station, behind an ARP request for it.
    pub fn frames(&self, batch: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut frames = Vec::with_capacity(batch.len() + 1);
        if self.peer.is_none() {
            let first = batch.iter().find_map(|datagram| destination(datagram));
            frames.extend(self.gateway.or(first).map(|wanted| self.ask(wanted)));
        }
        let to = self.peer.unwrap_or(LinkHeader::BROADCAST);
        frames.extend(batch.iter().map(|datagram| self.frame(to, datagram)));
        frames
    }

    /// Reads a frame from the device, and learns its address.
    pub fn take<'a>(&mut self, frame: &'a [u8]) -> Content<'a> {
        let Some((header, packet)) = frame.split_first_chunk::<HEADER>() else {
            return Content::Other;
        };
        let [_, _, _, _, _, _, source @ .., high, low] = *header;
        self.peer = Some(source);
        match [high, low] {
            [0x08, 0x00] | [0x86, 0xdd] => Content::Datagram(packet),
            [0x08, 0x06] => self
                .answer(packet)
                .map_or(Content::Other, Content::Question),
            _ => Content::Other,
        }
    }

    fn frame(&self, to: [u8; 6], packet: &[u8]) -> Vec<u8> {
        let header = LinkHeader { to, from: self.own };
        let mut frame = [&[0; HEADER], packet].concat();
        header.write(&mut frame);
        frame
    }

    fn ask(&self, wanted: Ipv4Addr) -> Vec<u8> {
        let question = arp(ASKS, self.own, self.address, [0; 6], wanted);
        self.frame(LinkHeader::BROADCAST, &question)
    }

    /// Returns the answer to an ARP request for the host's address.
    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let packet: &[u8; ARP] = packet.first_chunk()?;
        if !packet.starts_with(&ARP_BEGIN)
            || packet[7] != ASKS
            || packet[24..] != self.address.octets()
        {
            return None;
        }
        let (station, address) = (*packet[8..].first_chunk()?, *packet[14..].first_chunk()?);
        let address = Ipv4Addr::from_octets(address);
        let answer = arp(ANSWERS, self.own, self.address, station, address);
        Some(self.frame(station, &answer))
    }
}

/// Returns the destination of an IPv4 datagram.
fn destination(datagram: &[u8]) -> Option<Ipv4Addr> {
    let is_v4 = datagram.first()? >> 4 == 4;
    let address = datagram.get(16..)?.first_chunk()?;
    is_v4.then(|| Ipv4Addr::from_octets(*address))
}

fn arp(
    operation: u8,
    station: [u8; 6],
    address: Ipv4Addr,
    to: [u8; 6],
    wanted: Ipv4Addr,
) -> [u8; ARP] {
    let mut packet = [0; ARP];
    packet[..7].copy_from_slice(&ARP_BEGIN);
    packet[7] = operation;
    packet[8..14].copy_from_slice(&station);
    packet[14..18].copy_from_slice(&address.octets());
    packet[18..24].copy_from_slice(&to);
    packet[24..].copy_from_slice(&wanted.octets());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const DEVICE: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn datagram() -> Vec<u8> {
        let mut datagram = vec![0x45; 20];
        datagram[16..].copy_from_slice(&ROUTER.octets());
        datagram
    }

    fn from_device(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&OWN[..], &DEVICE, &ethertype, packet].concat()
    }

    #[test]
    fn the_device_is_asked_for_until_it_has_sent_something() {
        let mut station = Station::new(OWN, ADDRESS, None);
        let frames = station.frames(vec![datagram()]);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0][..6], [0xff; 6]);
        assert_eq!(frames[0][12..14], [0x08, 0x06]);
        assert_eq!(frames[0][21], ASKS);
        assert_eq!(frames[0][38..42], ROUTER.octets());
        assert_eq!(frames[1][..6], [0xff; 6]);
        assert_eq!(frames[1][14..], datagram());
        let came = from_device([0x08, 0x00], &datagram());
        assert_eq!(station.take(&came), Content::Datagram(&datagram()));
        let frames = station.frames(vec![datagram()]);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0][..12], [DEVICE, OWN].concat());
        // Behind a router the request is for the router's address.
        let behind = Station::new(OWN, ADDRESS, Some(Ipv4Addr::new(192, 0, 2, 99)));
        assert_eq!(behind.frames(vec![datagram()])[0][41], 99);
    }

    #[test]
    fn questions_for_the_host_are_answered_and_no_others() {
        let mut station = Station::new(OWN, ADDRESS, None);
        let ask = |wanted| from_device([0x08, 0x06], &arp(ASKS, DEVICE, ROUTER, [0; 6], wanted));
        let Content::Question(answer) = station.take(&ask(ADDRESS)) else {
            panic!("no answer");
        };
        assert_eq!(answer[..6], DEVICE);
        assert_eq!(answer[14..], arp(ANSWERS, OWN, ADDRESS, DEVICE, ROUTER));
        assert_eq!(station.take(&ask(ROUTER)), Content::Other);
        let whole = ask(ADDRESS);
        for length in 0..whole.len() {
            assert_eq!(station.take(&whole[..length]), Content::Other, "{length}");
        }
        let told = from_device([0x08, 0x06], &arp(ANSWERS, DEVICE, ROUTER, OWN, ADDRESS));
        assert_eq!(station.take(&told), Content::Other);
    }
}
