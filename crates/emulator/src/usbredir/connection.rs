//! The connection of a virtual machine that has the device.
//!
//! # Theory of operation
//!
//! The guest identifies its transfers by ids of its own choice, and the device by tokens that are
//! given here, so that no guest can confuse the device by using an id twice. SET_CONFIGURATION and
//! SET_INTERFACE are messages of their own and become control transfers; when one has succeeded,
//! the guest is told the endpoints before it gets the answer. A guest does not ask for each packet
//! of an interrupt endpoint: once it has told the connection to start, transfers are kept pending
//! here and their data is passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::PollFlags;

use uwwan_usb::codes::standard::{
    GET_CONFIGURATION, GET_INTERFACE, SET_CONFIGURATION, SET_INTERFACE,
};

use super::codec::{
    self, Capabilities, Encoder, Endpoint, HEAD, Incoming, MAX_TRANSFER, Message, Status,
};
use crate::descriptors::{EndpointPlace, Layout, Presented};
use crate::host_socket::{self, HostSocket, Protocol, Step};
use crate::report::Recorder;
use crate::upstream::{HostGone, Request, Upstream};
use crate::urb::{Completed, SetupPacket, Token, Urb, UrbStatus};

/// Largest number of transfers in the hands of the device; beyond, the guest is cut off.
const MAX_PENDING: usize = 4096;
/// Number of transfers kept pending on an interrupt endpoint whose data the guest wants.
const LISTENING: usize = 4;

/// Connection of one guest.
pub(crate) struct Connection {
    socket: HostSocket<Vec<u8>>,
    recorder: Recorder,
    presented: Arc<Presented>,
    /// Capabilities of both sides, once the guest's hello has come.
    shared: Option<Capabilities>,
    encoder: Encoder,
    pending: BTreeMap<Token, Pending>,
    /// Token that was given last to a transfer.
    last_token: Token,
    /// Whether the guest has reset the port and the device has not received anything after that.
    reset: bool,
    /// Transfers to submit for which the guest has not asked itself.
    own: Vec<Urb>,
    layout: Layout,
    configuration: u8,
    alternates: BTreeMap<u8, u8>,
    /// Addresses of the interrupt endpoints whose data the guest wants.
    listening: BTreeSet<u8>,
    /// Number of interrupt packets sent, which is also the id of the last.
    packets: u64,
}

/// Kind of a pending transfer, which decides how it is answered to the guest.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Control {
        id: u64,
        setup: SetupPacket,
    },
    Configuration {
        id: u64,
        setup: SetupPacket,
    },
    Alternate {
        id: u64,
        setup: SetupPacket,
    },
    Bulk {
        id: u64,
        stream: u32,
    },
    InterruptOut {
        id: u64,
    },
    /// A transfer of this connection's own on the endpoint with that address.
    InterruptIn(u8),
}

impl Pending {
    fn id(self) -> Option<u64> {
        match self {
            Pending::Control { id, .. }
            | Pending::Configuration { id, .. }
            | Pending::Alternate { id, .. }
            | Pending::Bulk { id, .. }
            | Pending::InterruptOut { id } => Some(id),
            Pending::InterruptIn(_) => None,
        }
    }
}

impl Connection {
    /// Takes over a socket, and sends the hello.
    ///
    /// # Errors
    /// Fails when the socket cannot be made non-blocking.
    pub fn new(
        socket: OwnedFd,
        recorder: Recorder,
        presented: Arc<Presented>,
    ) -> std::io::Result<Self> {
        let mut connection = Self {
            socket: HostSocket::new(socket)?,
            recorder,
            presented,
            shared: None,
            encoder: Encoder::default(),
            pending: BTreeMap::new(),
            last_token: 0,
            reset: false,
            own: Vec::new(),
            layout: Layout::default(),
            configuration: 0,
            alternates: BTreeMap::new(),
            listening: BTreeSet::new(),
            packets: 0,
        };
        connection.answer(Encoder::hello());
        Ok(connection)
    }

