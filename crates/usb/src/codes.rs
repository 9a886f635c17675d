//! The numbers of USB and its communication classes that stand in descriptors and requests, by the names
//! that the specifications give them.

/// Bit of `bEndpointAddress` and `bmRequestType` that is set for data towards the host (USB 2.0, tables
/// 9-2 and 9-13).
pub const IN: u8 = 0x80;

/// `bRequest` of standard requests (USB 2.0, table 9-4).
#[allow(missing_docs)]
pub mod standard {
    pub const GET_STATUS: u8 = 0;
    pub const CLEAR_FEATURE: u8 = 1;
    pub const SET_FEATURE: u8 = 3;
    pub const SET_ADDRESS: u8 = 5;
    pub const GET_DESCRIPTOR: u8 = 6;
    pub const GET_CONFIGURATION: u8 = 8;
    pub const SET_CONFIGURATION: u8 = 9;
    pub const GET_INTERFACE: u8 = 10;
    pub const SET_INTERFACE: u8 = 11;
}

/// `bRequest` of class requests (CDC 1.2, 6.2; PSTN 1.2, 6.3; ECM 1.2, 6.2; NCM 1.0, 6.2; MBIM 1.0, 8).
#[allow(missing_docs)]
pub mod cdc {
    pub const SEND_ENCAPSULATED_COMMAND: u8 = 0x00;
    pub const GET_ENCAPSULATED_RESPONSE: u8 = 0x01;
    pub const RESET_FUNCTION: u8 = 0x05;
    pub const SET_LINE_CODING: u8 = 0x20;
    pub const GET_LINE_CODING: u8 = 0x21;
    pub const SET_CONTROL_LINE_STATE: u8 = 0x22;
    pub const SEND_BREAK: u8 = 0x23;
    pub const SET_ETHERNET_MULTICAST_FILTERS: u8 = 0x40;
    pub const SET_ETHERNET_PACKET_FILTER: u8 = 0x43;
    pub const GET_ETHERNET_STATISTIC: u8 = 0x44;
    pub const GET_NTB_PARAMETERS: u8 = 0x80;
    pub const GET_NET_ADDRESS: u8 = 0x81;
    pub const SET_NET_ADDRESS: u8 = 0x82;
    pub const GET_NTB_FORMAT: u8 = 0x83;
    pub const SET_NTB_FORMAT: u8 = 0x84;
    pub const GET_NTB_INPUT_SIZE: u8 = 0x85;
    pub const SET_NTB_INPUT_SIZE: u8 = 0x86;
    pub const GET_MAX_DATAGRAM_SIZE: u8 = 0x87;
    pub const SET_MAX_DATAGRAM_SIZE: u8 = 0x88;
    pub const GET_CRC_MODE: u8 = 0x89;
    pub const SET_CRC_MODE: u8 = 0x8a;
}

/// `bDescriptorType` (USB 2.0, table 9-5; its engineering change notices on interface associations and link
/// power management; CDC 1.2, table 12).
#[allow(missing_docs)]
pub mod descriptor {
    pub const DEVICE: u8 = 0x01;
    pub const CONFIGURATION: u8 = 0x02;
    pub const STRING: u8 = 0x03;
    pub const INTERFACE: u8 = 0x04;
    pub const ENDPOINT: u8 = 0x05;
    pub const DEVICE_QUALIFIER: u8 = 0x06;
    pub const OTHER_SPEED: u8 = 0x07;
    pub const ASSOCIATION: u8 = 0x0b;
    pub const BOS: u8 = 0x0f;
    pub const CLASS_INTERFACE: u8 = 0x24;
}

/// `bDescriptorSubtype` of class-specific interface descriptors (CDC 1.2, table 13; MBIM 1.0, 6.4; its errata
/// for the extended one).
#[allow(missing_docs)]
pub mod functional {
    pub const HEADER: u8 = 0x00;
    pub const UNION: u8 = 0x06;
    pub const ETHERNET: u8 = 0x0f;
    pub const NCM: u8 = 0x1a;
    pub const MBIM: u8 = 0x1b;
    pub const MBIM_EXTENDED: u8 = 0x1c;
}

/// `bInterfaceClass` and `bDeviceClass` (USB-IF, defined class codes).
#[allow(missing_docs)]
pub mod class {
    pub const COMMUNICATION: u8 = 0x02;
    pub const MASS_STORAGE: u8 = 0x08;
    pub const DATA: u8 = 0x0a;
    pub const VENDOR: u8 = 0xff;
}

/// Bit of `bmNetworkCapabilities` that says that the function takes encapsulated commands (NCM 1.0,
/// table 5-2; Linux `USB_CDC_NCM_NCAP_ENCAP_COMMAND`).
pub const TAKES_ENCAPSULATED_COMMANDS: u8 = 1 << 2;

/// `bInterfaceSubClass` of communication interfaces (CDC 1.2, table 4).
#[allow(missing_docs)]
pub mod subclass {
    pub const ACM: u8 = 0x02;
    pub const ECM: u8 = 0x06;
    pub const NCM: u8 = 0x0d;
    pub const MBIM: u8 = 0x0e;
}
