//! The far machine is a network namespace of its own, in which a thread serves the wishes of
//! [`super::near`]. Its interface may lead to an emulated modem or to a cable; this file does not
//! depend on which.
//!
//! A connection starts with one byte, which names a [`Purpose`]. Each connection is served by a thread
//! of its own, so that round trips can be measured beside a stream.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::bounded;
use uwwan_tun::namespace;

use super::link::SMALL;
use crate::commands::network::STALL;
use crate::failure::{Failure, FailureKind};

/// TCP port at which wishes are accepted.
pub const PORT: u16 = 5201;
/// UDP port at which small packets are counted.
pub const SINK_PORT: u16 = 5202;
/// Number of bytes that are read or written at once.
pub const CHUNK: usize = 128 * 1024;
/// Interval at which a waiting thread checks whether it is to end.
const PULSE: Duration = Duration::from_millis(20);

/// The purpose of a connection, which its first byte names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The far machine sends until the connection ends.
    Download = b'D',
    /// The far machine receives until the sender has no more, then answers with the number of bytes
    /// as big-endian `u64`.
    Upload = b'U',
    /// The far machine sends small packets to the UDP port that follows as big-endian `u16`, until
    /// the connection ends.
    Packets = b'P',
    /// The far machine answers with the number of small packets so far as big-endian `u64`.
    Count = b'C',
}

/// The far machine, which ends when it is dropped.
pub struct Far {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
    /// Open connections, which are shut down at the end.
    open: Mutex<Vec<TcpStream>>,
}

/// The object that `furnish` makes in the namespace for [`Far::start`]: a part that is handed out,
/// and a part that lives there as long as the far machine.
pub struct Inside<T> {
    /// The part that [`Far::start`] returns.
    pub gift: T,
    /// The part that is dropped when the far machine ends.
    pub kept: Box<dyn std::any::Any + Send>,
}

impl Far {
    /// Starts the far machine. `furnish` is called in its namespace, to make interfaces there.
    ///
    /// # Errors
    /// Fails when a namespace, a thread or a socket cannot be made, and with the error of
    /// `furnish`.
    pub fn start<T: Send + 'static>(
        furnish: impl FnOnce() -> Result<Inside<T>, uwwan_tun::Error> + Send + 'static,
    ) -> Result<(Far, T), Failure> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            packets: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
        });
        let (sender, ready) = bounded(1);
        let inside = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("far-machine".into())
            .spawn(move || {
                let begun = namespace::enter_alone()
                    .and_then(|()| furnish())
                    .map_err(|error| refused(&error))
                    .and_then(|room| {
                        Ok((room, Sockets::open().map_err(|error| no_sockets(&error))?))
                    });
                match begun {
                    Ok((room, sockets)) => {
                        let _kept = room.kept;
                        let _ = sender.send(Ok(room.gift));
                        sockets.serve(&inside);
                    }
                    Err(failure) => {
                        let _ = sender.send(Err(failure));
                    }
                }
            })
            .map_err(|error| {
                Failure::new(FailureKind::Host, "cannot start a thread").because(error)
            })?;
        let far = Far {
            shared,
            thread: Some(thread),
        };
        let gift = ready
            .recv()
            .unwrap_or_else(|_| Err(Failure::new(FailureKind::Host, "the far machine has died")))?;
        Ok((far, gift))
    }
}

/// Returns an error of a namespace or an interface as a failure of the program.
pub fn refused(error: &uwwan_tun::Error) -> Failure {
    Failure::new(FailureKind::Host, format!("cannot {}", error.what))
        .because(&error.why)
        .next(error.next.clone())
}

fn no_sockets(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Host, "the far machine cannot listen").because(error)
}

impl Drop for Far {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sockets of the far machine. They belong to the namespace of the thread that opens them.
struct Sockets {
    listener: TcpListener,
    sink: UdpSocket,
    source: UdpSocket,
}

impl Sockets {
    fn open() -> io::Result<Sockets> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let listener = TcpListener::bind((any, PORT))?;
        listener.set_nonblocking(true)?;
        let sink = UdpSocket::bind((any, SINK_PORT))?;
        sink.set_read_timeout(Some(PULSE))?;
        Ok(Sockets {
            listener,
            sink,
            source: UdpSocket::bind((any, 0))?,
        })
    }

    /// Serves connections until the far machine is to end.
    fn serve(&self, shared: &Shared) {
        std::thread::scope(|scope| {
            scope.spawn(|| sink(&self.sink, shared));
            while !shared.stop.load(Ordering::Relaxed) {
                match self.listener.accept() {
                    Ok((stream, peer)) => {
                        shared.keep(&stream);
                        scope.spawn(move || {
                            // The other end of the connection notices that it has ended early.
                            let _ = grant(stream, peer, &self.source, shared);
                        });
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
            for stream in shared.lock().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stream: &TcpStream) {
        if let Ok(again) = stream.try_clone() {
            self.lock().push(again);
        }
    }
}

/// Counts the small packets that arrive, until the far machine is to end.
fn sink(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 2048];
    while !shared.stop.load(Ordering::Relaxed) {
        if socket.recv(&mut buffer).is_ok() {
            shared.packets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads the purpose of a connection and serves it.
fn grant(
    mut stream: TcpStream,
    peer: SocketAddr,
    source: &UdpSocket,
    shared: &Shared,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_nodelay(true)?;
    let mut purpose = [0];
    stream.read_exact(&mut purpose)?;
    match purpose[0] {
        b'D' => {
            let chunk = vec![0x55; CHUNK];
            loop {
                stream.write_all(&chunk)?;
            }
        }
        b'U' => {
            let mut chunk = vec![0; CHUNK];
            let mut total = 0u64;
            loop {
                match stream.read(&mut chunk)? {
                    0 => break,
                    count => total += count as u64,
                }
            }
            stream.write_all(&total.to_be_bytes())
        }
        b'P' => {
            let mut port = [0; 2];
            stream.read_exact(&mut port)?;
            let target = SocketAddr::new(peer.ip(), u16::from_be_bytes(port));
            stream.set_nonblocking(true)?;
            let mut end = [0];
            while !shared.stop.load(Ordering::Relaxed) {
                for _ in 0..64 {
                    // A full queue loses packets, as any network may.
                    let _ = source.send_to(&[0x55; SMALL], target);
                }
                match stream.read(&mut end) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => break,
                }
            }
            Ok(())
        }
        b'C' => {
            let count = shared.packets.load(Ordering::Relaxed);
            stream.write_all(&count.to_be_bytes())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
