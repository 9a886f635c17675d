//! Serial functions, and which of them may answer to AT commands.
//!
//! Modems have serial functions of two kinds: vendor-specific interfaces (class ff) that carry
//! their bytes over two bulk endpoints, and CDC ACM (class 02, subclass 02). Only CDC ACM says what
//! it is for. The makers' codes of vendor-specific interfaces are known from the Linux drivers that
//! bind them (`drivers/usb/serial/option.c`, with the compositions in its history) and from the
//! port rules of ModemManager. An interface with an unknown code is judged by its endpoints alone.

use super::{bulk_pair, interrupt_in};
use crate::codes::{class, subclass};
use crate::descriptors::{
    AlternateSetting, ClassTriple, Configuration, Descriptors, Endpoint, Functional, TransferKind,
};

/// Vendor id of Huawei, whose older modems number the codes of their ports from 1.
pub(super) const HUAWEI: u16 = 0x12d1;

/// Vendor ids of makers whose QMI function is a vendor-specific interface without a code of its own
/// (Linux `qmi_wwan.c`): Sierra, Quectel, Dell, HP and Qualcomm.
pub(super) const QMI_VENDORS: [u16; 5] = [0x1199, 0x2c7c, 0x413c, 0x03f0, 0x05c6];

/// A serial function: a vendor-specific interface, or a CDC ACM function (PSTN 1.2, 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialFunction {
    /// `bConfigurationValue` of the configuration that holds the function.
    pub configuration: u8,
    /// Number of the interface that takes the class requests.
    pub interface: u8,
    /// Number of the interface with the bulk endpoints. It differs from `interface` in CDC ACM
    /// only: the union that vendor-specific interfaces carry names interface 0 in all of them and
    /// means nothing.
    pub data_interface: u8,
    /// Class, subclass and protocol of `interface`.
    pub class: ClassTriple,
    /// The purpose of the function.
    pub role: SerialRole,
    /// Likelihood that the function answers to AT commands.
    pub at: AtLikelihood,
    /// The endpoint for notifications of the serial state, in functions that have one.
    pub interrupt_in: Option<Endpoint>,
    /// The endpoint for bytes from the device.
    pub bulk_in: Endpoint,
    /// The endpoint for bytes to the device.
    pub bulk_out: Endpoint,
}

/// Purpose of a serial function, as far as its class tells. Among functions that are equally likely
/// to answer to AT commands, the one that comes first in this order is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SerialRole {
    /// AT commands for programs, which Huawei calls PC UI.
    Pcui,
    /// AT commands.
    At,
    /// AT commands and dial-up.
    Modem,
    /// Position data (GPS), and AT commands.
    Gps,
    /// No purpose is known.
    Other,
    /// Position data (NMEA 0183) alone.
    Nmea,
    /// Diagnostics of the baseband.
    Diagnostics,
    /// Huawei's interface ff/06/1b, which answers to nothing known.
    SerialB,
    /// The Android debug bridge.
    Adb,
    /// A network function or a trace, which only looks like a serial function.
    Foreign,
}

impl SerialRole {
    /// Returns the purpose in a few words.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Pcui => "AT for programs (PC UI)",
            Self::At => "AT",
            Self::Modem => "AT and dial-up",
            Self::Gps => "position data and AT",
            Self::Other => "purpose unknown",
            Self::Nmea => "position data",
            Self::Diagnostics => "diagnostics",
            Self::SerialB => "answers to nothing known",
            Self::Adb => "Android debug bridge",
            Self::Foreign => "no serial port",
        }
    }
}

/// Likelihood that a serial function answers to AT commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AtLikelihood {
    /// The function answers on devices that people own.
    Known,
    /// The function answers by its class.
    Likely,
    /// The function has the shape of one that answers, and nothing speaks against it.
    Possible,
    /// The function is something else and must not be written to.
    Never,
}