    /// Executes a message.
    fn handle(
        &mut self,
        Incoming { id, message, .. }: Incoming<'_>,
        requests: &mut Vec<Request>,
    ) -> Result<(), String> {
        let standard = |request_type, request, value, index, length| SetupPacket {
            request_type,
            request,
            value,
            index,
            length,
        };
        let mut submit = |urb| requests.push(Request::Submit(urb));
        match message {
            Message::Hello(theirs) => {
                let shared = theirs.shared(Capabilities::OURS);
                self.shared = Some(shared);
                self.encoder = Encoder::new(shared);
                self.tell_layout();
                let connect = self
                    .encoder
                    .connect(self.presented.speed(), self.presented.device());
                self.answer(connect);
            }
            Message::Reset => {
                self.reset = true;
                self.listening.clear();
                requests.push(Request::ResetPort);
            }
            Message::SetConfiguration(value) => {
                let setup = standard(0, SET_CONFIGURATION, value.into(), 0, 0);
                submit(self.control(Pending::Configuration { id, setup }, setup, &[])?);
            }
            Message::GetConfiguration => {
                let setup = standard(0x80, GET_CONFIGURATION, 0, 0, 1);
                submit(self.control(Pending::Configuration { id, setup }, setup, &[])?);
            }
            Message::SetAlternate(interface, alternate) => {
                let setup = standard(1, SET_INTERFACE, alternate.into(), interface.into(), 0);
                submit(self.control(Pending::Alternate { id, setup }, setup, &[])?);
            }
            Message::GetAlternate(interface) => {
                let setup = standard(0x81, GET_INTERFACE, 0, interface.into(), 1);
                submit(self.control(Pending::Alternate { id, setup }, setup, &[])?);
            }
            Message::Control(setup, data) => {
                submit(self.control(Pending::Control { id, setup }, setup, data)?);
            }
            Message::Bulk {
                endpoint,
                length,
                stream,
                data,
            } => submit(self.transfer(Pending::Bulk { id, stream }, endpoint, length, data)?),
            Message::Interrupt(endpoint, data) => {
                submit(self.transfer(Pending::InterruptOut { id }, endpoint, data.len(), data)?);
            }
            Message::StartInterrupts(endpoint) => {
                let place = self.active().find(|place| place.address == endpoint);
                let (status, size) = match place {
                    Some(place) if place.interrupt && endpoint & 0x80 != 0 => {
                        (Status::Success, place.max_packet_size.into())
                    }
                    _ => (Status::Invalid, 0),
                };
                if status == Status::Success && self.listening.insert(endpoint) {
                    for _ in 0..LISTENING {
                        let pending = Pending::InterruptIn(endpoint);
                        submit(self.transfer(pending, endpoint, size, &[])?);
                    }
                }
                let answer = self.encoder.interrupts(id, status, endpoint);
                self.answer(answer);
            }
            Message::StopInterrupts(endpoint) => {
                // Transfers of this connection's own end as they would for any host that stops
                // reading.
                self.listening.remove(&endpoint);
                let ours = |pending: &Pending| matches!(pending, Pending::InterruptIn(of) if *of == endpoint);
                let tokens = self.pending.iter().filter(|(_, pending)| ours(pending));
                requests.extend(tokens.map(|(token, _)| Request::Cancel(*token)));
                let answer = self.encoder.interrupts(id, Status::Success, endpoint);
                self.answer(answer);
            }
            Message::Cancel => {
                let mut all = self.pending.iter();
                if let Some((token, _)) = all.find(|(_, pending)| pending.id() == Some(id)) {
                    requests.push(Request::Cancel(*token));
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// Gives a transfer its token.
    ///
    /// # Errors
    /// Fails with a description when too many transfers are pending.
    fn token(&mut self, pending: Pending) -> Result<Token, String> {
        if self.pending.len() >= MAX_PENDING {
            return Err(format!("more than {MAX_PENDING} transfers pending"));
        }
        self.last_token += 1;
        self.pending.insert(self.last_token, pending);
        Ok(self.last_token)
    }

    fn control(
        &mut self,
        pending: Pending,
        setup: SetupPacket,
        data: &[u8],
    ) -> Result<Urb, String> {
        let mut urb = self.transfer(
            pending,
            setup.request_type & 0x80,
            setup.length.into(),
            data,
        )?;
        urb.setup = setup;
        Ok(urb)
    }

    fn transfer(
        &mut self,
        pending: Pending,
        endpoint: u8,
        length: usize,
        data: &[u8],
    ) -> Result<Urb, String> {
        let token = self.token(pending)?;
        let length = length.min(MAX_TRANSFER);
        let mut buffer = self.socket.buffer(length)?;
        if endpoint & 0x80 == 0 {
            let length = length.min(data.len());
            buffer.bytes_mut()[..length].copy_from_slice(&data[..length]);
            buffer.set_len(length);
        }
        Ok(Urb {
            token,
            endpoint,
            setup: SetupPacket::default(),
            buffer,
            wanted: length,
            // The guest's controller makes a separate transfer of a zero-length packet.
            zero_packet: false,
        })
    }

    /// Queues a message without data.
    fn answer(&mut self, head: Vec<u8>) {
        self.socket.push(head, None);
    }

    /// Returns the endpoints of the active alternate settings.
    fn active(&self) -> impl Iterator<Item = &EndpointPlace> {
        let selected = |interface| self.alternates.get(&interface).copied().unwrap_or(0);
        let all = self.layout.endpoints.iter();
        all.filter(move |place| place.alternate == selected(place.interface))
    }

    /// Notes that a configuration is active.
    fn configured(&mut self, value: u8) {
        self.configuration = value;
        self.alternates.clear();
        let configuration = self.presented.configuration(value);
        self.layout = configuration.map(|c| c.layout.clone()).unwrap_or_default();
    }

    /// Sends the lists of interfaces and endpoints to the guest.
    fn tell_layout(&mut self) {
        let selected = |interface| self.alternates.get(&interface).copied().unwrap_or(0);
        let places = self.layout.alternates.iter();
        let interfaces: Vec<(u8, [u8; 3])> = places
            .filter(|place| place.alternate == selected(place.interface))
            .map(|place| (place.interface, place.class))
            .collect();
        let endpoints: Vec<Endpoint> = self
            .active()
            .map(|place| Endpoint {
                address: place.address,
                interrupt: place.interrupt,
                interval: place.interval,
                interface: place.interface,
                max_packet_size: place.max_packet_size,
            })
            .collect();
        let interfaces = self.encoder.interfaces(&interfaces);
        let endpoints = self.encoder.endpoints(&endpoints);
        self.answer(interfaces);
        self.answer(endpoints);
    }

    /// Makes one more transfer for an endpoint, if the guest still wants its data.
    fn listen_again(&mut self, endpoint: u8) {
        let found = self.active().find(|place| place.address == endpoint);
        let found = found.filter(|_| self.listening.contains(&endpoint));
        let Some(size) = found.map(|place| place.max_packet_size) else {
            return;
        };
        if let Ok(urb) = self.transfer(Pending::InterruptIn(endpoint), endpoint, size.into(), &[]) {
            self.own.push(urb);
        }
    }
}

impl Protocol for Connection {
    type Head = Vec<u8>;

    fn socket(&mut self) -> &mut HostSocket<Self::Head> {
        &mut self.socket
    }

    fn next(&mut self, input: &[u8], requests: &mut Vec<Request>) -> Result<Step, String> {
        match codec::decode(input, self.shared) {
            Ok(Some(incoming)) => {
                let length = incoming.length;
                self.handle(incoming, requests)?;
                Ok(if self.reset {
                    Step::Pause(length)
                } else {
                    Step::Handled(length)
                })
            }
            Ok(None) => Ok(Step::Incomplete),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Upstream for Connection {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        Some(self.socket.descriptor())
    }

    fn receive(&mut self, requests: &mut Vec<Request>) -> Result<(), HostGone> {
        if std::mem::take(&mut self.reset) {
            self.configured(0);
        }
        requests.extend(self.own.drain(..).map(Request::Submit));
        let recorder = self.recorder.clone();
        host_socket::receive(self, &recorder, requests)
    }

    fn has_more(&self) -> bool {
        !self.own.is_empty() || self.socket.has_more()
    }

    fn cancelled(&mut self, _: Token, _: bool) {
        // The guest learns of it by the end of the transfer.
    }

    fn complete(&mut self, done: Completed) {
        let Some(pending) = self.pending.remove(&done.token) else {
            self.socket.recycle(done.buffer);
            return;
        };
        let status = match done.status {
            UrbStatus::Done => Status::Success,
            UrbStatus::Stall => Status::Stall,
            UrbStatus::Overflow => Status::Babble,
            UrbStatus::Cancelled => Status::Cancelled,
            UrbStatus::Gone | UrbStatus::Fault => Status::IoError,
        };
        let good = status == Status::Success;
        let is_in = done.endpoint & 0x80 != 0;
        let data = if is_in { done.buffer.filled().len() } else { 0 };
        let mut head = Vec::with_capacity(HEAD);
        match pending {
            Pending::Control { id, setup } => {
                self.encoder
                    .control(id, status, setup, done.actual, data, &mut head);
            }
            Pending::Bulk { id, stream } => {
                let (endpoint, actual) = (done.endpoint, done.actual);
                self.encoder
                    .bulk(id, status, endpoint, stream, actual, data, &mut head);
            }
            Pending::InterruptOut { id } => {
                self.encoder
                    .interrupt(id, status, done.endpoint, done.actual, 0, &mut head);
            }
            Pending::Configuration { id, setup } => {
                let mut value = self.configuration;
                if setup.request == SET_CONFIGURATION && good {
                    value = setup.value as u8;
                    self.listening.clear();
                    self.configured(value);
                    self.tell_layout();
                } else if let Some(told) = done.buffer.filled().first() {
                    value = *told;
                }
                self.socket.recycle(done.buffer);
                let answer = self.encoder.configuration(id, status, value);
                self.answer(answer);
                return;
            }
            Pending::Alternate { id, setup } => {
                let (interface, mut alternate) = (setup.index as u8, setup.value as u8);
                if setup.request == SET_INTERFACE && good {
                    self.alternates.insert(interface, alternate);
                    self.tell_layout();
                } else if let Some(told) = done.buffer.filled().first() {
                    alternate = *told;
                }
                self.socket.recycle(done.buffer);
                let answer = self.encoder.alternate(id, status, interface, alternate);
                self.answer(answer);
                return;
            }
            Pending::InterruptIn(endpoint) => {
                if !good {
                    self.socket.recycle(done.buffer);
                    // An endpoint that was stopped, or that ended with a configuration, is not
                    // reported.
                    if status != Status::Cancelled && self.listening.remove(&endpoint) {
                        let answer = self.encoder.interrupts(0, status, endpoint);
                        self.answer(answer);
                    }
                    return;
                }
                let actual = done.actual;
                self.packets += 1;
                let id = self.packets;
                self.encoder
                    .interrupt(id, status, endpoint, actual, data, &mut head);
                self.listen_again(endpoint);
            }
        }
        let data = if data > 0 {
            Some(done.buffer)
        } else {
            self.socket.recycle(done.buffer);
            None
        };
        self.socket.push(head, data);
    }

    fn flush(&mut self) -> Result<(), HostGone> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests;
