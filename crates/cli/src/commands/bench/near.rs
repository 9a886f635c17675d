//! The near machine, from which the far one is reached: the network namespace of this process, or the
//! built-in stack.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::far::{CHUNK, PORT, Purpose, SINK_PORT};
use super::link::{Amount, Direction, SMALL};
use uwwan_modem::host::Userspace;

use crate::commands::network::{Kernel, Network, STALL, Stream};
use crate::failure::{Failure, FailureKind};

/// Longest time for an echo reply.
const PING_TIME: Duration = Duration::from_secs(1);
/// Number of requests without any reply after which the test ends.
const PINGS_LOST: usize = 3;
/// Pause between a reply and the next request, so that a lone packet finds every thread asleep.
const PAUSE: Duration = Duration::from_millis(2);
/// Time after which a stream has taken up speed.
const RAMP: Duration = Duration::from_millis(100);

/// The network stack at the near end.
#[derive(Debug, Clone)]
pub enum Near {
    /// The kernel's stack, in the namespace of this process.
    Kernel,
    /// The built-in stack.
    Userspace(Userspace),
}

impl Near {
    fn network(&self) -> Box<dyn Network> {
        match self {
            Self::Kernel => Box::new(Kernel::default()),
            Self::Userspace(stack) => Box::new(stack.clone()),
        }
    }

    /// Connects to the far machine and names the purpose.
    fn connect(&self, far: IpAddr, purpose: Purpose) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.network().connect(SocketAddr::new(far, PORT))?;
        stream.write_all(&[purpose as u8])?;
        Ok(stream)
    }
}

fn number(stream: &mut dyn Stream) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn dead(what: &str) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| Failure::new(FailureKind::NoTraffic, format!("the {what} failed")).because(error)
}

/// Measures a TCP stream for `time`, and returns the payload bytes that arrived.
///
/// # Errors
/// Fails with [`FailureKind::NoTraffic`] when the connection fails.
pub fn stream(
    near: &Near,
    far: IpAddr,
    direction: Direction,
    time: Duration,
) -> Result<Amount, Failure> {
    match direction {
        Direction::Down => download(near, far, time, &mut || true).map_err(dead("download")),
        Direction::Up => upload(near, far, time, &mut || true).map_err(dead("upload")),
    }
}

fn download(
    near: &Near,
    far: IpAddr,
    time: Duration,
    go: &mut dyn FnMut() -> bool,
) -> io::Result<Amount> {
    let mut stream = near.connect(far, Purpose::Download)?;
    let mut chunk = vec![0; CHUNK];
    let (mut count, begun) = (0, Instant::now());
    while begun.elapsed() < time && go() {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => count += read as u64,
        }
    }
    Ok(Amount {
        count,
        time: begun.elapsed(),
    })
}

/// Sends a stream for `time` or until `go` returns `false`. Counts the bytes that arrived, and the
/// time until the far machine has reported their number.
fn upload(
    near: &Near,
    far: IpAddr,
    time: Duration,
    go: &mut dyn FnMut() -> bool,
) -> io::Result<Amount> {
    let mut stream = near.connect(far, Purpose::Upload)?;
    let chunk = vec![0x55; CHUNK];
    let begun = Instant::now();
    while begun.elapsed() < time && go() {
        stream.write_all(&chunk)?;
    }
    stream.end()?;
    let count = number(stream.as_mut())?;
    Ok(Amount {
        count,
        time: begun.elapsed(),
    })
}

/// Measures small UDP packets of the kernel's stack for `time`, and returns the number of those that arrived.
///
/// # Errors
/// Fails with [`FailureKind::NoTraffic`] when the far machine cannot be asked for its count.
pub fn small(far: IpAddr, direction: Direction, time: Duration) -> Result<Amount, Failure> {
    match direction {
        Direction::Down => packets_down(far, time),
        Direction::Up => packets_up(far, time),
    }
    .map_err(dead("test with small packets"))
}

fn packets_down(far: IpAddr, time: Duration) -> io::Result<Amount> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut stream = Near::Kernel.connect(far, Purpose::Packets)?;
    stream.write_all(&socket.local_addr()?.port().to_be_bytes())?;
    let mut buffer = [0; 2048];
    let (mut count, begun) = (0, Instant::now());
    while begun.elapsed() < time {
        if socket.recv(&mut buffer).is_ok() {
            count += 1;
        }
    }
    Ok(Amount {
        count,
        time: begun.elapsed(),
    })
}

fn packets_up(far: IpAddr, time: Duration) -> io::Result<Amount> {
    let arrived = || number(Near::Kernel.connect(far, Purpose::Count)?.as_mut());
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect((far, SINK_PORT))?;
    let before = arrived()?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        for _ in 0..64 {
            // A full queue loses packets, as any network may.
            let _ = socket.send(&[0x55; SMALL]);
        }
    }
    // The request for the count queues behind the packets.
    let count = arrived()?.saturating_sub(before);
    Ok(Amount {
        count,
        time: begun.elapsed(),
    })
}

/// Measures round trips for `time`, one after the other, with a stream beside them if `load` names
/// its direction.
///
/// # Errors
/// Fails when no request is answered, or when the stream beside them fails.
pub fn ping(
    near: &Near,
    far: IpAddr,
    load: Option<Direction>,
    time: Duration,
) -> Result<Vec<Duration>, Failure> {
    let Some(direction) = load else {
        return round_trips(near, far, time);
    };
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let mut go = || !over.load(std::sync::atomic::Ordering::Relaxed);
            let most = time + RAMP + STALL;
            match direction {
                Direction::Down => download(near, far, most, &mut go).map_err(dead("download")),
                Direction::Up => upload(near, far, most, &mut go).map_err(dead("upload")),
            }
        });
        std::thread::sleep(RAMP);
        let times = round_trips(near, far, time);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        let load = loading.join();
        let times = times?;
        load.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureKind::Host,
                "the load's thread has died",
            ))
        })?;
        Ok(times)
    })
}

fn round_trips(near: &Near, far: IpAddr, time: Duration) -> Result<Vec<Duration>, Failure> {
    let mut network = near.network();
    let (mut times, mut lost) = (Vec::new(), 0);
    let begun = Instant::now();
    for sequence in (0..=u16::MAX).cycle() {
        if begun.elapsed() >= time {
            break;
        }
        match network.ping(far, sequence, PING_TIME) {
            Ok(Some(trip)) => times.push(trip),
            Ok(None) => lost += 1,
            Err(error) => return Err(dead("echo request")(error)),
        }
        if times.is_empty() && lost >= PINGS_LOST {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if times.is_empty() {
        return Err(Failure::new(FailureKind::NoTraffic, "nothing comes back")
            .because(format!("{lost} echo requests were not answered")));
    }
    Ok(times)
}
