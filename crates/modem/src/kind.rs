//! The kind of network function by which a device is driven.
//!
//! An MBIM function is a modem: a control session, and IP datagrams. An NCM function (class 02,
//! subclass 0d) is a network device: no session, and Ethernet frames. Both carry their data in NTBs,
//! so that everything between claim and data path serves either. A function that is dialled by AT
//! commands is a modem, too: its control session is answered by the [driver itself](crate::dialled),
//! and its frames carry the host's IP datagrams, or are the host's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uwwan_ncm::Stream;
use uwwan_usb::descriptors::{Descriptors, Endpoint};
use uwwan_usb::functions::{self, DialledKind, NetworkFunction};

use crate::addresses::Given;
use crate::options::{Mode, Options, StaticAddresses};
use crate::quirks::{self, Quirk};

/// Length of an Ethernet header, in bytes.
pub(crate) const ETHERNET_HEADER: u16 = 14;

/// The network function by which a device is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// `bConfigurationValue` of the configuration that holds the function.
    pub(crate) configuration: u8,
    /// `bInterfaceNumber` of the communication interface, which takes all class requests.
    pub(crate) control_interface: u8,
    /// `bAlternateSetting` of the communication interface for this kind of function.
    pub(crate) control_alternate: u8,
    /// `bInterfaceNumber` of the data interface; its alternate setting 0 is the idle one.
    pub(crate) data_interface: u8,
    /// `bAlternateSetting` of the data interface that has endpoints.
    pub(crate) data_alternate: u8,
    /// Interrupt IN endpoint of notifications; MBIM functions always have it.
    pub(crate) interrupt_in: Option<Endpoint>,
    /// Bulk IN endpoint, which carries data from the device.
    pub(crate) bulk_in: Endpoint,
    /// Bulk OUT endpoint, which carries data to the device.
    pub(crate) bulk_out: Endpoint,
    /// `bmNetworkCapabilities`.
    pub(crate) capabilities: u8,
    /// `wMaxSegmentSize` in bytes, as declared; that of Ethernet frames counts their header.
    pub(crate) max_segment_size: u16,
    /// Facts that only one kind has.
    pub(crate) kind: Kind,
}

/// Facts that only one kind of function has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// MBIM.
    Mbim {
        /// `wMaxControlMessage` in bytes.
        max_control_message: u16,
        /// `bMaxOutstandingCommandMessages`, if declared.
        max_outstanding: Option<u8>,
        /// `wMTU` in bytes, if declared.
        extended_mtu: Option<u16>,
    },
    /// NCM.
    Ethernet {
        /// `iMACAddress`, 0 when not declared.
        mac_index: u8,
    },
    /// A modem that is dialled by AT commands.
    Dialled {
        /// Kind of its function.
        kind: DialledKind,
        /// `iMACAddress`, 0 when not declared.
        mac_index: u8,
        /// Whether the host has the Ethernet link itself, as a TAP interface.
        tap: bool,
    },
}

/// Choice of the function by which a device is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Number of the function, from 1; see [`crate::options::Options::function`].
    pub(crate) number: Option<u8>,
    /// Mode in which the modem is to carry packets.
    pub(crate) mode: Option<Mode>,
    /// Whether a plain network device may be driven.
    pub(crate) ethernet: bool,
    /// Whether the host has the Ethernet link itself, as a TAP interface.
    pub(crate) tap: bool,
}

impl Choice {
    /// Returns the choice that the options make.
    pub(crate) fn new(options: &Options, ethernet: bool) -> Self {
        Self {
            number: options.function,
            mode: options.mode,
            ethernet,
            tap: options.tap,
        }
    }

    /// Returns the kinds of functions that are looked for, in words.
    pub(crate) fn words(self) -> &'static str {
        match (self.mode, self.ethernet) {
            (Some(Mode::Mbim), _) => "MBIM",
            (Some(Mode::Ncm), _) => "dialled NCM",
            (Some(Mode::Ecm), _) => "dialled ECM",
            (None, true) => "MBIM or NCM",
            (None, false) => "MBIM",
        }
    }
}

/// Returns the mode in which a device carries packets by its row of the quirk table, if the row names
/// one and the device has it.
#[must_use]
pub fn usual_mode(descriptors: &Descriptors) -> Option<Mode> {
    let row = quirks::find(descriptors.vendor(), descriptors.product());
    row.mode
        .filter(|mode| Function::by_mode(descriptors, *mode).is_some())
}

impl Function {
    /// Returns the function by which a device is driven: the one of the chosen number or mode, the one
    /// of the [usual mode](usual_mode), or the first, which is an MBIM function where there is one. A
    /// plain Ethernet function is returned only where that is acceptable, and a dialled one without
    /// being chosen only where nothing else is there and its class marks it as a modem's.
    pub(crate) fn of(descriptors: &Descriptors, choice: Choice) -> Option<Self> {
        let mut found = Self::chosen(descriptors, choice)?;
        if let Kind::Dialled { tap, .. } = &mut found.kind {
            *tap = choice.tap;
        }
        Some(found)
    }