/// Returns all serial functions, in descriptor order: interfaces with one alternate setting, one bulk
/// endpoint each way and at most an interrupt endpoint beside them.
#[must_use]
pub fn serial(descriptors: &Descriptors) -> Vec<SerialFunction> {
    let all = descriptors.configurations.iter();
    let mut functions: Vec<SerialFunction> = all
        .flat_map(|configuration| {
            let interfaces = configuration.interfaces.iter();
            interfaces.filter_map(move |interface| {
                let [alternate] = &interface.alternates[..] else {
                    // An interface with several alternate settings is a vendor-specific network
                    // function.
                    return None;
                };
                match alternate.class {
                    ClassTriple(class::VENDOR, ..) => {
                        vendor(descriptors, configuration, interface.number, alternate)
                    }
                    ClassTriple(class::COMMUNICATION, subclass::ACM, _) => {
                        acm(configuration, interface.number, alternate)
                    }
                    _ => None,
                }
            })
        })
        .collect();
    // An unknown code is tried on a modem only; on another device it may mean anything.
    let is_modem = !super::mbim(descriptors).is_empty()
        || functions.iter().any(|f| f.at <= AtLikelihood::Likely);
    for function in &mut functions {
        if !is_modem && function.at == AtLikelihood::Possible && !is_generic(function.class) {
            function.at = AtLikelihood::Never;
        }
    }
    functions
}

/// Returns the serial functions of one configuration that may answer to AT commands, the likeliest
/// first.
#[must_use]
pub fn at_candidates(descriptors: &Descriptors, configuration: u8) -> Vec<SerialFunction> {
    let mut candidates = serial(descriptors);
    candidates.retain(|s| s.configuration == configuration && s.at != AtLikelihood::Never);
    candidates.sort_by_key(|s| (s.at, s.role, s.interrupt_in.is_none()));
    candidates
}

/// Reads a vendor-specific interface with the shape of a serial function.
fn vendor(
    descriptors: &Descriptors,
    configuration: &Configuration,
    interface: u8,
    alternate: &AlternateSetting,
) -> Option<SerialFunction> {
    let (bulk_in, bulk_out) = serial_pair(alternate)?;
    let interrupt_in = interrupt_in(alternate);
    let (role, at) = purpose(
        descriptors.vendor(),
        configuration,
        alternate.class,
        interrupt_in.is_some(),
    );
    Some(SerialFunction {
        configuration: configuration.value,
        interface,
        data_interface: interface,
        class: alternate.class,
        role,
        at,
        interrupt_in,
        bulk_in,
        bulk_out,
    })
}

/// Reads a CDC ACM function at its communication interface. Its data interface is the one that its
/// union names; some devices have all endpoints in the communication interface.
fn acm(
    configuration: &Configuration,
    interface: u8,
    alternate: &AlternateSetting,
) -> Option<SerialFunction> {
    let subordinate = alternate.functional.iter().find_map(|f| match f {
        Functional::Union { subordinates, .. } => subordinates.first().copied(),
        _ => None,
    });
    let data = subordinate
        .and_then(|number| configuration.interface(number))
        .and_then(|data| match &data.alternates[..] {
            [alternate] if alternate.class.0 == class::DATA => Some((data.number, alternate)),
            _ => None,
        });
    let (data_interface, data) = data.unwrap_or((interface, alternate));
    let (bulk_in, bulk_out) = serial_pair(data)?;
    // The protocols from 01 to 06 are AT commands of one standard or another (CDC 1.2, table 17).
    let (role, at) = match alternate.class.2 {
        0x01..=0x06 => (SerialRole::At, AtLikelihood::Likely),
        _ => (SerialRole::Other, AtLikelihood::Possible),
    };
    Some(SerialFunction {
        configuration: configuration.value,
        interface,
        data_interface,
        class: alternate.class,
        role,
        at,
        interrupt_in: interrupt_in(alternate),
        bulk_in,
        bulk_out,
    })
}

