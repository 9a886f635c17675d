//! The requests that the driver may make of the monitor: values of a fixed size.
//!
//! Every request is [`LENGTH`] bytes. The first byte is the kind of the request; numbers are in
//! network byte order; bytes behind the last field are zero. A missing address is all zeros with a
//! prefix of zero.

use std::net::{Ipv4Addr, Ipv6Addr};

use uwwan_modem::heal::memory::Entry;
use uwwan_modem::host::Ethernet;
use uwwan_modem::pin_memory::PinMemory;
use uwwan_modem::status::{Addresses, Prefix4, Prefix6};

/// Length of every request, in bytes. The longest request holds a memory of PINs.
pub(super) const LENGTH: usize = 2 + PinMemory::SIZE;
/// Length of the longest notification, in bytes.
const NOTIFICATION: usize = 320;
/// Most name servers of one family in a request. The C library reads three.
const SERVERS: usize = 8;

/// A request of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Make the interface of a data session.
    Open {
        /// Index of the session among those planned at the start, from 0.
        session: u8,
        /// The addresses that the network has given.
        network: Network,
    },
    /// Give an interface other addresses.
    Change {
        /// Number of the interface, from the answer to [`Request::Open`].
        interface: u8,
        /// The addresses that the network has given.
        network: Network,
    },
    /// Tell an interface for Ethernet frames whether the device's link is up.
    Carrier {
        /// Number of the interface.
        interface: u8,
        /// State of the link: `true` when it is up.
        up: bool,
    },
    /// Undo the configuration of an interface, and close it.
    Close {
        /// Number of the interface.
        interface: u8,
    },
    /// Check the configuration of an interface, and put back the parts that other programs have
    /// removed.
    Attend {
        /// Number of the interface.
        interface: u8,
    },
    /// Open the node of a USB device.
    OpenDevice {
        /// The port of the device.
        at: Port,
        /// Number of its bus.
        bus: u8,
        /// Number of the device on the bus.
        address: u8,
    },
    /// Keep kernel drivers from the device at a port.
    Guard {
        /// The port.
        at: Port,
    },
    /// Let kernel drivers have the device at a port again.
    Unguard {
        /// Number of the guard, from the answer to [`Request::Guard`].
        guard: u8,
    },
    /// Select a configuration of the device at a port through sysfs.
    Configure {
        /// The port.
        at: Port,
        /// `bConfigurationValue`; 0 unconfigures.
        value: u8,
    },
    /// Find the program that has the node of a USB device open.
    Holder {
        /// Number of its bus.
        bus: u8,
        /// Number of the device on the bus.
        address: u8,
    },
    /// Return what ModemManager does with the device.
    Manager,
    /// Hand over a secret whose file was named at the start, through a pipe beside the reply.
    Secret(Wanted),
    /// Store a memory of PINs in the file that was named at the start.
    Remember {
        /// The memory.
        pins: PinMemory,
    },
    /// Store a layout of NTBs that worked in the file that was named at the start.
    Learn {
        /// The layout and the device.
        entry: Entry,
    },
    /// Make the runtime directory and lock it; the lock is beside the reply.
    Directory {
        /// Name of the directory: that of the configuration or of the device.
        name: Name,
    },
    /// Make a link to the runtime directory that is named after the device's port.
    Link {
        /// The port.
        port: Name,
    },
    /// Open the next file of the capture that the command line asks for.
    File {
        /// Number of the file.
        number: u32,
    },
    /// Add the traffic of the device to the file of data use.
    Use {
        /// Bytes to the network.
        uplink: u64,
        /// Bytes from the network.
        downlink: u64,
    },
    /// Run the hook after up; a pipe that reports how it ended is beside the reply.
    Online,
    /// Return the rights that the monitor still has.
    State,
    /// Pass a notification to the service manager (`sd_notify(3)`).
    Notify {
        /// Text of the notification; one that is too long is cut.
        text: String,
    },
}

/// A secret that the driver may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The SIM's PIN.
    Pin,
    /// The password of a data session.
    Password {
        /// Index of the session among those planned at the start, from 0.
        session: u8,
    },
}

/// Port of a USB device (`1-4.2`). There is room for a bus number and seven ports of hubs (USB 2.0,
/// 4.1.1).
pub(super) type Port = Text<32>;
/// Name of a runtime directory. [`runtime::file_name`](crate::runtime::file_name) makes it of at
/// most 64 characters.
pub(super) type Name = Text<256>;

/// Short text, padded with at least one zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<const LENGTH: usize>([u8; LENGTH]);

