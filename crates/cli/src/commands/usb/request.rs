//! `uwwan usb control` makes any control request.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_usb::codes::IN;
use uwwan_usb::device::Setup;

use super::claim::{self, Claim};
use super::target::{self, Target};
use crate::checks::bad;
use crate::failure::{Failure, FailureKind};
use crate::hex;
use crate::input;
use crate::output::{say, say_json};

/// Longest data stage in bytes that Linux carries for a program.
const LONGEST: u16 = 4096;

/// Arguments of `usb control`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan usb control standard,device 6 --value 0x0100 --length 18      the device descriptor
  uwwan usb control class,interface 0x80 --index 0 --length 28        GET_NTB_PARAMETERS
  uwwan usb control 0xa1 0x83 --index 0 --length 2 --json             GET_NTB_FORMAT
  uwwan usb control class,interface,out 0x84 --value 1 --force        SET_NTB_FORMAT
  uwwan usb control vendor,device,out 2 --data 01 02 --force          a vendor request with data

TYPE is bmRequestType: standard, class or vendor, then device, interface, endpoint or other, then in or out, by
commas; or the number. A request with data to the device, or with none at all, changes something and needs
--force. Requests to an interface claim it for the moment, so nobody else may have it. SET_CONFIGURATION and
SET_INTERFACE go behind the kernel's back here: uwwan usb config does it properly.")]
pub struct Arguments {
    /// bmRequestType: a number, or words by commas
    #[arg(value_name = "TYPE", value_parser = request_type)]
    request_type: u8,
    /// bRequest
    #[arg(value_name = "REQUEST", value_parser = number::<u8>)]
    request: u8,
    /// wValue
    #[arg(long, value_name = "N", default_value = "0", value_parser = number::<u16>)]
    value: u16,
    /// wIndex; for an interface or an endpoint its number is the low byte
    #[arg(long, value_name = "N", default_value = "0", value_parser = number::<u16>)]
    index: u16,
    /// Number of bytes to ask for, of a request with data to the host
    #[arg(long, value_name = "BYTES", value_parser = number::<u16>, conflicts_with = "data")]
    length: Option<u16>,
    /// Data to the device: a file, - for standard input, or hexadecimal digits
    #[arg(long, value_name = "HEX|FILE", num_args = 1..)]
    data: Vec<String>,
    /// Make a request that changes something
    #[arg(long)]
    force: bool,
    /// Take the interface from the kernel driver that has it, for the moment
    #[arg(long)]
    detach: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A control request with its outcome, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Vendor id, product id and port of the device.
    device: String,
    /// `bmRequestType`.
    request_type: u8,
    /// `bRequest`.
    request: u8,
    /// `wValue`.
    value: u16,
    /// `wIndex`.
    index: u16,
    /// `wLength`.
    asked: u16,
    /// Bytes that were sent.
    sent: usize,
    /// Bytes that came.
    length: usize,
    /// Bytes that came, in hexadecimal.
    hex: String,
}

/// Makes the request and prints the data that came.
///
/// # Errors
/// Fails when the request makes no sense, when another program holds the interface, and when the
/// device refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments {
        request_type,
        request,
        value,
        index,
        ..
    } = *arguments;
    let data = match &arguments.data[..] {
        [] => Vec::new(),
        [one] => input::read(one)?,
        // The shell has split hexadecimal digits at their spaces.
        many => input::read(&many.join(" "))?,
    };
    let length = arguments.length.unwrap_or(0);
    let is_in = request_type & IN != 0;
    if is_in && !data.is_empty() {
        return Err(bad(
            "data",
            "bmRequestType says that the data stage goes to the host",
        )
        .next("give a type with out, or --length"));
    }
    if !is_in && length > 0 {
        return Err(bad(
            "length",
            "bmRequestType says that the data stage goes to the device",
        )
        .next("give --data, or a type with in"));
    }
    if data.len() > usize::from(LONGEST) || length > LONGEST {
        return Err(bad(
            if is_in { "length" } else { "data" },
            format!("more than {LONGEST} bytes, which is all that Linux carries for a program"),
        ));
    }
    let reads = is_in && length > 0;
    if !reads && !arguments.force {
        return Err(
            Failure::new(FailureKind::Usage, "the request may change something")
                .at(format!(
                    "bmRequestType {request_type:#04x}, bRequest {request:#04x}"
                ))
                .because("its data goes to the device, or it has none")
                .next("add --force to make it, or --length to ask for data"),
        );
    }
    let (_backend, device) = arguments.target.open()?;
    let _claim = match interface_of(request_type, index, device.as_ref())? {
        Some(interface) => Some(Claim::take(&device, interface, arguments.detach)?),
        None => None,
    };
    let setup = Setup {
        request_type,
        request,
        value,
        index,
    };
    let timeout = Duration::from_secs(arguments.timeout);
    let failed = |error| target::usb_failure("the request failed", &error);
    let mut received = vec![0; usize::from(length)];
    if is_in {
        let count = device.control_in(setup, &mut received, timeout);
        received.truncate(count.map_err(failed)?);
    } else {
        device.control_out(setup, &data, timeout).map_err(failed)?;
    }
    if arguments.json {
        return say_json(&Output {
            device: device.identity().to_string(),
            request_type,
            request,
            value,
            index,
            asked: length,
            sent: data.len(),
            length: received.len(),
            hex: hex::lines(&received).join(" "),
        });
    }
    for line in hex::lines(&received) {
        say(line)?;
    }
    if !is_in {
        say(format!("{} bytes sent", data.len()))?;
    } else if received.is_empty() {
        say("no data")?;
    }
    Ok(())
}

