//! The data function: NTB parameters and their requests, NTBs in both directions, and Ethernet
//! frames in both directions in an ECM function.
//!
//! # Theory of operation
//!
//! An NTB from the host is checked and read where it lies in its transfer, and each datagram goes
//! to the network from there. An NTB for the host is built where it will be read: packets come from
//! the network directly to their place in the host's transfer, as many as wait and fit. Nothing is
//! allocated for a packet.

mod context;
mod downlink;
mod ethernet;
mod link;
mod routes;
mod uplink;

use std::collections::VecDeque;
use std::time::Instant;

use uwwan_ncm::{Format, NtbParameters};
use uwwan_usb::codes::cdc;

use crate::behaviour::InVerdict;
use crate::descriptors::{DataFunction, NetworkKind};
use crate::knobs::Knobs;
use crate::random::Random;
use crate::report::{Recorder, Rule};
use crate::urb::SetupPacket;

pub(crate) use context::DataContext;
use downlink::Downlink;
pub(crate) use routes::Routes;
pub(crate) use uplink::TransferFault;
use uplink::Uplink;

/// Least NTB input size in bytes that a host may ask for (NCM 1.0, 6.2.7).
const LEAST_INPUT: u32 = 2048;
/// Bits of bmNetworkCapabilities (NCM 1.0, table 5-2).
const CAPABILITY_PACKET_FILTER: u8 = 0x01;
const CAPABILITY_NET_ADDRESS: u8 = 0x02;
const CAPABILITY_MAX_DATAGRAM: u8 = 0x08;
const CAPABILITY_CRC_MODE: u8 = 0x10;
/// Rate of the link of an Ethernet function, in bits per second.
const LINK_SPEED: u32 = 150_000_000;
/// Length in bytes, without its checksum, of the longest frame of a function that declares none.
const USUAL_FRAME: u16 = 1514;
/// Number of notifications waiting for the host from which further ones are dropped.
const MAX_NOTIFICATIONS: usize = 16;

/// State of the data function.
#[derive(Debug)]
pub(crate) struct NcmFunction {
    function: DataFunction,
    parameters: NtbParameters,
    /// Length in bytes of the longest frame of an Ethernet function.
    longest_frame: u16,
    /// Ethernet address of the host, as the function's string or the host itself has set it.
    address: [u8; 6],
    /// Notifications of an Ethernet function that wait for the host.
    notifications: VecDeque<Vec<u8>>,
    format: Format,
    /// Length in bytes of the longest NTB that the host takes.
    input_size: u32,
    /// Whether SET_NTB_INPUT_SIZE has come since the configuration was selected.
    input_size_told: bool,
    /// Largest number of datagrams that the host takes in an NTB; 0 is no limit.
    input_datagrams: u16,
    /// Number of the data interface's alternate setting.
    alternate: u8,
    uplink: Uplink,
    downlink: Downlink,
}

/// Returns the NTB parameters that the knobs describe.
fn parameters(knobs: &Knobs) -> NtbParameters {
    let (in_divisor, in_remainder) = match knobs.ntb_in_divisor {
        0 => (knobs.ntb_divisor, knobs.ntb_remainder),
        own => (own, knobs.ntb_in_remainder),
    };
    let in_alignment = match knobs.ntb_in_alignment {
        0 => knobs.ntb_alignment,
        own => own,
    };
    NtbParameters {
        formats: knobs.ntb_formats,
        in_max: knobs.ntb_in_max,
        in_divisor,
        in_remainder,
        in_alignment,
        out_max: knobs.ntb_out_max,
        out_divisor: knobs.ntb_divisor,
        out_remainder: knobs.ntb_remainder,
        out_alignment: knobs.ntb_alignment,
        out_max_datagrams: knobs.ntb_max_datagrams,
    }
}

/// Returns the length in bytes of the longest frame that the descriptors of an Ethernet function
/// declare.
fn frame(function: DataFunction) -> u16 {
    match u16::try_from(function.segment) {
        Ok(declared) if declared > 0 => declared,
        _ => USUAL_FRAME,
    }
}