impl<const LENGTH: usize> Text<LENGTH> {
    /// Returns the text, unless it is too long.
    pub(super) fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// Returns the text itself.
    pub(super) fn name(&self) -> Option<&str> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&self.0[..end]).ok()
    }
}

/// The addresses that the network has given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Network {
    /// Addresses, gateways, name servers, MTU.
    pub(super) addresses: Addresses,
    /// Address and link of a device that carries Ethernet frames.
    pub(super) ethernet: Option<Ethernet>,
}

/// First byte of each request.
mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const CHANGE: u8 = 2;
    pub(super) const CARRIER: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const NOTIFY: u8 = 5;
    pub(super) const OPEN_DEVICE: u8 = 6;
    pub(super) const GUARD: u8 = 7;
    pub(super) const UNGUARD: u8 = 8;
    pub(super) const CONFIGURE: u8 = 9;
    pub(super) const HOLDER: u8 = 10;
    pub(super) const ATTEND: u8 = 11;
    pub(super) const MANAGER: u8 = 12;
    pub(super) const PIN: u8 = 13;
    pub(super) const PASSWORD: u8 = 14;
    pub(super) const REMEMBER: u8 = 15;
    pub(super) const DIRECTORY: u8 = 16;
    pub(super) const LINK: u8 = 17;
    pub(super) const FILE: u8 = 18;
    pub(super) const STATE: u8 = 19;
    pub(super) const LEARN: u8 = 20;
    pub(super) const ONLINE: u8 = 21;
    pub(super) const USE: u8 = 22;
}

impl Request {
    /// Writes the request.
    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut to = Writer(&mut bytes);
        match self {
            Self::Open { session, network } => {
                to.put(&[kind::OPEN, *session]);
                network.encode(&mut to);
            }
            Self::Change { interface, network } => {
                to.put(&[kind::CHANGE, *interface]);
                network.encode(&mut to);
            }
            Self::Carrier { interface, up } => to.put(&[kind::CARRIER, *interface, u8::from(*up)]),
            Self::Close { interface } => to.put(&[kind::CLOSE, *interface]),
            Self::OpenDevice { at, bus, address } => {
                to.put(&[kind::OPEN_DEVICE, *bus, *address]);
                to.put(&at.0);
            }
            Self::Guard { at } => {
                to.put(&[kind::GUARD, 0]);
                to.put(&at.0);
            }
            Self::Unguard { guard } => to.put(&[kind::UNGUARD, *guard]),
            Self::Configure { at, value } => {
                to.put(&[kind::CONFIGURE, *value]);
                to.put(&at.0);
            }
            Self::Holder { bus, address } => to.put(&[kind::HOLDER, *bus, *address]),
            Self::Attend { interface } => to.put(&[kind::ATTEND, *interface]),
            Self::Manager => to.put(&[kind::MANAGER, 0]),
            Self::Secret(Wanted::Pin) => to.put(&[kind::PIN, 0]),
            Self::Secret(Wanted::Password { session }) => to.put(&[kind::PASSWORD, *session]),
            Self::Remember { pins } => {
                to.put(&[kind::REMEMBER, 0]);
                to.put(&*pins.to_bytes());
            }
            Self::Learn { entry } => {
                to.put(&[kind::LEARN, 0]);
                to.put(&entry.to_bytes());
            }
            Self::Directory { name } => {
                to.put(&[kind::DIRECTORY, 0]);
                to.put(&name.0);
            }
            Self::Link { port } => {
                to.put(&[kind::LINK, 0]);
                to.put(&port.0);
            }
            Self::File { number } => {
                to.put(&[kind::FILE, 0]);
                to.put(&number.to_be_bytes());
            }
            Self::State => to.put(&[kind::STATE, 0]),
            Self::Online => to.put(&[kind::ONLINE, 0]),
            Self::Use { uplink, downlink } => {
                to.put(&[kind::USE, 0]);
                to.put(&uplink.to_be_bytes());
                to.put(&downlink.to_be_bytes());
            }
            Self::Notify { text } => {
                to.put(&[kind::NOTIFY, 0]);
                let end = text.floor_char_boundary(NOTIFICATION);
                to.put(&text.as_bytes()[..end]);
            }
        }
        bytes
    }

    /// Reads a request. Returns `None` for bytes that are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(<&[u8; LENGTH]>::try_from(bytes).ok()?);
        let [kind, number] = from.take()?;
        Some(match kind {
            kind::OPEN => Self::Open {
                session: number,
                network: Network::decode(&mut from)?,
            },
            kind::CHANGE => Self::Change {
                interface: number,
                network: Network::decode(&mut from)?,
            },
            kind::CARRIER => Self::Carrier {
                interface: number,
                up: from.flag()?,
            },
            kind::CLOSE => Self::Close { interface: number },
            kind::NOTIFY => {
                let end = from.0.iter().position(|&byte| byte == 0);
                let text = &from.0[..end.unwrap_or(from.0.len())];
                Self::Notify {
                    text: std::str::from_utf8(text).ok()?.to_owned(),
                }
            }
            kind::OPEN_DEVICE => {
                let [address] = from.take()?;
                Self::OpenDevice {
                    at: Text(from.take()?),
                    bus: number,
                    address,
                }
            }
            kind::GUARD => Self::Guard {
                at: Text(from.take()?),
            },
            kind::UNGUARD => Self::Unguard { guard: number },
            kind::CONFIGURE => Self::Configure {
                at: Text(from.take()?),
                value: number,
            },
            kind::HOLDER => {
                let [address] = from.take()?;
                Self::Holder {
                    bus: number,
                    address,
                }
            }
            kind::ATTEND => Self::Attend { interface: number },
            kind::MANAGER => Self::Manager,
            kind::PIN => Self::Secret(Wanted::Pin),
            kind::PASSWORD => Self::Secret(Wanted::Password { session: number }),
            kind::REMEMBER => Self::Remember {
                pins: PinMemory::from_bytes(&from.take()?)?,
            },
            kind::DIRECTORY => Self::Directory {
                name: Text(from.take()?),
            },
            kind::LINK => Self::Link {
                port: Text(from.take()?),
            },
            kind::FILE => Self::File {
                number: u32::from_be_bytes(from.take()?),
            },
            kind::STATE => Self::State,
            kind::ONLINE => Self::Online,
            kind::USE => Self::Use {
                uplink: u64::from_be_bytes(from.take()?),
                downlink: u64::from_be_bytes(from.take()?),
            },
            kind::LEARN => Self::Learn {
                entry: Entry::from_bytes(&from.take()?)?,
            },
            _ => return None,
        })
    }
}

