//! Descriptors, and the functions found in them, as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::options::Mode;
use uwwan_modem::{composition, usual_mode};
use uwwan_usb::descriptors::{Configuration, Descriptors};
use uwwan_usb::functions::{
    self, AtLikelihood, DialledFunction, NetworkFunction, OtherNetwork, SerialFunction,
};

use crate::candidates::mode;
use crate::commands::usb::names;
use crate::output::plain;

/// Descriptors of a device.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Vendor id and product id, as `03f0:a31d`.
    id: String,
    /// First half of `id`.
    #[schemars(extend("deprecated" = true))]
    vendor: String,
    /// Second half of `id`.
    #[schemars(extend("deprecated" = true))]
    product: String,
    /// Release of the device (`bcdDevice`).
    release: String,
    /// Class, subclass and protocol in hexadecimal.
    class: String,
    /// Configurations.
    configurations: Vec<Configured>,
    /// Network functions.
    functions: Vec<Function>,
    /// Network functions that carry packets by another protocol than MBIM and NCM.
    other_functions: Vec<OtherFunction>,
    /// Network functions that are dialled by AT commands.
    dialled: Vec<Dialled>,
    /// Known way to MBIM, for a device with such a function and without MBIM.
    way_to_mbim: Option<Way>,
    /// MBIM or NCM function that `up` takes; null where it takes none, or one that is dialled.
    taken: Option<Function>,
    /// Reason for that, in words.
    why: String,
    /// Ports that may answer to AT commands, the likely ones first.
    at_ports: Vec<Port>,
    /// Other serial ports.
    other_ports: Vec<Port>,
    /// Faults of the descriptors, in words.
    faults: Vec<String>,
}

/// A configuration.
#[derive(Debug, Serialize, JsonSchema)]
struct Configured {
    /// `bConfigurationValue`.
    configuration: u8,
    /// `bmAttributes`.
    attributes: u8,
    /// `bMaxPower`, in units of 2 mA, or of 8 mA at SuperSpeed.
    max_power: u8,
    /// Alternate settings of the interfaces.
    interfaces: Vec<Setting>,
}

/// An alternate setting of an interface.
#[derive(Debug, Serialize, JsonSchema)]
struct Setting {
    /// `bInterfaceNumber`.
    interface: u8,
    /// `bAlternateSetting`.
    alternate: u8,
    /// Class, subclass and protocol in hexadecimal.
    class: String,
    /// Name of the class; null for one without.
    name: Option<&'static str>,
    /// Endpoints.
    endpoints: Vec<Endpoint>,
    /// Functional descriptors, in words.
    descriptors: Vec<String>,
}

/// An endpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct Endpoint {
    /// `bEndpointAddress`.
    address: u8,
    /// `in` or `out`.
    direction: &'static str,
    /// Kind of the transfers: `bulk`, `interrupt` and so on.
    transfers: &'static str,
    /// Bytes in a packet.
    max_packet_size: u16,
    /// `bInterval`.
    interval: u8,
}

/// A network function.
#[derive(Debug, Serialize, JsonSchema)]
struct Function {
    /// `mbim` or `ncm`.
    kind: &'static str,
    /// `bConfigurationValue` of the function's configuration.
    configuration: u8,
    /// `bInterfaceNumber` of the function's control interface.
    control: u8,
    /// `bAlternateSetting` of the function's control interface.
    control_alternate: u8,
    /// `bInterfaceNumber` of the function's data interface.
    data: u8,
    /// `bAlternateSetting` of the function's data interface.
    data_alternate: u8,
    /// Bytes in the longest control message, of an MBIM function.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_control_message: Option<u16>,
    /// Bytes in the longest segment.
    max_segment_size: u16,
}

/// A network function that is neither MBIM nor NCM of the class.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OtherFunction {
    /// Protocol of the function.
    kind: &'static str,
    /// `bConfigurationValue` of the function's configuration.
    configuration: u8,
    /// `bInterfaceNumber` of the function's first interface.
    interface: u8,
}

impl OtherFunction {
    /// Returns the form of a function.
    pub fn of(other: &OtherNetwork) -> Self {
        Self {
            kind: other.name,
            configuration: other.configuration,
            interface: other.interface,
        }
    }
}

/// A known way to a composition with MBIM.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Way {
    /// Steps to take, in words.
    text: String,
    /// Source of the steps.
    source: &'static str,
}

impl Way {
    /// Returns the form of a way.
    pub fn of(way: composition::Way) -> Self {
        Self {
            text: way.text,
            source: way.source,
        }
    }
}

/// Returns the functions that carry packets by another protocol than MBIM and NCM of the class, and,
/// where there are such and no MBIM function, the known way to one.
pub fn other_ways(descriptors: &Descriptors) -> (Vec<OtherNetwork>, Option<composition::Way>) {
    let others = functions::other_networks(descriptors);
    let wanted = !others.is_empty() && functions::mbim(descriptors).is_empty();
    let way = wanted
        .then(|| composition::way_to_mbim(descriptors))
        .flatten();
    (others, way)
}

