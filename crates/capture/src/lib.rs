//! Captures of USB transfers, as Wireshark, tcpdump and USBPcap write and read them.
//!
//! - [`transfer`] is one event of a transfer, in whatever form the file records it.
//! - [`usbmon`] and [`usbpcap`] are the records of Linux and of Windows for such an event.
//! - [`write`](mod@write) and [`read`](mod@read) are files of pcapng; pcap is read as well.
//!   pcap-parser handles the blocks themselves. Files with the ending `.zst`, in which runs of
//!   zeros take no room, are written and read, too.
//! - [`exchange`] puts submissions and completions together.
//!
//! The crate does not interpret what the transfers carry. Files may be broken, huge or endless:
//! reading holds one block at a time, and every table has a bound.
#![forbid(unsafe_code)]

pub mod exchange;
mod packed;
pub mod read;
pub mod transfer;
pub mod usbmon;
pub mod usbpcap;
pub mod write;

/// Link type of the packets of an interface (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// IP packets of either version, without a link layer in front.
    pub const RAW_IP: Self = Self(101);
    /// Records of usbmon in Linux with a header of 48 bytes.
    pub const USBMON: Self = Self(189);
    /// Records of usbmon in Linux with a header of 64 bytes.
    pub const USBMON_MMAPPED: Self = Self(220);
    /// Records of USBPcap.
    pub const USBPCAP: Self = Self(249);
}

impl std::fmt::Display for LinkType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::RAW_IP => f.write_str("raw IP (101)"),
            Self::USBMON => f.write_str("usbmon (189)"),
            Self::USBMON_MMAPPED => f.write_str("usbmon, mmapped (220)"),
            Self::USBPCAP => f.write_str("USBPcap (249)"),
            Self(other) => write!(f, "{other}"),
        }
    }
}

/// The examples in the README are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
