//! Names of classes, class-specific descriptors and serial ports, for people and for JSON.

use uwwan_usb::codes::class::{COMMUNICATION, DATA, VENDOR};
use uwwan_usb::codes::subclass;
use uwwan_usb::descriptors::{ClassTriple, Endpoint, Functional, TransferKind};
use uwwan_usb::functions::{AtLikelihood, SerialRole};

/// Returns the name of a class, subclass and protocol, where they have one.
pub fn class(class: ClassTriple) -> Option<&'static str> {
    Some(match class {
        ClassTriple(0x01, ..) => "audio",
        ClassTriple(COMMUNICATION, subclass::ACM, _) => "CDC ACM, a serial port",
        ClassTriple(COMMUNICATION, subclass::ECM, _) => "CDC ECM, control",
        ClassTriple(COMMUNICATION, 0x08, _) => "CDC wireless handset",
        ClassTriple(COMMUNICATION, subclass::NCM, _) => "CDC NCM, control",
        ClassTriple(COMMUNICATION, subclass::MBIM, _) => "MBIM, control",
        ClassTriple(COMMUNICATION, ..) => "CDC control",
        ClassTriple(0x03, ..) => "human interface",
        ClassTriple(0x06, 0x01, 0x01) => "still image (PTP)",
        ClassTriple(0x08, ..) => "mass storage",
        ClassTriple(0x09, ..) => "hub",
        ClassTriple(DATA, 0x00, 0x01) => "NCM data",
        ClassTriple(DATA, 0x00, 0x02) => "MBIM data",
        ClassTriple(DATA, ..) => "CDC data",
        ClassTriple(0x0b, ..) => "smart card",
        ClassTriple(0x0e, ..) => "video",
        ClassTriple(0xe0, 0x01, 0x03) | ClassTriple(0xef, 0x04, 0x01) => "RNDIS, control",
        ClassTriple(0xe0, 0x01, _) => "Bluetooth",
        ClassTriple(0xef, 0x02, 0x01) => "functions of several interfaces",
        ClassTriple(VENDOR, 0x42, 0x01) => "Android debug bridge",
        ClassTriple(VENDOR, 0x42, 0x03) => "Android fastboot",
        ClassTriple(VENDOR, 0xfe, 0x02) => "Apple usbmux",
        ClassTriple(VENDOR, 0x01..=0x06, 0x16 | 0x46 | 0x76) => "Huawei NCM, vendor-specific",
        ClassTriple(VENDOR, ..) => "vendor-specific",
        _ => return None,
    })
}

/// Returns a description of an endpoint: address, direction, transfer type and packet size in
/// bytes.
pub fn endpoint(endpoint: &Endpoint) -> String {
    format!(
        "{:02x} {} {} {}",
        endpoint.address,
        transfers(endpoint.kind),
        if endpoint.is_in() { "in" } else { "out" },
        endpoint.max_packet_size
    )
}

/// Returns the name of a transfer type.
pub fn transfers(kind: TransferKind) -> &'static str {
    match kind {
        TransferKind::Control => "control",
        TransferKind::Isochronous => "isochronous",
        TransferKind::Bulk => "bulk",
        TransferKind::Interrupt => "interrupt",
    }
}

/// Returns a description of a class-specific interface descriptor.
pub fn functional(functional: &Functional) -> String {
    match functional {
        Functional::Header(version) => format!("CDC header: CDC {}", decimal(*version)),
        Functional::Union {
            control,
            subordinates,
        } => {
            let data: Vec<String> = subordinates.iter().map(u8::to_string).collect();
            format!("CDC union: control {control}, data {}", data.join(", "))
        }
        Functional::Ethernet {
            mac_index,
            max_segment_size,
        } => format!(
            "CDC Ethernet: address in string {mac_index}, segments up to {max_segment_size} bytes"
        ),
        Functional::Ncm {
            version,
            capabilities,
        } => format!(
            "NCM {}: network capabilities {capabilities:02x}",
            decimal(*version)
        ),
        Functional::Mbim {
            version,
            max_control_message,
            filters,
            max_filter_size,
            max_segment_size,
            capabilities,
        } => format!(
            "MBIM {}: control messages up to {max_control_message} bytes, segments up to \
             {max_segment_size} bytes, {filters} filters of {max_filter_size} bytes, network \
             capabilities {capabilities:02x}",
            decimal(*version)
        ),
        Functional::MbimExtended {
            version,
            max_outstanding,
            mtu,
        } => format!(
            "MBIM extended {}: {max_outstanding} commands at a time, MTU {mtu}",
            decimal(*version)
        ),
        Functional::Other { subtype, body } => {
            let name = match subtype {
                0x01 => "CDC call management",
                0x02 => "CDC abstract control management (ACM)",
                0x07 => "CDC country selection",
                0x11 => "CDC wireless handset control",
                0x12 => "CDC mobile direct line",
                0x13 => "CDC mobile direct line, detail",
                0x14 => "CDC device management",
                _ => "class-specific",
            };
            let bytes: Vec<String> = body.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name} ({subtype:02x}): {}", bytes.join(" "))
        }
    }
}

/// Returns a binary-coded decimal of USB as text: `1.10` for 0x0110.
pub fn decimal(value: u16) -> String {
    format!("{:x}.{:02x}", value >> 8, value & 0xff)
}

/// Returns the word for the purpose of a serial port in JSON.
pub fn role(role: SerialRole) -> &'static str {
    match role {
        SerialRole::Pcui => "pcui",
        SerialRole::At => "at",
        SerialRole::Modem => "modem",
        SerialRole::Gps => "gps",
        SerialRole::Other => "other",
        SerialRole::Nmea => "nmea",
        SerialRole::Diagnostics => "diagnostics",
        SerialRole::SerialB => "serial-b",
        SerialRole::Adb => "adb",
        SerialRole::Foreign => "foreign",
    }
}

/// Returns the word in JSON for the likelihood that a port answers to AT commands.
pub fn likelihood(at: AtLikelihood) -> &'static str {
    match at {
        AtLikelihood::Known => "known",
        AtLikelihood::Likely => "likely",
        AtLikelihood::Possible => "possible",
        AtLikelihood::Never => "never",
    }
}

/// Returns the likelihood that a port answers to AT commands in words, with the reason.
pub fn certainty(at: AtLikelihood) -> &'static str {
    match at {
        AtLikelihood::Known => "known from devices that people own",
        AtLikelihood::Likely => "likely by its class",
        AtLikelihood::Possible => "possible by its shape",
        AtLikelihood::Never => "never written to",
    }
}
