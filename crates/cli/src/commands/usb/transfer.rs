//! `uwwan usb bulk` and `uwwan usb interrupt` make transfers on any endpoint that no program holds.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_usb::codes::IN;
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::device::{Completion, Device as UsbDevice};
use uwwan_usb::error::TransferError;

use super::claim::{self, Claim};
use super::request::number;
use super::target::{self, Target};
use crate::checks::bad;
use crate::failure::{Failure, FailureKind};
use crate::hex;
use crate::input;
use crate::output::{rounded, say, say_json, seconds};

/// Longest time for an OUT transfer.
const SEND_TIME: Duration = Duration::from_secs(5);
/// Longest transfer in bytes that is read.
const LONGEST_READ: u32 = 1 << 20;
/// Largest number of transfers that are read.
const MOST_READS: u32 = 100_000;

/// Arguments of `usb bulk` and `usb interrupt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan usb bulk 0x83 --wait 2                         one transfer from an endpoint, as hexadecimal
  uwwan usb bulk 0x02 --send 41540d --read 0x83        AT to a serial port, and what it answers
  uwwan usb bulk 0x02 --send a.ntb --send b.ntb --zlp  files, one transfer each
  uwwan usb interrupt 0x81 --count 10 --json           ten notifications, one object a line

The interface of the endpoint is claimed for the moment, and the alternate setting that has it is selected. An
endpoint of a running uwwan up or of a kernel driver is busy; --detach takes it from a kernel driver.")]
pub struct Arguments {
    /// Address of the endpoint; uwwan usb descriptors shows them
    #[arg(value_name = "ENDPOINT", value_parser = number::<u8>)]
    endpoint: u8,
    /// Send a file, - for standard input, or hexadecimal digits; may be repeated, one transfer each
    #[arg(long, value_name = "HEX|FILE")]
    send: Vec<String>,
    /// End transfers that fill their last packet with a zero-length packet
    #[arg(long)]
    zlp: bool,
    /// Read this endpoint, of any kind, after what was sent
    #[arg(long, value_name = "ENDPOINT", value_parser = number::<u8>, requires = "send")]
    read: Option<u8>,
    /// Number of transfers to read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_READS)))]
    count: u32,
    /// Longest transfer to read in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST_READ)))]
    size: u32,
    /// Seconds to wait for what is read
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    wait: f64,
    /// Take the interface from the kernel driver that has it, for the moment
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    target: Target,
    /// Print JSON, one transfer a line
    #[arg(long)]
    json: bool,
}

/// Makes the transfers and prints the data that came.
///
/// # Errors
/// Fails when there is no such endpoint, when another program holds it, when a transfer fails, and
/// when nothing comes in time.
pub fn run(arguments: &Arguments, kind: TransferKind) -> Result<(), Failure> {
    crate::checks::within("wait", arguments.wait, 0.0, 3600.0)?;
    let address = arguments.endpoint;
    let reads = match (address & IN, arguments.read) {
        (0, _) if arguments.send.is_empty() => {
            return Err(bad("send", format!("endpoint {address:#04x} takes data"))
                .next("give --send FILE, or an endpoint from 0x81 on to read"));
        }
        (0, Some(read)) if read & IN == 0 => {
            return Err(bad("read", format!("endpoint {read:#04x} brings no data"))
                .next("endpoints that do have addresses from 0x81 on"));
        }
        (0, read) => read,
        _ if !arguments.send.is_empty() => {
            return Err(bad("send", format!("endpoint {address:#04x} brings data"))
                .next("give an endpoint from 0x01 to 0x0f"));
        }
        _ => Some(address),
    };
    let contents: Vec<Vec<u8>> = arguments
        .send
        .iter()
        .map(|content| input::read(content))
        .collect::<Result<_, _>>()?;
    let (_backend, device) = arguments.target.open()?;
    let place = claim::endpoint(device.as_ref(), address, Some(kind))?;
    let answers = match reads {
        Some(read) => Some(claim::endpoint(
            device.as_ref(),
            read,
            (read == address).then_some(kind),
        )?),
        None => None,
    };
    let mut claims = vec![Claim::take(&device, place.interface, arguments.detach)?];
    if place.alternate != 0 {
        claims[0].select(place.alternate)?;
    }
    if let Some(other) = answers.filter(|other| other.interface != place.interface) {
        let mut claim = Claim::take(&device, other.interface, arguments.detach)?;
        if other.alternate != 0 {
            claim.select(other.alternate)?;
        }
        claims.push(claim);
    }
    let shown = Shown {
        json: arguments.json,
        start: Instant::now(),
    };
    // The answer to a transfer may come before the transfer has ended.
    let reader = match reads {
        Some(read) => Some(Reader::start(device.as_ref(), read, arguments)?),
        None => None,
    };
    if !contents.is_empty() {
        send(device.as_ref(), arguments, &contents, &shown)?;
    }
    match reader {
        Some(reader) => reader.read(arguments, &shown),
        None => Ok(()),
    }
}

/// Sends each content as a transfer.
fn send(
    device: &dyn UsbDevice,
    arguments: &Arguments,
    contents: &[Vec<u8>],
    shown: &Shown,
) -> Result<(), Failure> {
    let address = arguments.endpoint;
    let failed = |error| target::usb_failure("cannot send", &error);
    let mut queue = device.queue(address).map_err(failed)?;
    queue.set_zero_packet(arguments.zlp);
    for content in contents {
        let mut buffer = queue.allocate(content.len());
        buffer.bytes_mut()[..content.len()].copy_from_slice(content);
        buffer.set_len(content.len());
        queue
            .submit(buffer)
            .map_err(|rejected| failed(rejected.error))?;
        let Some(done) = queue.next(SEND_TIME) else {
            return Err(
                Failure::new(FailureKind::Timeout, "the device takes no transfer")
                    .at(format!("endpoint {address:#04x} of {}", device.identity()))
                    .because(format!("not taken in {} s", SEND_TIME.as_secs())),
            );
        };
        shown.out(address, content, &done.result)?;
        done.result.map_err(|error| ended(device, address, error))?;
    }
    Ok(())
}

