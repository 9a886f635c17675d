//! `uwwan usb descriptors` shows the descriptors of a device, and the functions found in them.

pub mod form;

use std::path::PathBuf;

use uwwan_modem::usual_mode;
use uwwan_usb::backend::BackendKind;
use uwwan_usb::descriptors::{AlternateSetting, ClassTriple, Configuration, Descriptors};
use uwwan_usb::functions::{
    self, AtLikelihood, DialledFunction, DialledKind, NetworkFunction, OtherNetwork, SerialFunction,
};

use super::{names, target};
use crate::candidates::{self, mode};
use crate::descriptor_file;
use crate::failure::Failure;
use crate::output::{plain, say, say_json};
use crate::settings::Device;

/// Arguments of `usb descriptors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan usb descriptors                          of the one modem present
  uwwan usb descriptors --device emulator        of the emulated one
  uwwan usb descriptors --device 1-4 --raw       as bytes, for a report or a test
  uwwan usb descriptors --from FILE              of a device that is elsewhere

FILE is a copy of /sys/bus/usb/devices/*/descriptors, the same in hexadecimal, or what lsusb -v prints.")]
pub struct Arguments {
    /// The modem: vendor:product, port, bus/device, or `emulator`; needed only when several are
    /// present
    #[arg(long, short, value_name = "DEVICE", conflicts_with = "from")]
    device: Option<Device>,
    /// Read the descriptors from a file
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Print the bytes in hexadecimal, one configuration a paragraph
    #[arg(long)]
    raw: bool,
    /// Print one line of JSON for each device
    #[arg(long, conflicts_with = "raw")]
    json: bool,
}

/// Prints the descriptors.
///
/// # Errors
/// Fails when the device is not found, or when the file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(file) = &arguments.from {
        for descriptors in descriptor_file::read(file)? {
            show(arguments, None, &descriptors)?;
        }
        return Ok(());
    }
    let (backend, selector) = target::find(arguments.device.as_ref(), BackendKind::default())?;
    let candidate = candidates::select(backend.as_ref(), &selector)?;
    show(
        arguments,
        Some(&candidate.name()),
        &candidate.found.descriptors,
    )
}

fn show(
    arguments: &Arguments,
    name: Option<&str>,
    descriptors: &Descriptors,
) -> Result<(), Failure> {
    if arguments.json {
        return say_json(&form::Shown::of(descriptors, why(descriptors)));
    }
    if arguments.raw {
        say(format!("device\n{}", hex(&descriptors.device)))?;
        for configuration in &descriptors.configurations {
            say(format!(
                "\nconfiguration {}\n{}",
                configuration.value,
                hex(&configuration.raw)
            ))?;
        }
        return Ok(());
    }
    let ids = format!("{:04x}:{:04x}", descriptors.vendor(), descriptors.product());
    say(format!(
        "{}, release {}",
        name.unwrap_or(&ids),
        names::decimal(descriptors.release())
    ))?;
    for line in tree(descriptors).into_iter().chain(found(descriptors)) {
        say(line)?;
    }
    Ok(())
}

/// Returns bytes in hexadecimal, sixteen a row.
fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| {
            let row: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("  {}", row.join(" "))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns descriptions of the configurations with their interfaces.
fn tree(descriptors: &Descriptors) -> Vec<String> {
    let mut lines = Vec::new();
    for configuration in &descriptors.configurations {
        lines.push(format!(
            "configuration {} ({} interfaces, {} bytes)",
            configuration.value,
            configuration.interfaces.len(),
            configuration.raw.len()
        ));
        for association in &configuration.associations {
            let last = u16::from(association.first) + u16::from(association.count.max(1)) - 1;
            lines.push(format!(
                "  interfaces {} to {last} are one function: {}",
                association.first,
                named(association.class)
            ));
        }
        for interface in &configuration.interfaces {
            for alternate in &interface.alternates {
                lines.push(setting(interface.number, alternate));
                let functional = alternate.functional.iter();
                lines.extend(functional.map(|f| format!("      {}", names::functional(f))));
            }
        }
    }
    lines
}

/// Returns a description of an alternate setting with its endpoints.
fn setting(number: u8, alternate: &AlternateSetting) -> String {
    let endpoints: Vec<String> = alternate.endpoints.iter().map(names::endpoint).collect();
    let endpoints = match endpoints.is_empty() {
        true => String::new(),
        false => format!(": {}", endpoints.join(", ")),
    };
    format!(
        "  interface {number}.{} {}{endpoints}",
        alternate.number,
        named(alternate.class)
    )
}

/// Returns a class with its name, if it has one.
fn named(class: ClassTriple) -> String {
    match names::class(class) {
        Some(name) => format!("{class} ({name})"),
        None => class.to_string(),
    }
}

/// Returns a description of a network function in one line.
fn describe(function: &NetworkFunction) -> String {
    match function {
        NetworkFunction::Mbim(mbim) => format!(
            "MBIM function in configuration {}: control interface {}, data interface {} \
                 alternate {}, control messages up to {} bytes, segments up to {} bytes",
            mbim.configuration,
            mbim.control_interface,
            mbim.data_interface,
            mbim.data_alternate,
            mbim.max_control_message,
            mbim.max_segment_size
        ),
        NetworkFunction::Ncm(ncm) => format!(
            "NCM function in configuration {}: control interface {}, data interface {} \
                 alternate {}, segments up to {} bytes",
            ncm.configuration,
            ncm.control_interface,
            ncm.data_interface,
            ncm.data_alternate,
            ncm.max_segment_size
        ),
    }
}

/// Returns which function `up` takes, and why, of all that there are.
fn why(descriptors: &Descriptors) -> String {
    taken(descriptors, &functions::network(descriptors))
}

/// Returns which function `up` takes, and why.
fn taken(descriptors: &Descriptors, all: &[NetworkFunction]) -> String {
    if let Some(usual) = usual_mode(descriptors) {
        return format!("uwwan up uses mode {usual}: its row of the quirk table says so");
    }
    match all {
        [NetworkFunction::Mbim(first), others @ ..] => {
            let why = match others.len() {
                0 => "it is the only function".to_owned(),
                _ if others.iter().any(|f| matches!(f, NetworkFunction::Mbim(_))) => {
                    "it is the first MBIM function".to_owned()
                }
                _ => "MBIM comes before NCM".to_owned(),
            };
            format!(
                "uwwan up takes the MBIM function of configuration {}: {why}",
                first.configuration
            )
        }
        [NetworkFunction::Ncm(first), others @ ..] => {
            let why = match others.len() {
                0 => "it is the only function",
                _ => "it is the first NCM function",
            };
            format!(
                "uwwan up takes the NCM function of configuration {}, as a plain network device and \
                 only when it is named with --device: {why}",
                first.configuration
            )
        }
        [] => match functions::dialled(descriptors).first() {
            Some(way) if way.kind == DialledKind::HuaweiNcm => format!(
                "uwwan up takes the {} function of configuration {}: there is no MBIM function",
                way.kind.name(),
                way.function.configuration
            ),
            Some(way) => format!(
                "uwwan up takes the {} function of configuration {} with --mode {}",
                way.kind.name(),
                way.function.configuration,
                mode(way.kind)
            ),
            None => format!("uwwan up takes nothing: {}", missing(descriptors)),
        },
    }
}

/// Returns the reason why there is no function.
fn missing(descriptors: &Descriptors) -> String {
    let all = descriptors.configurations.iter();
    let control = all
        .flat_map(|c| c.interfaces.iter().map(move |i| (c, i)))
        .find(|(_, i)| {
            let mut classes = i.alternates.iter().map(|a| a.class);
            classes.any(|class| matches!(class, ClassTriple(0x02, 0x0d | 0x0e, _)))
        });
    match control {
        Some((configuration, interface)) => format!(
            "interface {} of configuration {} is a control interface, but neither a union nor an \
             interface association leads from it to a data interface with a bulk endpoint each way, \
             or MBIM has no interrupt endpoint in it",
            interface.number, configuration.value
        ),
        None => "no interface has the class of MBIM (02/0e/00) or of NCM (02/0d/00)".to_owned(),
    }
}

/// Returns whether a function is one of those that are dialled.
pub fn is_among(other: &OtherNetwork, dialled: &[DialledFunction]) -> bool {
    let place = (other.configuration, other.interface);
    dialled.iter().any(|way| {
        let function = &way.function;
        (function.configuration, function.control_interface) == place
    })
}

/// Returns descriptions of the findings: functions, the one that `up` takes, ports and faults.
fn found(descriptors: &Descriptors) -> Vec<String> {
    let all = functions::network(descriptors);
    let mut lines: Vec<String> = all.iter().map(describe).collect();
    lines.push(taken(descriptors, &all));
    lines.extend(functions::dialled(descriptors).iter().map(|way| {
        let function = &way.function;
        format!(
            "{} function in configuration {}: control interface {}, data interface {} at alternate \
             setting {}; dialled by AT commands with --mode {}",
            way.kind.name(),
            function.configuration,
            function.control_interface,
            function.data_interface,
            function.data_alternate,
            mode(way.kind)
        )
    }));
    let (others, way) = form::other_ways(descriptors);
    let dialled = functions::dialled(descriptors);
    let others = others.iter().filter(|other| !is_among(other, &dialled));
    lines.extend(others.map(|other| {
        format!(
            "{} in configuration {}: interface {}",
            other.name, other.configuration, other.interface
        )
    }));
    lines.extend(way.map(|way| format!("way to MBIM: {} ({})", way.text, way.source)));
    for configuration in &descriptors.configurations {
        lines.extend(ports(descriptors, configuration));
    }
    let faults = descriptors.faults.iter();
    lines.extend(faults.map(|fault| format!("fault: {}", plain(fault))));
    lines
}

/// Returns descriptions of the ports of a configuration, those that may answer to AT commands
/// first.
fn ports(descriptors: &Descriptors, configuration: &Configuration) -> Vec<String> {
    let value = configuration.value;
    let others = functions::serial(descriptors)
        .into_iter()
        .filter(|s| s.configuration == value && s.at == AtLikelihood::Never);
    let candidates = functions::at_candidates(descriptors, value);
    let place = |port: &SerialFunction| {
        let data = match port.data_interface == port.interface {
            true => String::new(),
            false => format!(" with data interface {}", port.data_interface),
        };
        format!(
            "in configuration {value}: interface {}{data}, {}, {}",
            port.interface,
            port.class,
            port.role.purpose()
        )
    };
    let ports = candidates
        .iter()
        .map(|port| format!("AT port {}; {}", place(port), names::certainty(port.at)));
    let pipe = functions::at_pipe(descriptors, value).map(|pipe| {
        format!(
            "AT in configuration {value}: encapsulated commands of interface {}, which the kernel offers as \
             /dev/cdc-wdm",
            pipe.interface
        )
    });
    ports
        .chain(pipe)
        .chain(others.map(|port| format!("no AT port {}", place(&port))))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn as_json(descriptors: &Descriptors) -> Value {
        serde_json::to_value(form::Shown::of(descriptors, why(descriptors))).unwrap()
    }

    #[test]
    fn bytes_are_rows_of_sixteen() {
        assert_eq!(
            hex(&(0..18).collect::<Vec<u8>>()),
            "  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n  10 11"
        );
    }

    /// Reads the descriptors in a file of the crate `uwwan-usb`.
    fn of(file: &str) -> Descriptors {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../usb/tests/vectors/descriptors");
        descriptor_file::read(&folder.join(file)).unwrap().remove(0)
    }

    #[test]
    fn people_read_names_and_what_is_taken() {
        let descriptors = of("huawei_e5331_12d1_1c1f.bin");
        let text = [tree(&descriptors), found(&descriptors)]
            .concat()
            .join("\n");
        for part in [
            "interface 2.1 02/0d/00 (CDC NCM, control): 83 interrupt in 64, 84 bulk in 512, 03 bulk out 512",
            "CDC union: control 2, data 2",
            "NCM function in configuration 1: control interface 2, data interface 2 alternate 1",
            "uwwan up takes the NCM function of configuration 1",
            "AT port in configuration 1: interface 0, 02/02/ff, purpose unknown; possible by its shape",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('{'), "no debug structs: {text}");
        let text = found(&of("variant_no_union_no_iad.bin")).join("\n");
        assert!(
            text.contains("takes nothing: interface 0 of configuration 1"),
            "{text}"
        );
        let text = found(&of("variant_vendor_class_mbim_subclass.bin")).join("\n");
        assert!(
            text.contains("takes nothing: no interface has the class"),
            "{text}"
        );
    }

    /// The descriptors are those of a Quectel EC25 as it is sold: diagnostics, position data, two AT
    /// ports, QMI (Linux `option.c` and `qmi_wwan.c`).
    #[test]
    fn what_up_does_not_drive_is_named_with_the_way_to_mbim() {
        let port = |number: u8, class: [u8; 3], interrupt: bool| {
            let [class, sub, protocol] = class;
            let endpoints = 2 + u8::from(interrupt);
            let mut bytes = vec![9, 4, number, 0, endpoints, class, sub, protocol, 0];
            if interrupt {
                bytes.extend([7, 5, 0x88 + number, 3, 16, 0, 9]);
            }
            bytes.extend([7, 5, 0x81 + number, 2, 0, 2, 0]);
            bytes.extend([7, 5, 1 + number, 2, 0, 2, 0]);
            bytes
        };
        let (at, any) = ([0xff, 0, 0], [0xff, 0xff, 0xff]);
        let interfaces = [
            port(0, any, false),
            port(1, at, true),
            port(2, at, true),
            port(3, at, true),
            port(4, any, true),
        ]
        .concat();
        let length = u8::try_from(9 + interfaces.len()).unwrap();
        let mut bytes = vec![
            18, 1, 0, 2, 0, 0, 0, 64, 0x7c, 0x2c, 0x25, 1, 0, 1, 1, 2, 3, 1,
        ];
        bytes.extend([9, 2, length, 0, 5, 1, 0, 0xa0, 250]);
        let ec25 = Descriptors::from_sysfs(&[bytes, interfaces].concat());
        let text = found(&ec25).join("\n");
        for part in [
            "QMI in configuration 1: interface 4",
            "way to MBIM: uwwan at 'AT+QCFG=\"usbnet\",2'",
            "no AT port in configuration 1: interface 4",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let json = as_json(&ec25);
        let qmi = json!([{"kind": "QMI", "configuration": 1, "interface": 4}]);
        assert_eq!(json["other_functions"], qmi);
        assert!(json["way_to_mbim"]["source"].is_string(), "{json}");
        // A device with MBIM needs no way to it.
        let json = as_json(&of("hp_lt4132_03f0_a31d.bin"));
        assert_eq!(json["other_functions"][1]["kind"], "ECM");
        assert_eq!(json["way_to_mbim"], Value::Null);
    }

    #[test]
    fn programs_read_functions_and_ports() {
        let json = as_json(&of("hp_lt4132_03f0_a31d.bin"));
        assert_eq!(json["functions"].as_array().unwrap().len(), 1);
        let function = &json["functions"][0];
        assert_eq!(
            (
                &function["kind"],
                &function["configuration"],
                &function["control"]
            ),
            (&json!("mbim"), &json!(3), &json!(0))
        );
        assert_eq!(
            (&function["data"], &function["data_alternate"]),
            (&json!(1), &json!(1))
        );
        let ports: Vec<_> = json["at_ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| (port["configuration"].as_u64(), port["interface"].as_u64()))
            .collect();
        assert_eq!(
            ports[..3],
            [(Some(1), Some(2)), (Some(1), Some(0)), (Some(1), Some(4))]
        );
        assert_eq!(
            as_json(&of("variant_no_union_no_iad.bin"))["functions"],
            json!([])
        );
    }
}