impl NcmFunction {
    /// Makes the function with the interfaces of `function`, whose configuration has just been
    /// selected.
    pub fn new(function: DataFunction, knobs: &Knobs) -> Self {
        let parameters = parameters(knobs);
        let mut function = Self {
            longest_frame: frame(function),
            address: [0; 6],
            notifications: VecDeque::new(),
            function,
            format: Format::Ntb16,
            input_size: parameters.sanitised().in_max,
            input_size_told: false,
            input_datagrams: 0,
            alternate: 0,
            uplink: Uplink::new(),
            downlink: Downlink::new(Random::new(knobs.seed)),
            parameters,
        };
        function.reset(knobs);
        function
    }

    /// Sets the host's address of an Ethernet function from a string (CDC ECM 1.2, 5.4).
    pub fn set_address(&mut self, text: &str) {
        for (place, at) in self.address.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2);
            *place = digits.map_or(0, |digits| u8::from_str_radix(digits, 16).unwrap_or(0));
        }
    }

    /// Puts the function into the state that alternate setting 0 leaves it in.
    pub fn reset(&mut self, knobs: &Knobs) {
        self.parameters = parameters(knobs);
        self.format = if self.parameters.supports(Format::Ntb16) {
            Format::Ntb16
        } else {
            Format::Ntb32
        };
        self.input_size = self.parameters.sanitised().in_max;
        self.input_datagrams = 0;
        self.longest_frame = frame(self.function);
        self.notifications.clear();
        self.restart(knobs);
    }

    /// Empties both directions, and lets sequence numbers start at 0 again.
    fn restart(&mut self, knobs: &Knobs) {
        let function = DataFunction {
            segment: match self.function.kind {
                NetworkKind::Mbim => self.function.segment,
                NetworkKind::Ncm | NetworkKind::Ecm => self.longest_frame.into(),
            },
            ..self.function
        };
        self.uplink.restart(&self.parameters, function);
        self.downlink.restart(
            &self.parameters,
            self.format,
            self.input_size,
            self.input_datagrams,
            knobs,
            function,
        );
    }

    /// Returns whether SET_NTB_INPUT_SIZE has come since the configuration was selected.
    pub fn input_size_told(&self) -> bool {
        self.input_size_told
    }

    /// Returns the number of the data interface's alternate setting.
    pub fn alternate(&self) -> u8 {
        self.alternate
    }

    /// Follows the selection of an alternate setting of the data interface.
    pub fn select(&mut self, alternate: u8, knobs: &Knobs) {
        self.alternate = alternate;
        if alternate == 0 {
            self.reset(knobs);
        } else {
            if knobs.ntb32_after_alternate {
                self.format = Format::Ntb32;
            }
            self.restart(knobs);
        }
    }

    /// Queues the notifications of an Ethernet function that the link is down, or has a speed and is up
    /// (CONNECTION_SPEED_CHANGE and NETWORK_CONNECTION; CDC 1.2, 6.3.3 and 6.3.1).
    pub fn announce_link(&mut self, up: bool) {
        if !self.function.kind.is_ethernet() || self.notifications.len() + 2 > MAX_NOTIFICATIONS {
            return;
        }
        let interface = self.function.control;
        if up {
            let mut speed = vec![0xa1, 0x2a, 0, 0, interface, 0, 8, 0];
            speed.extend(LINK_SPEED.to_le_bytes());
            speed.extend(LINK_SPEED.to_le_bytes());
            self.notifications.push_back(speed);
        }
        let connection = vec![0xa1, 0x00, up.into(), 0, interface, 0, 0, 0];
        self.notifications.push_back(connection);
    }

    /// Returns the oldest notification of an Ethernet function.
    pub fn take_notification(&mut self) -> Option<Vec<u8>> {
        self.notifications.pop_front()
    }

    /// Answers a class request for data in `room` and returns the length. `None` is a STALL.
    pub fn control_in(
        &mut self,
        setup: SetupPacket,
        room: &mut [u8],
        knobs: &Knobs,
    ) -> Option<usize> {
        let mut put = |bytes: &[u8]| {
            let length = bytes.len().min(room.len());
            room[..length].copy_from_slice(&bytes[..length]);
            Some(length)
        };
        if self.function.kind == NetworkKind::Ecm {
            return if setup.request == cdc::GET_ETHERNET_STATISTIC {
                put(&[0; 4])
            } else {
                None
            };
        }
        match setup.request {
            cdc::GET_NTB_PARAMETERS => {
                let mut bytes = self.parameters.encode().to_vec();
                let [low, high] = knobs.ntb_parameters_length.to_le_bytes();
                bytes[..2].copy_from_slice(&[low, high]);
                bytes.resize(usize::from(knobs.ntb_parameters_length), 0);
                put(&bytes)
            }
            cdc::GET_NTB_FORMAT if self.parameters.supports(Format::Ntb32) => {
                put(&self.format.wire().to_le_bytes())
            }
            cdc::GET_MAX_DATAGRAM_SIZE if self.offers(CAPABILITY_MAX_DATAGRAM) => {
                put(&self.longest_frame.to_le_bytes())
            }
            cdc::GET_NET_ADDRESS if self.offers(CAPABILITY_NET_ADDRESS) => put(&self.address),
            cdc::GET_CRC_MODE if self.offers(CAPABILITY_CRC_MODE) => put(&[0, 0]),
            cdc::GET_NTB_INPUT_SIZE => {
                let mut bytes = [0; 8];
                bytes[..4].copy_from_slice(&self.input_size.to_le_bytes());
                bytes[4..6].copy_from_slice(&self.input_datagrams.to_le_bytes());
                put(if setup.length >= 8 {
                    &bytes
                } else {
                    &bytes[..4]
                })
            }
            _ => None,
        }
    }

    /// Executes a class request that sets something. Returns `false` for a STALL.
    pub fn control_out(
        &mut self,
        setup: SetupPacket,
        data: &[u8],
        knobs: &Knobs,
        recorder: &Recorder,
    ) -> bool {
        let ecm = self.function.kind == NetworkKind::Ecm;
        match setup.request {
            cdc::SET_ETHERNET_MULTICAST_FILTERS | cdc::SET_ETHERNET_PACKET_FILTER if ecm => true,
            _ if ecm => {
                recorder.violation(Rule::Setup, || {
                    format!("class request {:#04x} to an ECM function", setup.request)
                });
                false
            }
            cdc::SET_NTB_FORMAT => {
                let wanted = Format::from_wire(setup.value);
                let supported = self.parameters.supports(Format::Ntb32)
                    && wanted.is_some_and(|format| self.parameters.supports(format));
                if !supported {
                    recorder.violation(Rule::Setup, || {
                        format!(
                            "SET_NTB_FORMAT {} to a device with bmNtbFormatsSupported {:#x}",
                            setup.value, self.parameters.formats
                        )
                    });
                }
                if self.alternate != 0 {
                    recorder.violation(Rule::Setup, || {
                        format!(
                            "SET_NTB_FORMAT in alternate setting {}; allowed in 0 only (NCM 1.0, 6.2.5)",
                            self.alternate
                        )
                    });
                    return false;
                }
                match wanted {
                    Some(format) if supported && !knobs.refuse_format => {
                        self.format = format;
                        if knobs.format_forgets_size {
                            self.input_size = self.parameters.sanitised().in_max;
                            self.input_size_told = false;
                        }
                        self.restart(knobs);
                        true
                    }
                    _ => false,
                }
            }
            cdc::SET_NTB_INPUT_SIZE => self.set_input_size(data, knobs, recorder),
            cdc::SET_ETHERNET_PACKET_FILTER if self.offers(CAPABILITY_PACKET_FILTER) => true,
            cdc::SET_NET_ADDRESS if self.offers(CAPABILITY_NET_ADDRESS) => match data.try_into() {
                Ok(address) => {
                    self.address = address;
                    true
                }
                Err(_) => false,
            },
            // Frames with a checksum are not emulated.
            cdc::SET_CRC_MODE if self.offers(CAPABILITY_CRC_MODE) => setup.value == 0,
            cdc::SET_MAX_DATAGRAM_SIZE if self.offers(CAPABILITY_MAX_DATAGRAM) => match *data {
                [low, high] if u16::from_le_bytes([low, high]) <= frame(self.function) => {
                    self.longest_frame = u16::from_le_bytes([low, high]);
                    self.restart(knobs);
                    true
                }
                _ => false,
            },
            _ => {
                recorder.violation(Rule::Setup, || {
                    format!(
                        "class request {:#04x}, which bmNetworkCapabilities {:#04x} does not offer",
                        setup.request, self.function.capabilities
                    )
                });
                false
            }
        }
    }

    /// Returns whether an Ethernet function has a capability.
    fn offers(&self, capability: u8) -> bool {
        self.function.kind.is_ethernet() && self.function.capabilities & capability != 0
    }

    fn set_input_size(&mut self, data: &[u8], knobs: &Knobs, recorder: &Recorder) -> bool {
        let (size, datagrams) = match *data {
            [a, b, c, d] => (u32::from_le_bytes([a, b, c, d]), 0),
            [a, b, c, d, e, f, _, _] => {
                (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]))
            }
            _ => {
                recorder.violation(Rule::Setup, || {
                    format!(
                        "SET_NTB_INPUT_SIZE with {} bytes, neither 4 nor 8",
                        data.len()
                    )
                });
                return false;
            }
        };
        if size < LEAST_INPUT || size > self.parameters.in_max {
            recorder.violation(Rule::Setup, || {
                format!(
                    "SET_NTB_INPUT_SIZE {size}, outside {LEAST_INPUT} to dwNtbInMaxSize {}",
                    self.parameters.in_max
                )
            });
            return false;
        }
        if knobs.refuse_input_size {
            return false;
        }
        self.input_size_told = true;
        if !knobs.ignore_input_size {
            self.input_size = size;
            self.input_datagrams = datagrams;
            self.restart(knobs);
        }
        true
    }

    /// Takes a transfer from the host. Returns `false` when the network has no room, and the
    /// transfer must be offered again. A mishap is the effect of a knob beside that.
    pub fn transmit(
        &mut self,
        data: &[u8],
        ended: bool,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<TransferFault>) {
        if self.function.kind == NetworkKind::Ecm {
            return self.uplink.frame(data, ended, context);
        }
        self.uplink
            .transfer(data, ended, &self.parameters, self.format, context)
    }

    /// Returns whether the uplink waits for room in the network.
    pub fn is_blocked(&self) -> bool {
        self.uplink.is_blocked()
    }

    /// Fills the room in the host's transfer.
    pub fn receive(&mut self, room: &mut [u8], context: &mut DataContext<'_>) -> InVerdict {
        self.downlink.host_is(self.uplink.host());
        let solicited = self.uplink.take_advertisement();
        if self.uplink.take_resolved() {
            self.downlink.host_resolved();
        }
        while let Some((session, packet)) = self.uplink.take_asked() {
            self.downlink
                .answer(session, &packet, context.knobs, context.now);
        }
        self.downlink.fill(room, solicited, context)
    }

    /// Queues delayed answers of the link that are due.
    pub fn advance(&mut self, now: Instant) {
        self.downlink.advance(now);
    }

    /// Returns when [`NcmFunction::advance`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.downlink.deadline()
    }

    /// Queues the packets that the network sends first on a data session that has come up.
    pub fn session_up(&mut self, session: u8, v6: bool, knobs: &Knobs) {
        self.downlink.session_up(session, v6, knobs);
    }
}

#[cfg(test)]
mod tests;