/// Returns the interface that has to be claimed for a request, if it has one.
fn interface_of(
    request_type: u8,
    index: u16,
    device: &dyn uwwan_usb::device::Device,
) -> Result<Option<u8>, Failure> {
    let number = index.to_le_bytes()[0];
    let vendor = request_type & 0x60 == 0x40;
    match request_type & 0x1f {
        // The kernel permits vendor requests whoever holds the interface.
        _ if vendor => Ok(None),
        1 => {
            let known = claim::interfaces(device)?;
            if known.iter().any(|interface| interface.number == number) {
                return Ok(Some(number));
            }
            let there: Vec<String> = known.iter().map(|one| one.number.to_string()).collect();
            Err(bad("index", format!("there is no interface {number}"))
                .next(format!("the active configuration has {}", there.join(", "))))
        }
        2 if number & 0x7f != 0 => {
            claim::endpoint(device, number, None).map(|place| Some(place.interface))
        }
        _ => Ok(None),
    }
}

/// Parses `bmRequestType`.
fn request_type(text: &str) -> Result<u8, String> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return number(text);
    }
    let (mut kind, mut recipient, mut direction) = (None, None, None);
    for word in text.split(',').map(str::trim) {
        let (place, value) = match word {
            "standard" => (&mut kind, 0),
            "class" => (&mut kind, 0x20),
            "vendor" => (&mut kind, 0x40),
            "device" => (&mut recipient, 0),
            "interface" => (&mut recipient, 1),
            "endpoint" => (&mut recipient, 2),
            "other" => (&mut recipient, 3),
            "in" => (&mut direction, IN),
            "out" => (&mut direction, 0),
            _ => return Err(format!("{word:?} is none of its words")),
        };
        if place.replace(value).is_some() {
            return Err(format!("{word:?} says again what is said already"));
        }
    }
    let kind = kind.ok_or("standard, class or vendor is missing")?;
    let recipient = recipient.ok_or("device, interface, endpoint or other is missing")?;
    Ok(kind | recipient | direction.unwrap_or(IN))
}

/// Parses a number, decimal or hexadecimal.
pub fn number<T: TryFrom<u32>>(text: &str) -> Result<T, String> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let value = value.ok().and_then(|value| T::try_from(value).ok());
    let bits = 8 * size_of::<T>();
    value.ok_or_else(|| format!("expected a number of {bits} bits, decimal or 0x…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_types_have_words_and_numbers() {
        for (text, value) in [
            ("class,interface", 0xa1),
            ("out,class,interface", 0x21),
            ("standard,device,in", 0x80),
            ("vendor,other,out", 0x43),
            ("0xa1", 0xa1),
            ("33", 0x21),
        ] {
            assert_eq!(request_type(text), Ok(value), "{text}");
        }
        for wrong in [
            "",
            "class",
            "device",
            "class,class,device",
            "class,face",
            "0x100",
            "in,out",
        ] {
            assert!(request_type(wrong).is_err(), "{wrong}");
        }
        assert_eq!(number::<u16>("0xffff"), Ok(0xffff));
        assert!(number::<u16>("65536").is_err());
        assert!(number::<u8>("-1").is_err());
    }
}
