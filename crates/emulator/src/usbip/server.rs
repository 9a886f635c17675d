//! The USB/IP server: `usbip list -r` and `usbip attach -r` find the modem here.
//!
//! Makes the system calls of a TCP server: `socket`, `bind`, `listen`, `accept4`, `poll`, `recvfrom`,
//! `sendto`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::codec::{
    self, BUS_ID, Exported, OP_HEADER, OP_REP_DEVLIST, OP_REP_IMPORT, OP_REQ_DEVLIST,
    OP_REQ_IMPORT, VERSION,
};
use super::connection::Connection;
use crate::Emulator;
use crate::descriptors::{self, Layout};
use crate::engine::{Order, Reins};
use crate::knobs::Brand;
use crate::report::Recorder;
use crate::upstream::Upstream;

/// The modem's bus id.
pub const MODEM_BUS_ID: &str = "1-1";
/// How long a client may take over its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients in the attach phase at once.
const MAX_CLIENTS: usize = 16;

const STATUS_BUSY: u32 = 2;
const STATUS_NO_DEVICE: u32 = 4;
const STATUS_ERROR: u32 = 5;

/// A running server. Dropping it stops listening; a host that has the device keeps it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread from its accept.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves the emulated modem to USB/IP hosts, one at a time. The protocol's port is 3240.
///
/// # Errors
/// When the address cannot be listened on.
pub fn listen(emulator: &Emulator, address: impl ToSocketAddrs) -> std::io::Result<Server> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let hall = Arc::new(Hall {
        reins: emulator.reins().clone(),
        recorder: emulator.recorder().clone(),
        brand: emulator.knobs().brand,
        clients: AtomicUsize::new(0),
    });
    let thread = std::thread::Builder::new()
        .name("usbip-server".into())
        .spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) || hall.reins.presence.get().stopped {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if hall.clients.fetch_add(1, Ordering::SeqCst) >= MAX_CLIENTS {
                    hall.clients.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let hall_of_client = Arc::clone(&hall);
                let started = std::thread::Builder::new()
                    .name("usbip-client".into())
                    .spawn(move || {
                        if let Err(error) = hall_of_client.serve(stream) {
                            tracing::debug!(%error, "USB/IP client");
                        }
                        hall_of_client.clients.fetch_sub(1, Ordering::SeqCst);
                    });
                if started.is_err() {
                    hall.clients.fetch_sub(1, Ordering::SeqCst);
                }
            }
        })?;
    Ok(Server {
        address,
        stop,
        thread: Some(thread),
    })
}

/// Where clients are received.
struct Hall {
    reins: Reins,
    recorder: Recorder,
    brand: Brand,
    clients: AtomicUsize,
}

impl Hall {
    fn exported(&self) -> Exported<'static> {
        // A host selects a configuration itself; until then the device has none.
        Exported {
            bus_id: MODEM_BUS_ID,
            bus: 1,
            address: 2,
            descriptor: descriptors::device(self.brand),
            configuration: 2,
            interfaces: 7,
        }
    }

    /// Answers one request.
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

    fn list(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut answer = codec::op_header(OP_REP_DEVLIST, 0).to_vec();
        let plugged = self.reins.presence.get();
        let free = plugged.present && !plugged.exported;
        answer.extend(u32::from(free).to_be_bytes());
        if free {
            let exported = self.exported();
            answer.extend(exported.encode());
            let layout = descriptors::configuration(exported.configuration)
                .map(Layout::of)
                .unwrap_or_default();
            for place in layout
                .alternates
                .iter()
                .filter(|place| place.alternate == 0)
            {
                answer.extend(place.class);
                answer.push(0);
            }
        }
        stream.write_all(&answer)
    }

    fn import(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut wanted = [0; BUS_ID];
        stream.read_exact(&mut wanted)?;
        let name = wanted.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let plugged = self.reins.presence.get();
        let status = if name != MODEM_BUS_ID.as_bytes() || !plugged.present {
            STATUS_NO_DEVICE
        } else if plugged.exported {
            STATUS_BUSY
        } else {
            0
        };
        let mut answer = codec::op_header(OP_REP_IMPORT, status).to_vec();
        if status == 0 {
            answer.extend(self.exported().encode());
        }
        stream.write_all(&answer)?;
        if status == 0 {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(None)?;
            stream.set_write_timeout(None)?;
            let connection = Connection::new(OwnedFd::from(stream), self.recorder.clone())?;
            self.reins
                .order(Order::Connect(Upstream::UsbIp(Box::new(connection))));
        }
        Ok(())
    }
}
