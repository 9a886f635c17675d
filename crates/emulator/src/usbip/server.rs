//! The USB/IP server, where `usbip list -r` and `usbip attach -r` find the modem.
//!
//! The server makes the system calls `recvfrom` and `sendto`, on a thread of its own for each
//! client.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::codec::{
    self, BUS_ID, Exported, OP_HEADER, OP_REP_DEVLIST, OP_REP_IMPORT, OP_REQ_DEVLIST,
    OP_REQ_IMPORT, VERSION,
};
use super::connection::Connection;
use crate::descriptors::Presented;
use crate::emulator::Emulator;
use crate::handle::Handle;
use crate::report::Recorder;
use crate::server::{Listener, Server};

/// Bus id of the modem.
pub const MODEM_BUS_ID: &str = "1-1";
/// Longest time that a client may take over each part of its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest number of clients in the attach phase.
const MAX_CLIENTS: usize = 16;

/// Values of `status` in an answer: `ST_DEV_BUSY`, `ST_NODEV` and `ST_ERROR` of usbip's
/// `usbip_network.h`.
const STATUS_BUSY: u32 = 2;
const STATUS_NO_DEVICE: u32 = 4;
const STATUS_ERROR: u32 = 5;

/// Serves the emulated modem to USB/IP hosts, one at a time. The protocol's port is 3240.
///
/// # Errors
/// Fails when the address cannot be listened at.
pub fn listen(emulator: &Emulator, address: impl ToSocketAddrs) -> std::io::Result<Server> {
    let handle = emulator.handle().clone();
    let presence = handle.presence().clone();
    let clients = Arc::new(Clients {
        handle,
        recorder: emulator.recorder().clone(),
        count: AtomicUsize::new(0),
    });
    let listener = Listener::tcp(address)?;
    Server::start("usbip-server", listener, presence, move |socket| {
        clients.receive(TcpStream::from(socket));
    })
}

/// Clients in the attach phase, and the state with which they are served.
struct Clients {
    handle: Handle,
    recorder: Recorder,
    count: AtomicUsize,
}

impl Clients {
    /// Serves a client on a thread of its own. Clients beyond the limit are hung up on.
    fn receive(self: &Arc<Self>, stream: TcpStream) {
        if self.count.fetch_add(1, Ordering::SeqCst) >= MAX_CLIENTS {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let clients = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name("usbip-client".into())
            .spawn(move || {
                if let Err(error) = clients.serve(stream) {
                    tracing::debug!(%error, "USB/IP client");
                }
                clients.count.fetch_sub(1, Ordering::SeqCst);
            });
        if started.is_err() {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Returns the device as it is described to clients.
    fn exported(presented: &Presented) -> Exported<'_> {
        // A host selects a configuration itself; until then the device has none.
        let value = presented.usual_configuration();
        let configuration = presented.configuration(value);
        Exported {
            bus_id: MODEM_BUS_ID,
            bus: 1,
            address: 2,
            speed: presented.speed(),
            descriptor: presented.device(),
            configuration: value,
            interfaces: configuration.map_or(0, |c| c.interfaces()),
        }
    }

    /// Answers the one request of a client.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut header = [0; OP_HEADER];
        stream.read_exact(&mut header)?;
        let version = u16::from_be_bytes([header[0], header[1]]);
        let command = u16::from_be_bytes([header[2], header[3]]);
        if version != VERSION {
            tracing::warn!(version, "USB/IP client of another protocol version");
        }
        match command {
            OP_REQ_DEVLIST => self.list(&mut stream),
            OP_REQ_IMPORT => self.import(stream),
            other => {
                tracing::warn!(command = other, "unknown USB/IP request");
                stream.write_all(&codec::op_header(other & 0x7fff, STATUS_ERROR))
            }
        }
    }

    /// Answers OP_REQ_DEVLIST.
    fn list(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut answer = codec::op_header(OP_REP_DEVLIST, 0).to_vec();
        let plugged = self.handle.presence().get();
        let free = plugged.present && !plugged.exported;
        answer.extend(u32::from(free).to_be_bytes());
        if free {
            let presented = self.handle.presence().presented();
            let exported = Self::exported(&presented);
            answer.extend(exported.encode());
            let configuration = presented.configuration(exported.configuration);
            let places = configuration.iter().flat_map(|c| &c.layout.alternates);
            for place in places.filter(|place| place.alternate == 0) {
                answer.extend(place.class);
                answer.push(0);
            }
        }
        stream.write_all(&answer)
    }

    /// Answers OP_REQ_IMPORT, and hands the connection over when the device is free.
    fn import(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut wanted = [0; BUS_ID];
        stream.read_exact(&mut wanted)?;
        let name = wanted.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let plugged = self.handle.presence().get();
        let status = if name != MODEM_BUS_ID.as_bytes() || !plugged.present {
            STATUS_NO_DEVICE
        } else if plugged.exported {
            STATUS_BUSY
        } else {
            0
        };
        let mut answer = codec::op_header(OP_REP_IMPORT, status).to_vec();
        if status == 0 {
            let presented = self.handle.presence().presented();
            answer.extend(Self::exported(&presented).encode());
        }
        stream.write_all(&answer)?;
        if status == 0 {
            stream.set_read_timeout(None)?;
            stream.set_write_timeout(None)?;
            let connection = Connection::new(OwnedFd::from(stream), self.recorder.clone())?;
            self.handle.connect(Box::new(connection));
        }
        Ok(())
    }
}
