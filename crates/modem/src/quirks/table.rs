//! The built-in table. Configuration and interfaces are always found by descriptor, so a row need not
//! give their numbers.

use std::fmt;
use std::time::Duration;

use crate::options::{FccUnlock, Format, Mode, Padding, Placement, UssdForm};

/// Row of the quirk table: the facts known of a modem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirk {
    /// `idVendor`; `None` in [`DEFAULT`].
    pub vendor: Option<u16>,
    /// `idProduct`; `None` for all products of the vendor.
    pub product: Option<u16>,
    /// Name of the modem.
    pub name: &'static str,
    /// Whether the configuration must be entered from configuration 0: a direct switch leaves the
    /// MBIM function mute.
    pub via_zero: bool,
    /// Whether the MBIM configuration is entered anew even when it is active: the program that
    /// selected it may not have gone through configuration 0.
    pub recycle: bool,
    /// Pause between configuration 0 and the MBIM configuration.
    pub settle: Duration,
    /// Place of the NDP in NTBs to the device.
    pub ndp: Placement,
    /// End of NTBs whose length is a multiple of the packet size.
    pub padding: Padding,
    /// Size in bytes of the largest NTB to ask for from the device; `None` is the usual one.
    pub input_size: Option<u32>,
    /// Format of NTBs to the device; `None` for NTB16 where the device offers it.
    pub ntb: Option<Format>,
    /// Size in bytes of the largest NTB to the device, where the size that it announces is too
    /// large.
    pub block_size: Option<u32>,
    /// Largest number of datagrams in an NTB to the device, where the number that it announces is
    /// too large.
    pub max_datagrams: Option<u16>,
    /// Divisor of the offset of a datagram to the device in bytes, where the announced `wNdpOutDivisor`
    /// is wrong: the offset modulo the divisor is [`Quirk::remainder`].
    pub divisor: Option<u16>,
    /// Remainder of the offset of a datagram to the device in bytes, where the announced
    /// `wNdpOutPayloadRemainder` is wrong.
    pub remainder: Option<u16>,
    /// Time for which MBIM_OPEN may stay unanswered in all, repetitions included.
    pub open_budget: Duration,
    /// Pause between SET_NTB_FORMAT and the data endpoints.
    pub format_pause: Duration,
    /// Whether the data interface goes through its active alternate setting before it is set up,
    /// which resets functions that were in use (the kernel's `cdc_ncm` does so; some firmware
    /// breaks).
    pub toggle: bool,
    /// Whether the kernel powers the port off over a system suspend: after resume the device
    /// enumerates from scratch.
    pub disconnect_suspend: bool,
    /// Whether IPv6 depends on the operator's entry in the firmware's PLMN profile list.
    pub ipv6_by_plmn: bool,
    /// Public procedure that lifts the FCC lock that the modem may have.
    pub fcc_unlock: Option<FccUnlock>,
    /// `bInterfaceNumber` of the interface that answers AT commands; it is tried first.
    pub at_port: Option<u8>,
    /// Mode in which the modem carries packets where the user chooses none. It applies where the device
    /// has that mode.
    pub mode: Option<Mode>,
    /// Form of USSD texts by AT; `None` where the modem tells it, or refuses the other one.
    pub ussd: Option<UssdForm>,
    /// Difficulty that users meet with the modem.
    pub story: &'static str,
    /// Source of the row.
    pub source: &'static str,
    /// Place of the row.
    pub origin: Origin,
}