impl Network {
    fn encode(&self, to: &mut Writer<'_>) {
        let given = &self.addresses;
        to.put(&given.mtu.to_be_bytes());
        let v4 = given.ipv4.unwrap_or(Prefix4 {
            address: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
        });
        to.put(&v4.address.octets());
        to.put(&[v4.prefix]);
        let v6 = given.ipv6.unwrap_or(Prefix6 {
            address: Ipv6Addr::UNSPECIFIED,
            prefix: 0,
        });
        to.put(&v6.address.octets());
        to.put(&[v6.prefix]);
        to.put(&given.gateway4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        to.put(&given.gateway6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets());
        for place in 0..SERVERS {
            let server = given.dns4.get(place);
            to.put(&server.unwrap_or(&Ipv4Addr::UNSPECIFIED).octets());
        }
        for place in 0..SERVERS {
            let server = given.dns6.get(place);
            to.put(&server.unwrap_or(&Ipv6Addr::UNSPECIFIED).octets());
        }
        let ethernet = self.ethernet.as_ref();
        let address = ethernet.and_then(|ethernet| ethernet.address);
        let carrier = ethernet.is_some_and(|ethernet| ethernet.carrier);
        to.put(&[ethernet.is_some(), carrier, address.is_some()].map(u8::from));
        to.put(&address.unwrap_or_default());
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mtu = u16::from_be_bytes(from.take()?);
        let (address4, [prefix4]) = (from.v4()?, from.take()?);
        let (address6, [prefix6]) = (from.v6()?, from.take()?);
        let mut addresses = Addresses {
            ipv4: address4.map(|address| Prefix4 {
                address,
                prefix: prefix4,
            }),
            ipv6: address6.map(|address| Prefix6 {
                address,
                prefix: prefix6,
            }),
            gateway4: from.v4()?,
            gateway6: from.v6()?,
            mtu,
            ..Addresses::default()
        };
        for _ in 0..SERVERS {
            addresses.dns4.extend(from.v4()?);
        }
        for _ in 0..SERVERS {
            addresses.dns6.extend(from.v6()?);
        }
        let (ethernet, carrier, has_address) = (from.flag()?, from.flag()?, from.flag()?);
        let address = from.take::<6>()?;
        Some(Self {
            addresses,
            ethernet: ethernet.then_some(Ethernet {
                address: has_address.then_some(address),
                carrier,
            }),
        })
    }
}

/// The part of a request that is still to be written.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        // Requests are long enough for all their fields, as the tests show.
        let (here, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// The part of a request that is still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (here, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*here)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// Reads an address, which is `Some(None)` when it is missing.
    fn v4(&mut self) -> Option<Option<Ipv4Addr>> {
        let address = Ipv4Addr::from(self.take::<4>()?);
        Some((!address.is_unspecified()).then_some(address))
    }

    fn v6(&mut self) -> Option<Option<Ipv6Addr>> {
        let address = Ipv6Addr::from(self.take::<16>()?);
        Some((!address.is_unspecified()).then_some(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network {
            addresses: Addresses {
                ipv4: Some(Prefix4 {
                    address: [10, 169, 198, 77].into(),
                    prefix: 30,
                }),
                gateway4: Some([10, 169, 198, 78].into()),
                dns4: (1..=8).map(|last| [192, 0, 2, last].into()).collect(),
                ipv6: Some(Prefix6 {
                    address: "2001:db8::77".parse().unwrap(),
                    prefix: 64,
                }),
                gateway6: Some("fe80::1".parse().unwrap()),
                dns6: (1..=8)
                    .map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
                    .collect(),
                mtu: 1430,
            },
            ethernet: Some(Ethernet {
                address: Some([2, 0, 0, 0, 0, 1]),
                carrier: true,
            }),
        }
    }

    fn pins() -> PinMemory {
        let mut pins = PinMemory::default();
        let mark = pins.mark("8947000000000000001", "4711");
        pins.refused(&mark);
        PinMemory::from_bytes(&pins.to_bytes()).unwrap()
    }

    fn entry() -> Entry {
        Entry {
            vendor: 0x1234,
            product: 0x5678,
            firmware: "11.617.13.00.00".into(),
            layout: uwwan_modem::heal::Layout {
                ndp: uwwan_modem::options::Placement::End,
                padding: uwwan_modem::options::Padding::ZeroPacket,
                ntb: uwwan_modem::options::Format::Ntb32,
            },
        }
    }

    #[test]
    fn requests_are_read_as_they_were_written() {
        assert_eq!(Port::new("1-4.2").unwrap().name(), Some("1-4.2"));
        assert_eq!(Port::new(&"1".repeat(33)), None);
        assert_eq!(Port::new(&"1".repeat(32)).unwrap().name(), None);
        let little = Network {
            addresses: Addresses {
                mtu: 1500,
                ..Addresses::default()
            },
            ethernet: None,
        };
        for request in [
            Request::Open {
                session: 3,
                network: network(),
            },
            Request::Change {
                interface: 1,
                network: little,
            },
            Request::Carrier {
                interface: 2,
                up: true,
            },
            Request::Close { interface: 255 },
            Request::Attend { interface: 4 },
            Request::OpenDevice {
                at: Port::new("1-4.2").unwrap(),
                bus: 1,
                address: 12,
            },
            Request::Guard {
                at: Port::new("1-4.2").unwrap(),
            },
            Request::Unguard { guard: 3 },
            Request::Configure {
                at: Port::new("10-1.2.3.4.5.6.7").unwrap(),
                value: 2,
            },
            Request::Holder {
                bus: 3,
                address: 127,
            },
            Request::Manager,
            Request::Notify {
                text: "READY=1\nSTATUS=online".into(),
            },
            Request::Secret(Wanted::Pin),
            Request::Secret(Wanted::Password { session: 7 }),
            Request::Remember { pins: pins() },
            Request::Learn { entry: entry() },
            Request::Directory {
                name: Name::new(&"ø".repeat(64)).unwrap(),
            },
            Request::Link {
                port: Name::new("1-4.2").unwrap(),
            },
            Request::File { number: 70_000 },
            Request::State,
            Request::Online,
            Request::Use {
                uplink: 1 << 40,
                downlink: 7,
            },
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_what_is_none_is_refused() {
        let long = Request::Notify {
            text: format!("x{}", "ø".repeat(400)),
        };
        let Some(Request::Notify { text }) = Request::decode(&long.encode()) else {
            panic!("no notification");
        };
        assert!(text.len() > 300 && text.ends_with('ø'));
        for bad in [
            &[][..],
            &[0; LENGTH],
            &[2; LENGTH],
            &[3; LENGTH],
            &[4; LENGTH - 1],
        ] {
            assert_eq!(Request::decode(bad), None);
        }
    }

    proptest::proptest! {
        /// Reading any bytes that a hostile driver may send causes no panic.
        #[test]
        fn anything_is_read(bytes in proptest::collection::vec(0..=255u8, 0..LENGTH + 2)) {
            if let Some(request) = Request::decode(&bytes) {
                assert_eq!(Request::decode(&request.encode()), Some(request));
            }
        }
    }
}