/// Returns the bulk endpoints, IN first, of an alternate setting that has one each way and at most
/// an interrupt endpoint towards the host beside them.
pub(super) fn serial_pair(alternate: &AlternateSetting) -> Option<(Endpoint, Endpoint)> {
    let mut others = alternate
        .endpoints
        .iter()
        .filter(|e| e.kind != TransferKind::Bulk);
    let bulk = alternate.endpoints.len() - others.clone().count();
    let other = others.next();
    let fits = bulk == 2
        && others.next().is_none()
        && other.is_none_or(|e| e.kind == TransferKind::Interrupt && e.is_in());
    fits.then(|| bulk_pair(alternate)).flatten()
}

/// Returns whether makers use a code for ports of every purpose.
fn is_generic(class: ClassTriple) -> bool {
    matches!(
        class,
        ClassTriple(class::COMMUNICATION, ..)
            | ClassTriple(class::VENDOR, 0x00, 0x00 | 0x40)
            | ClassTriple(class::VENDOR, 0xff, 0xff)
    )
}

/// Returns the purpose of a vendor-specific interface, from its codes and, where those do not
/// suffice, from the interfaces beside it.
fn purpose(
    vendor: u16,
    configuration: &Configuration,
    class: ClassTriple,
    has_interrupt: bool,
) -> (SerialRole, AtLikelihood) {
    use AtLikelihood::{Known, Likely, Never, Possible};
    use SerialRole::{Adb, At, Diagnostics, Foreign, Gps, Modem, Nmea, Other, Pcui, SerialB};
    let beside = |codes: ClassTriple| {
        let mut alternates = configuration.interfaces.iter().flat_map(|i| &i.alternates);
        alternates.any(|a| a.class == codes)
    };
    match (class.1, class.2) {
        // Android has ADB in protocol 01 and fastboot in 03.
        (0x42, _) => (Adb, Never),
        // Apple has usbmux here.
        (0xfe, _) => (Foreign, Never),
        // Huawei's codes hold whatever name is on the modem. 16, 46 and 76 are network functions
        // (`huawei_cdc_ncm.c`).
        (0x01..=0x06, 0x12) => (Pcui, Known),
        (0x01..=0x06, 0x10) => (Modem, Known),
        (0x01..=0x06, 0x14) => (Gps, Known),
        (0x01..=0x06, 0x13) => (Diagnostics, Never),
        (0x01..=0x06, 0x1b) => (SerialB, Never),
        (0x01..=0x06, 0x16 | 0x46 | 0x76) => (Foreign, Never),
        (0x01..=0x03, 0x01) if vendor == HUAWEI => (Modem, Likely),
        (0x01..=0x03, 0x02) if vendor == HUAWEI => (Pcui, Likely),
        (0x01..=0x03, 0x03) if vendor == HUAWEI => (Diagnostics, Never),
        (0x01..=0x03, 0x05) if vendor == HUAWEI => (Nmea, Never),
        // Qualcomm has these codes since the X55, on modems of Telit, Sierra, Quectel, Fibocom and
        // Rolling.
        (0xff, 0x40) => (At, Likely),
        (0xff, 0x60) => (Gps, Likely),
        (0xff, 0x30) => (Diagnostics, Never),
        // These are QMI, system trace and packet logging.
        (0xff, 0x50 | 0x70 | 0x80) => (Foreign, Never),
        (0x00, 0x40) if beside(ClassTriple(class::VENDOR, 0xff, 0x40)) => (Nmea, Never),
        // Qualcomm before: AT, NMEA and modem ports are 00/00 with an interrupt endpoint; diagnostics
        // is ff/ff without one.
        (0x00, 0x00) if has_interrupt => (Other, Likely),
        (0xff, 0xff) if !has_interrupt && beside(ClassTriple(class::VENDOR, 0x00, 0x00)) => {
            (Diagnostics, Never)
        }
        // With one it is QMI, where there are ports besides.
        (0xff, 0xff)
            if QMI_VENDORS.contains(&vendor) && beside(ClassTriple(class::VENDOR, 0x00, 0x00)) =>
        {
            (Foreign, Never)
        }
        _ => (Other, Possible),
    }
}