/// Place of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the table of this program.
    BuiltIn,
    /// In a file, see [`load`](super::load).
    File {
        /// Path of the file.
        path: &'static str,
        /// Number of the line at which the row begins, from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File { path, line } => write!(f, "{path}, line {line}"),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Row for any MBIM function, with the values that the specifications ask for.
pub const DEFAULT: Quirk = Quirk {
    vendor: None,
    product: None,
    name: "MBIM modem",
    via_zero: true,
    recycle: false,
    settle: SECOND,
    ndp: Placement::Front,
    padding: Padding::ZeroPacket,
    input_size: None,
    ntb: None,
    block_size: None,
    max_datagrams: None,
    divisor: None,
    remainder: None,
    open_budget: Duration::from_secs(30),
    format_pause: Duration::ZERO,
    toggle: false,
    disconnect_suspend: false,
    ipv6_by_plmn: false,
    fcc_unlock: None,
    at_port: None,
    mode: None,
    ussd: None,
    origin: Origin::BuiltIn,
    story: "",
    source: "NCM 1.0, MBIM 1.0; Linux cdc_mbim.c default entry (zero-length packets)",
};

/// Row for any plain Ethernet function, with the values that Linux `cdc_ncm` uses for all of them.
pub const ETHERNET: Quirk = Quirk {
    name: "USB network device (CDC-NCM)",
    via_zero: false,
    padding: Padding::Short,
    source: "NCM 1.0; Linux cdc_ncm.c default entry (one byte more instead of zero-length packets)",
    ..DEFAULT
};

/// Row for any Huawei MBIM function.
const HUAWEI: Quirk = Quirk {
    vendor: Some(0x12d1),
    name: "Huawei MBIM modem",
    recycle: true,
    ndp: Placement::End,
    padding: Padding::Short,
    open_budget: Duration::from_secs(60),
    source: "Linux cdc_mbim.c: 12d1 vendor entry, NDP at the end, no zero-length packets",
    ..DEFAULT
};

const ME906S: Quirk = Quirk {
    product: Some(0x15c1),
    name: "Huawei ME906s-158 / ME909s-120, -821",
    disconnect_suspend: true,
    ipv6_by_plmn: true,
    story: "Comes up in configuration 2 (Ethernet and serial ports). A direct switch to the MBIM \
            configuration leaves MBIM mute. With the NDP in front everything connects \
            and nothing comes back. IPv6 is off unless the home network is in the PLMN profile \
            list.",
    source: "Linux cdc_mbim.c and quirks.c; OpenBSD umb_quirks; modemmanager-devel 2016-03, -04",
    ..HUAWEI
};

const HP: Quirk = Quirk {
    vendor: Some(0x03f0),
    ..DEFAULT
};

const QUECTEL: Quirk = Quirk {
    vendor: Some(0x2c7c),
    name: "Quectel modem with an FCC lock",
    fcc_unlock: Some(FccUnlock::Quectel),
    source: "ModemManager fcc-unlock 2c7c, 1eac",
    ..DEFAULT
};

const FOXCONN: Quirk = Quirk {
    name: "Foxconn SDX55 modem (T99W175)",
    fcc_unlock: Some(FccUnlock::Foxconn),
    source: "ModemManager fcc-unlock 105b, its older way",
    ..DEFAULT
};

/// The fields that rows of modems by Sierra Wireless have in common. There is no row for the whole
/// vendor: a modem without a row is healed.
const SIERRA: Quirk = Quirk {
    vendor: Some(0x1199),
    name: "Sierra Wireless MBIM modem",
    format_pause: Duration::from_millis(20),
    story: "Some deliver no data when the data interface is switched on too soon after the NTB format \
            is set.",
    source: "Linux cdc_ncm.c (c086e7096170: EM7455)",
    ..DEFAULT
};

/// Every modem with a row of its own, and the defaults of vendors after them.
pub const TABLE: &[Quirk] = &[
    Quirk {
        vendor: Some(0x03f0),
        product: Some(0xa31d),
        name: "HP lt4132 (Huawei ME906s-158)",
        source: "Linux cdc_mbim.c (a68491f895a9) and quirks.c (0326ff28d56b); T. Anderson 2017-07, 2018-12",
        ..ME906S
    },
    ME906S,
    Quirk {
        product: Some(0x15bb),
        name: "Huawei ME936",
        disconnect_suspend: true,
        story: "CONNECT answers `unknown` before the first activation; deactivating an inactive \
                session takes over 30 s.",
        source: "Linux quirks.c; ModemManager huawei plugin; balena udev rules",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x15c3),
        name: "Huawei ME936 variant",
        disconnect_suspend: true,
        source: "Linux quirks.c",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x1570),
        name: "Huawei ME906E",
        story: "Users report that it connects but receives nothing, whatever the layout; try \
                `--ntb 32`.",
        source: "draisberghof f=3 t=2784; modemmanager-devel 2018-05, 2019-03",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x1571),
        name: "Huawei EM820W",
        story: "Sends stray OPEN_DONE messages with the next command's transaction id.",
        source: "libmbim 6f2a642",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x1572),
        name: "Huawei MU733",
        source: "usb_modeswitch data",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x1573),
        name: "Huawei ME906v / ME909u / MU609",
        source: "osmocom quectel-modems wiki; ModemManager huawei plugin",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x157d),
        name: "Huawei E3372 (MBIM)",
        source: "Linux cdc_mbim.c, first user of the NDP at the end",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x15c0),
        name: "Huawei ME906C",
        source: "usb_modeswitch data",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x15ec),
        name: "Vodafone K5150 (Huawei)",
        story: "Answers CONNECT with another IP type than asked for; sends ARP frames as datagrams.",
        source: "usb_modeswitch data; ModemManager 48f02107",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x15f0),
        name: "Huawei MU736",
        story: "Reset with AT+CFUN=16 rather than AT^RESET.",
        source: "ModemManager huawei plugin",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x1c25),
        name: "Huawei MU709s-2",
        source: "usb_modeswitch data",
        ..HUAWEI
    },
    Quirk {
        product: Some(0x1f1e),
        name: "Vodafone K5160 (Huawei)",
        story: "Answers CONNECT with another IP type than asked for; sends ARP frames as datagrams.",
        source: "libmbim-devel 2016-03; ModemManager 48f02107",
        ..HUAWEI
    },
    HUAWEI,
    Quirk {
        product: Some(0x581d),
        name: "HP lt4112 (Huawei ME906E)",
        recycle: true,
        ndp: Placement::End,
        padding: Padding::Short,
        open_budget: Duration::from_secs(60),
        story: "The radio is off at power-up.",
        source: "networkmanager-list 2014-11; libqmi-devel 2015-10",
        ..HP
    },
    Quirk {
        product: Some(0x521d),
        name: "HP hs3110 (Huawei)",
        ndp: Placement::End,
        padding: Padding::Short,
        story: "The NTBs it sends in NTB16 have empty headers; use `--ntb 32`.",
        source: "modemmanager-devel, report by the author of OpenBSD's umb",
        ..HP
    },
    Quirk {
        product: Some(0x9d1d),
        name: "HP lt4120 (Foxconn T77W595)",
        story: "Comes up in configuration 2; IPv6 works as it is.",
        source: "T. Anderson 2017-07; libqmi-devel 2017-01",
        ..HP
    },
    Quirk {
        product: Some(0x911d),
        name: "HP lt4211",
        source: "usb_modeswitch data",
        ..HP
    },
    Quirk {
        product: Some(0x931d),
        name: "HP lt4110",
        source: "usb_modeswitch data",
        ..HP
    },
    Quirk {
        product: Some(0x9a1d),
        name: "HP lt4114",
        source: "usb_modeswitch data",
        ..HP
    },
    Quirk {
        product: Some(0x0857),
        name: "HP lt4220",
        source: "usb_modeswitch data",
        ..HP
    },
    Quirk {
        vendor: Some(0x413c),
        product: Some(0x81d7),
        name: "Dell DW5821e",
        source: "OpenBSD umb_quirks",
        ..DEFAULT
    },
    Quirk {
        vendor: Some(0x413c),
        product: Some(0x81e0),
        name: "Dell DW5821e (eSIM)",
        source: "OpenBSD umb_quirks",
        ..DEFAULT
    },
    Quirk {
        product: Some(0x9071),
        name: "Sierra EM7455 / MC7455",
        story: "Delivers no data when the data interface is switched on too soon after the NTB \
                format is set; may have an FCC lock.",
        fcc_unlock: Some(FccUnlock::Qmi),
        source: "Linux cdc_ncm.c (c086e7096170); OpenBSD umb; unlocking by QMI: logs of an EM7455",
        ..SIERRA
    },
    Quirk {
        product: Some(0x9079),
        name: "Sierra EM7455",
        fcc_unlock: Some(FccUnlock::Qmi),
        source: "OpenBSD umb; ModemManager fcc-unlock 1199",
        ..SIERRA
    },
    Quirk {
        product: Some(0x907b),
        name: "Sierra EM74xx",
        source: "Linux qmi_wwan.c (as 9079)",
        ..SIERRA
    },
    Quirk {
        vendor: Some(0x413c),
        product: Some(0x81b6),
        name: "Dell DW5811e (Sierra EM7455)",
        source: "Linux option.c and qmi_wwan.c (DW5811e is an EM7455)",
        ..SIERRA
    },
    Quirk {
        vendor: Some(0x03f0),
        product: Some(0x4e1d),
        name: "HP lt4111",
        fcc_unlock: Some(FccUnlock::Qmi),
        story: "Built into the EliteBook 820 G1 (EM7355); may have an FCC lock.",
        source: "ModemManager fcc-unlock 1199",
        ..SIERRA
    },
    Quirk {
        vendor: Some(0x413c),
        product: Some(0x81a3),
        name: "Dell DW5570 (Sierra MC8805)",
        fcc_unlock: Some(FccUnlock::Qmi),
        source: "ModemManager fcc-unlock 1199",
        ..SIERRA
    },
    Quirk {
        vendor: Some(0x413c),
        product: Some(0x81a8),
        name: "Dell DW5808 (Sierra MC7355)",
        fcc_unlock: Some(FccUnlock::Qmi),
        source: "ModemManager fcc-unlock 1199",
        ..SIERRA
    },
    Quirk {
        vendor: Some(0x2c7c),
        product: Some(0x030a),
        name: "Quectel EM05-G",
        story: "With the FCC lock in force the SIM is missing, too.",
        ..QUECTEL
    },
    Quirk {
        product: Some(0x0313),
        ..QUECTEL
    },
    Quirk {
        product: Some(0x0314),
        ..QUECTEL
    },
    Quirk {
        product: Some(0x0801),
        name: "Quectel RM520N-GL",
        ..QUECTEL
    },
    Quirk {
        vendor: Some(0x1eac),
        product: Some(0x1001),
        ..QUECTEL
    },
    Quirk {
        vendor: Some(0x1eac),
        product: Some(0x1004),
        ..QUECTEL
    },
    Quirk {
        vendor: Some(0x1eac),
        product: Some(0x1007),
        ..QUECTEL
    },
    Quirk {
        vendor: Some(0x105b),
        product: Some(0xe0ab),
        ..FOXCONN
    },
    Quirk {
        vendor: Some(0x105b),
        product: Some(0xe0c3),
        ..FOXCONN
    },
    Quirk {
        vendor: Some(0x1bc7),
        product: Some(0x1041),
        name: "Telit LE922A6",
        source: "Linux cdc_mbim.c: no alternate setting toggle",
        ..DEFAULT
    },
    Quirk {
        vendor: Some(0x1bc7),
        product: Some(0x1061),
        name: "Telit LN920",
        source: "Linux cdc_mbim.c: no alternate setting toggle",
        ..DEFAULT
    },
    Quirk {
        vendor: Some(0x0bdb),
        name: "Ericsson MBIM modem",
        padding: Padding::Short,
        source: "Linux cdc_mbim.c: no zero-length packets",
        ..DEFAULT
    },
];