/// A network function that is dialled by AT commands.
#[derive(Debug, Serialize, JsonSchema)]
struct Dialled {
    /// `huawei-ncm`, `ncm` or `ecm`.
    kind: &'static str,
    /// Value of `up --mode` that drives the function.
    mode: String,
    /// `bConfigurationValue` of the function's configuration.
    configuration: u8,
    /// `bInterfaceNumber` of the function's control interface.
    control: u8,
    /// `bInterfaceNumber` of the function's data interface.
    data: u8,
    /// `bAlternateSetting` of the function's data interface.
    data_alternate: u8,
}

impl Dialled {
    fn of(way: &DialledFunction) -> Self {
        Self {
            kind: way.kind.name(),
            mode: mode(way.kind).to_string(),
            configuration: way.function.configuration,
            control: way.function.control_interface,
            data: way.function.data_interface,
            data_alternate: way.function.data_alternate,
        }
    }
}

/// A serial port.
#[derive(Debug, Serialize, JsonSchema)]
struct Port {
    /// `bConfigurationValue` of the port's configuration.
    configuration: u8,
    /// `bInterfaceNumber`.
    interface: u8,
    /// `bInterfaceNumber` of the port's data interface.
    data: u8,
    /// Class, subclass and protocol in hexadecimal.
    class: String,
    /// Purpose of the port.
    role: &'static str,
    /// Likelihood that the port answers to AT commands.
    likelihood: &'static str,
}

impl Shown {
    /// Returns the form of descriptors. `why` says which function `up` takes.
    pub fn of(descriptors: &Descriptors, why: String) -> Self {
        let all = functions::network(descriptors);
        let (vendor, product) = (descriptors.vendor(), descriptors.product());
        let at_ports = descriptors.configurations.iter();
        let serial = functions::serial(descriptors);
        let others = serial.iter().filter(|s| s.at == AtLikelihood::Never);
        let ways = other_ways(descriptors);
        let of_the_class = usual_mode(descriptors).is_none_or(|mode| mode == Mode::Mbim);
        Self {
            id: format!("{vendor:04x}:{product:04x}"),
            vendor: format!("{vendor:04x}"),
            product: format!("{product:04x}"),
            release: names::decimal(descriptors.release()),
            class: descriptors.class().to_string(),
            configurations: descriptors.configurations.iter().map(configured).collect(),
            functions: all.iter().map(Function::of).collect(),
            other_functions: ways.0.iter().map(OtherFunction::of).collect(),
            way_to_mbim: ways.1.map(Way::of),
            dialled: functions::dialled(descriptors)
                .iter()
                .map(Dialled::of)
                .collect(),
            taken: all.first().filter(|_| of_the_class).map(Function::of),
            why,
            at_ports: at_ports
                .flat_map(|c| functions::at_candidates(descriptors, c.value))
                .map(|port| Port::of(&port))
                .collect(),
            other_ports: others.map(Port::of).collect(),
            faults: descriptors
                .faults
                .iter()
                .map(|fault| plain(fault))
                .collect(),
        }
    }
}

impl Function {
    fn of(function: &NetworkFunction) -> Self {
        match function {
            NetworkFunction::Mbim(mbim) => Self {
                kind: "mbim",
                configuration: mbim.configuration,
                control: mbim.control_interface,
                control_alternate: mbim.control_alternate,
                data: mbim.data_interface,
                data_alternate: mbim.data_alternate,
                max_control_message: Some(mbim.max_control_message),
                max_segment_size: mbim.max_segment_size,
            },
            NetworkFunction::Ncm(ncm) => Self {
                kind: "ncm",
                configuration: ncm.configuration,
                control: ncm.control_interface,
                control_alternate: ncm.control_alternate,
                data: ncm.data_interface,
                data_alternate: ncm.data_alternate,
                max_control_message: None,
                max_segment_size: ncm.max_segment_size,
            },
        }
    }
}

impl Port {
    fn of(port: &SerialFunction) -> Self {
        Self {
            configuration: port.configuration,
            interface: port.interface,
            data: port.data_interface,
            class: port.class.to_string(),
            role: names::role(port.role),
            likelihood: names::likelihood(port.at),
        }
    }
}

fn configured(configuration: &Configuration) -> Configured {
    let settings = configuration.interfaces.iter().flat_map(|interface| {
        interface.alternates.iter().map(|alternate| {
            let endpoints = alternate.endpoints.iter().map(|endpoint| Endpoint {
                address: endpoint.address,
                direction: if endpoint.is_in() { "in" } else { "out" },
                transfers: names::transfers(endpoint.kind),
                max_packet_size: endpoint.max_packet_size,
                interval: endpoint.interval,
            });
            Setting {
                interface: interface.number,
                alternate: alternate.number,
                class: alternate.class.to_string(),
                name: names::class(alternate.class),
                endpoints: endpoints.collect(),
                descriptors: alternate.functional.iter().map(names::functional).collect(),
            }
        })
    });
    Configured {
        configuration: configuration.value,
        attributes: configuration.attributes,
        max_power: configuration.max_power,
        interfaces: settings.collect(),
    }
}