    fn chosen(descriptors: &Descriptors, choice: Choice) -> Option<Self> {
        let usual = || match choice.number {
            Some(_) => None,
            None => usual_mode(descriptors),
        };
        if let Some(mode) = choice.mode.or_else(usual) {
            return Self::by_mode(descriptors, mode);
        }
        let index = choice
            .number
            .map_or(0, |number| usize::from(number).wrapping_sub(1));
        match functions::network(descriptors).into_iter().nth(index) {
            Some(NetworkFunction::Mbim(mbim)) => Some(mbim.into()),
            Some(NetworkFunction::Ncm(ncm)) => choice.ethernet.then(|| ncm.into()),
            None if choice.number.is_some() => None,
            None => functions::dialled(descriptors)
                .into_iter()
                .find(|found| found.kind == DialledKind::HuaweiNcm)
                .map(Into::into),
        }
    }

    /// Returns the first function with which a device carries packets in a mode.
    fn by_mode(descriptors: &Descriptors, mode: Mode) -> Option<Self> {
        let dialled = || functions::dialled(descriptors).into_iter();
        match mode {
            Mode::Mbim => functions::mbim(descriptors)
                .into_iter()
                .next()
                .map(Into::into),
            Mode::Ncm => dialled()
                .find(|found| found.kind != DialledKind::Ecm)
                .map(Into::into),
            Mode::Ecm => dialled()
                .find(|found| found.kind == DialledKind::Ecm)
                .map(Into::into),
        }
    }

    /// Returns whether control and data are one interface, with the notification endpoint in the
    /// alternate setting that has the data (Huawei E5331).
    pub(crate) fn shares_interface(&self) -> bool {
        self.control_interface == self.data_interface
    }

    /// Returns whether the function is a plain network device, whose host carries Ethernet frames.
    pub(crate) fn is_ethernet(&self) -> bool {
        matches!(self.kind, Kind::Ethernet { .. })
    }

    /// Returns whether the host carries Ethernet frames: those of a plain network device, or of a modem
    /// whose Ethernet link it has.
    pub(crate) fn gives_frames(&self) -> bool {
        self.is_ethernet() || matches!(self.kind, Kind::Dialled { tap: true, .. })
    }

