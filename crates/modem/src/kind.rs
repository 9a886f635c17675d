//! What kind of network function a device is driven by.
//!
//! An MBIM function is a modem: a control session, and IP datagrams. An NCM function (class 02,
//! subclass 0d) is a network device: no session, and Ethernet frames. Both carry their data in
//! NTBs, so that everything between claim and data path serves either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uwwan_ncm::Stream;
use uwwan_usb::descriptors::{Descriptors, Endpoint};
use uwwan_usb::functions::{self, NetworkFunction};

use crate::addresses::Given;
use crate::options::StaticAddresses;
use crate::quirks::{self, Quirk};

/// Length of an Ethernet header, in bytes.
pub(crate) const ETHERNET_HEADER: u16 = 14;

/// The network function a device is driven by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// `bConfigurationValue` of the configuration that holds it.
    pub(crate) configuration: u8,
    /// The communication interface: all class requests go there.
    pub(crate) control_interface: u8,
    /// Its alternate setting for this kind.
    pub(crate) control_alternate: u8,
    /// The data interface; its alternate setting 0 is the idle one.
    pub(crate) data_interface: u8,
    /// Its alternate setting with endpoints.
    pub(crate) data_alternate: u8,
    /// Endpoint of notifications; MBIM functions always have it.
    pub(crate) interrupt_in: Option<Endpoint>,
    /// Endpoint of NTBs from the device.
    pub(crate) bulk_in: Endpoint,
    /// Endpoint of NTBs to the device.
    pub(crate) bulk_out: Endpoint,
    /// `bmNetworkCapabilities`.
    pub(crate) capabilities: u8,
    /// `wMaxSegmentSize` in bytes, as declared; of Ethernet frames with their header.
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
        /// `bMaxOutstandingCommandMessages`, if told.
        max_outstanding: Option<u8>,
        /// `wMTU` in bytes, if told.
        extended_mtu: Option<u16>,
    },
    /// NCM.
    Ethernet {
        /// `iMACAddress`, 0 when not told.
        mac_index: u8,
    },
}

impl Function {
    /// Returns the function to drive a device by: the one of this number, from 1, or the first, which
    /// is an MBIM function where there is one. A plain Ethernet function is returned only where that
    /// is `acceptable`.
    pub(crate) fn of(
        descriptors: &Descriptors,
        number: Option<u8>,
        ethernet_acceptable: bool,
    ) -> Option<Self> {
        let index = number.map_or(0, |number| usize::from(number).wrapping_sub(1));
        let chosen = functions::network(descriptors).into_iter().nth(index)?;
        match chosen {
            NetworkFunction::Mbim(mbim) => Some(mbim.into()),
            NetworkFunction::Ncm(ncm) => ethernet_acceptable.then(|| ncm.into()),
        }
    }

    /// Returns whether control and data are one interface, with the notification endpoint in the
    /// alternate setting that has the data (Huawei E5331).
    pub(crate) fn shares_interface(&self) -> bool {
        self.control_interface == self.data_interface
    }

    pub(crate) fn is_ethernet(&self) -> bool {
        matches!(self.kind, Kind::Ethernet { .. })
    }

    /// Returns the stream that NDPs of session 0 name.
    pub(crate) fn stream(&self) -> Stream {
        match self.kind {
            Kind::Mbim { .. } => Stream::Ips(0),
            Kind::Ethernet { .. } => Stream::Ethernet { crc: false },
        }
    }

    /// Returns what is known of a device with this function.
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
            kind: Kind::Ethernet {
                mac_index: ncm.mac_index,
            },
        }
    }
}

/// Reads an Ethernet address from the text of an `iMACAddress` string (ECM 1.2, 5.4: twelve
/// hexadecimal digits). `None` for other texts, and for what is no address of a single station.
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

/// Returns what the user gave, as a network would have handed it out.
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
            let function = Function::of(&descriptors, number, acceptable)?;
            Some(if function.is_ethernet() {
                "NCM"
            } else {
                "MBIM"
            })
        };
        assert_eq!(kind(None, true), Some("MBIM"));
        assert_eq!(kind(Some(1), false), Some("MBIM"));
        assert_eq!(kind(Some(2), true), Some("NCM"));
        // A network device is taken only where the device itself was chosen.
        assert_eq!(kind(Some(2), false), None);
        assert_eq!((kind(Some(0), true), kind(Some(3), true)), (None, None));
    }
}