/// Returns the row of the built-in table for a device, or for a vendor.
pub(super) fn built_in(vendor: u16, product: Option<u16>) -> &'static Quirk {
    best(TABLE, vendor, product).unwrap_or(&DEFAULT)
}

/// Returns the row of the built-in table for a plain Ethernet function. The rows for whole vendors
/// are for their modems.
pub(super) fn built_in_ethernet(vendor: u16, product: Option<u16>) -> &'static Quirk {
    best(TABLE, vendor, product)
        .filter(|row| row.product.is_some())
        .unwrap_or(&ETHERNET)
}

/// Returns the first row that names vendor and product, else the first that names the vendor alone.
pub(super) fn best(
    rows: &'static [Quirk],
    vendor: u16,
    product: Option<u16>,
) -> Option<&'static Quirk> {
    let of_vendor = || rows.iter().filter(move |row| row.vendor == Some(vendor));
    of_vendor()
        .find(|row| row.product.is_some() && row.product == product)
        .or_else(|| of_vendor().find(|row| row.product.is_none()))
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    #[test]
    fn rows_are_found() {
        let lt4132 = find(0x03f0, 0xa31d);
        assert_eq!(lt4132.name, "HP lt4132 (Huawei ME906s-158)");
        assert!(lt4132.via_zero && lt4132.disconnect_suspend && lt4132.ipv6_by_plmn);
        assert_eq!(
            (lt4132.ndp, lt4132.padding),
            (Placement::End, Padding::Short)
        );
        assert_eq!(find(0x12d1, 0x15c1).ndp, Placement::End);
        assert_eq!(find(0x12d1, 0xffff).name, "Huawei MBIM modem");
        // HP sells modems of several makers, so the vendor alone decides nothing.
        assert_eq!(*find(0x03f0, 0xffff), DEFAULT);
        assert_eq!(find(0x03f0, 0x9d1d).ndp, Placement::Front);
        assert_eq!(find(0x0bdb, 0x1926).padding, Padding::Short);
        // Only modems that may need the pause have it.
        let pauses = |vendor, product| !find(vendor, product).format_pause.is_zero();
        assert!(pauses(0x1199, 0x9071) && pauses(0x413c, 0x81a3));
        assert!(!pauses(0x03f0, 0xa31d) && !pauses(0xdead, 0xbeef) && !pauses(0x413c, 0x81d7));
        assert_eq!(*find(0xdead, 0xbeef), DEFAULT);
    }

    #[test]
    fn no_row_stands_twice_and_each_has_a_source() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(!row.source.is_empty(), "{}", row.name);
            assert!(
                !TABLE[..index]
                    .iter()
                    .any(|other| (other.vendor, other.product) == (row.vendor, row.product)),
                "{}",
                row.name
            );
        }
    }
}