    /// Returns the kind of a function that is dialled by AT commands.
    pub(crate) fn dialled(&self) -> Option<DialledKind> {
        match self.kind {
            Kind::Dialled { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// Returns the stream of the datagrams of session 0. Those of a dialled function get Ethernet
    /// headers on their way, unless they are frames already.
    pub(crate) fn stream(&self) -> Stream {
        match self.gives_frames() {
            false => Stream::Ips(0),
            true => Stream::Ethernet { crc: false },
        }
    }

    /// Returns the row of the quirk table for a device with this function.
    pub(crate) fn quirk(&self, vendor: u16, product: u16) -> &'static Quirk {
        if self.is_ethernet() {
            quirks::find_ethernet(vendor, product)
        } else {
            quirks::find(vendor, product)
        }
    }
}

impl From<functions::MbimFunction> for Function {
    fn from(mbim: functions::MbimFunction) -> Self {
        Self {
            configuration: mbim.configuration,
            control_interface: mbim.control_interface,
            control_alternate: mbim.control_alternate,
            data_interface: mbim.data_interface,
            data_alternate: mbim.data_alternate,
            interrupt_in: Some(mbim.interrupt_in),
            bulk_in: mbim.bulk_in,
            bulk_out: mbim.bulk_out,
            capabilities: mbim.capabilities,
            max_segment_size: mbim.max_segment_size,
            kind: Kind::Mbim {
                max_control_message: mbim.max_control_message,
                max_outstanding: mbim.max_outstanding,
                extended_mtu: mbim.extended_mtu,
            },
        }
    }
}

impl From<functions::NcmFunction> for Function {
    fn from(ncm: functions::NcmFunction) -> Self {
        let kind = Kind::Ethernet {
            mac_index: ncm.mac_index,
        };
        Self::with_frames(ncm, kind)
    }
}

impl From<functions::DialledFunction> for Function {
    fn from(dialled: functions::DialledFunction) -> Self {
        let kind = Kind::Dialled {
            kind: dialled.kind,
            mac_index: dialled.function.mac_index,
            tap: false,
        };
        Self::with_frames(dialled.function, kind)
    }
}

impl Function {
    fn with_frames(ncm: functions::NcmFunction, kind: Kind) -> Self {
        Self {
            configuration: ncm.configuration,
            control_interface: ncm.control_interface,
            control_alternate: ncm.control_alternate,
            data_interface: ncm.data_interface,
            data_alternate: ncm.data_alternate,
            interrupt_in: ncm.interrupt_in,
            bulk_in: ncm.bulk_in,
            bulk_out: ncm.bulk_out,
            capabilities: ncm.capabilities,
            max_segment_size: ncm.max_segment_size,
            kind,
        }
    }
}

/// Reads an Ethernet address from the text of an `iMACAddress` string (ECM 1.2, 5.4: twelve
/// hexadecimal digits). Returns `None` for other texts, and for an address that belongs to no
/// single station.
pub(crate) fn mac(text: &str) -> Option<[u8; 6]> {
    if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut address = [0; 6];
    for (index, byte) in address.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    (address[0] & 1 == 0 && address != [0; 6]).then_some(address)
}

/// Returns the addresses that the user gave, in the form in which a network would have handed them
/// out.
pub(crate) fn given(chosen: &StaticAddresses) -> Given {
    let mut given = Given::default();
    for prefix in &chosen.addresses {
        let length = u32::from(prefix.length);
        match prefix.address {
            IpAddr::V4(v4) => given.ipv4.push((v4, length)),
            IpAddr::V6(v6) => given.ipv6.push((v6, length)),
        }
    }
    let v4 = |address: &IpAddr| match *address {
        IpAddr::V4(v4) => Some::<Ipv4Addr>(v4),
        IpAddr::V6(_) => None,
    };
    let v6 = |address: &IpAddr| match *address {
        IpAddr::V6(v6) => Some::<Ipv6Addr>(v6),
        IpAddr::V4(_) => None,
    };
    given.gateway4 = chosen.gateways.iter().find_map(v4);
    given.gateway6 = chosen.gateways.iter().find_map(v6);
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_single_stations_alone() {
        assert_eq!(
            mac("0242aC11000f"),
            Some([0x02, 0x42, 0xac, 0x11, 0x00, 0x0f])
        );
        for bad in [
            "",
            "0242AC11000",
            "0242AC11000F0",
            "02:42:AC:11:0",
            "0142AC11000F",
            "000000000000",
            "ffffffffffff",
            "+242AC11000F",
            "äöüäöü",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_the_user_gives_takes_the_networks_place() {
        let chosen = StaticAddresses {
            addresses: vec![
                "192.0.2.7/24".parse().unwrap(),
                "2001:db8::7/64".parse().unwrap(),
            ],
            gateways: vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
        };
        let addresses =
            crate::addresses::settle(&given(&chosen), crate::addresses::Sizes::default());
        assert_eq!(addresses.list(), ["192.0.2.7/24", "2001:db8::7/64"]);
        assert_eq!(addresses.gateway4, Some([192, 0, 2, 1].into()));
        assert_eq!(addresses.gateway6, Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_function_is_chosen_by_its_number() {
        let both =
            include_bytes!("../../usb/tests/vectors/descriptors/ericsson_n5321_0bdb_1926_cfg4.bin");
        let descriptors = Descriptors::from_sysfs(both);
        let kind = |number, acceptable| {
            let choice = Choice {
                number,
                mode: None,
                ethernet: acceptable,
                tap: false,
            };
            let function = Function::of(&descriptors, choice)?;
            Some(if function.is_ethernet() {
                "NCM"
            } else {
                "MBIM"
            })
        };
        assert_eq!(kind(None, true), Some("MBIM"));
        assert_eq!(kind(Some(1), false), Some("MBIM"));
        assert_eq!(kind(Some(2), true), Some("NCM"));
        // A network device is driven only where the device itself was chosen.
        assert_eq!(kind(Some(2), false), None);
        assert_eq!((kind(Some(0), true), kind(Some(3), true)), (None, None));
    }

    #[test]
    fn a_function_is_chosen_by_mode() {
        let of = |bytes: &[u8], mode| {
            let choice = Choice {
                number: None,
                mode,
                ethernet: false,
                tap: false,
            };
            let function = Function::of(&Descriptors::from_sysfs(bytes), choice)?;
            Some((function.configuration, function.dialled()))
        };
        let lt4132 = include_bytes!("../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");
        let (huawei, ecm) = (DialledKind::HuaweiNcm, DialledKind::Ecm);
        assert_eq!(of(lt4132, None), Some((3, None)));
        assert_eq!(of(lt4132, Some(Mode::Mbim)), Some((3, None)));
        assert_eq!(of(lt4132, Some(Mode::Ncm)), Some((1, Some(huawei))));
        assert_eq!(of(lt4132, Some(Mode::Ecm)), Some((2, Some(ecm))));
        let stick =
            include_bytes!("../../usb/tests/vectors/descriptors/huawei_e3372_12d1_15b6.bin");
        assert_eq!(of(stick, None), Some((1, Some(huawei))));
        assert_eq!(of(stick, Some(Mode::Mbim)), None);
        assert_eq!(of(stick, Some(Mode::Ecm)), None);
        // Only the chosen mode tells this function from that of a docking station.
        let class =
            include_bytes!("../../usb/tests/vectors/descriptors/huawei_stick_ncm_12d1_155e.bin");
        assert_eq!(of(class, None), None);
        assert_eq!(
            of(class, Some(Mode::Ncm)),
            Some((1, Some(DialledKind::Ncm)))
        );
    }
}