/// An endpoint from which transfers are read.
struct Reader<'a> {
    device: &'a dyn UsbDevice,
    queue: Box<dyn uwwan_usb::device::Queue>,
}

impl<'a> Reader<'a> {
    fn start(
        device: &'a dyn UsbDevice,
        address: u8,
        arguments: &Arguments,
    ) -> Result<Self, Failure> {
        let failed = |error| target::usb_failure("cannot read", &error);
        let mut queue = device.queue(address).map_err(failed)?;
        // A transfer whose length is no whole number of packets would fail where the device sends
        // one more.
        let packet = u32::from(queue.max_packet_size());
        let size = arguments.size.next_multiple_of(packet) as usize;
        for _ in 0..arguments.count.min(4) {
            let buffer = queue.allocate(size);
            queue
                .submit(buffer)
                .map_err(|rejected| failed(rejected.error))?;
        }
        Ok(Self { device, queue })
    }

    /// Shows transfers of the device, up to the wanted number and time.
    fn read(mut self, arguments: &Arguments, shown: &Shown) -> Result<(), Failure> {
        let address = self.queue.endpoint();
        let wait = Duration::from_secs_f64(arguments.wait);
        let deadline = Instant::now() + wait;
        let mut left = arguments.count;
        while left > 0 {
            let time = deadline.saturating_duration_since(Instant::now());
            let Some(Completion { mut buffer, result }) = self.queue.next(time) else {
                break;
            };
            left -= 1;
            shown.come(address, buffer.filled(), &result)?;
            result.map_err(|error| ended(self.device, address, error))?;
            if left as usize > self.queue.pending() {
                buffer.set_len(0);
                self.queue
                    .submit(buffer)
                    .map_err(|rejected| target::usb_failure("cannot read", &rejected.error))?;
            }
        }
        if left == arguments.count {
            return Err(Failure::new(FailureKind::Timeout, "nothing came")
                .at(format!(
                    "endpoint {address:#04x} of {}",
                    self.device.identity()
                ))
                .because(format!("no transfer in {} s", arguments.wait))
                .next("wait longer with --wait"));
        }
        Ok(())
    }
}

fn ended(device: &dyn UsbDevice, address: u8, error: TransferError) -> Failure {
    let kind = match error {
        TransferError::Gone => FailureKind::Missing,
        TransferError::Timeout => FailureKind::Timeout,
        _ => FailureKind::Other,
    };
    let failure = Failure::new(kind, "the transfer failed")
        .at(format!("endpoint {address:#04x} of {}", device.identity()))
        .because(error);
    match error {
        TransferError::Stall => failure.next(format!(
            "clear the halt: uwwan usb control standard,endpoint,out 1 --index {address:#04x} --force"
        )),
        TransferError::Overflow => failure.next("read longer transfers with --size"),
        _ => failure,
    }
}

/// A transfer, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Told {
    /// A transfer to the device.
    Out {
        /// Address of the endpoint.
        endpoint: u8,
        /// Bytes that were sent; null when the transfer failed.
        sent: Option<usize>,
        /// The failure; null for none.
        error: Option<String>,
        /// Seconds since the start.
        after_seconds: f64,
        /// `after_seconds` in milliseconds.
        #[schemars(extend("deprecated" = true))]
        after_ms: f64,
    },
    /// A transfer from the device.
    In {
        /// Address of the endpoint.
        endpoint: u8,
        /// Bytes that came.
        length: usize,
        /// Bytes that came, in hexadecimal.
        hex: String,
        /// The failure; null for none.
        error: Option<String>,
        /// Seconds since the start.
        after_seconds: f64,
        /// `after_seconds` in milliseconds.
        #[schemars(extend("deprecated" = true))]
        after_ms: f64,
    },
}

/// The form in which transfers are shown.
struct Shown {
    json: bool,
    start: Instant,
}

impl Shown {
    fn out(
        &self,
        address: u8,
        content: &[u8],
        result: &Result<usize, TransferError>,
    ) -> Result<(), Failure> {
        if self.json {
            return say_json(&Told::Out {
                endpoint: address,
                sent: result.as_ref().ok().copied(),
                error: result.as_ref().err().map(ToString::to_string),
                after_seconds: self.after(),
                after_ms: self.after_ms(),
            });
        }
        if result.is_ok() {
            say(format!("{} bytes to {address:#04x}", content.len()))?;
        }
        Ok(())
    }

    fn come(
        &self,
        address: u8,
        bytes: &[u8],
        result: &Result<usize, TransferError>,
    ) -> Result<(), Failure> {
        if self.json {
            return say_json(&Told::In {
                endpoint: address,
                length: bytes.len(),
                hex: hex::lines(bytes).join(" "),
                error: result.as_ref().err().map(ToString::to_string),
                after_seconds: self.after(),
                after_ms: self.after_ms(),
            });
        }
        say(format!(
            "{} bytes from {address:#04x} after {}",
            bytes.len(),
            seconds(self.start.elapsed().as_secs_f64())
        ))?;
        for line in hex::lines(bytes) {
            say(format!("  {line}"))?;
        }
        Ok(())
    }

    fn after(&self) -> f64 {
        rounded(self.start.elapsed().as_secs_f64(), 6)
    }

    fn after_ms(&self) -> f64 {
        rounded(self.start.elapsed().as_secs_f64() * 1000.0, 3)
    }
}
