//! Streams in both directions, every byte of which is verified.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use uwwan_netstack::pattern;
use uwwan_netstack::server::{DEFAULT_V4, HTTP_PORT};

use crate::gate::Gate;
use crate::run::{Chance, Run};

/// Time without a byte after which a stream has failed. An outage is far shorter, but a sender that
/// has met several in a row waits for up to a minute before it tries again, and does so more than
/// once.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two bytes that keep a stream alive. The far side ends a connection from which it
/// has received nothing for a minute, and its reset may be lost.
const ALIVE: Duration = Duration::from_secs(5);
/// Sizes of streams in bytes: the least, and the most that is added to it.
const SIZES: (u64, u64) = (1000, 3_000_000);

/// Number of bytes that have arrived unharmed.
#[derive(Default)]
pub struct Arrived {
    pub down: AtomicU64,
    pub up: AtomicU64,
}

/// Downloads or uploads one stream after another.
pub fn work(run: &Run, seed: u64, down: bool) {
    let mut chance = Chance::new(seed);
    while let Some(_busy) = run.gate.pass() {
        let bytes = SIZES.0 + chance.below(SIZES.1);
        let begin = Instant::now();
        let (name, count, result) = match down {
            true => ("a download", &run.arrived.down, download(bytes, &run.gate)),
            false => ("an upload", &run.arrived.up, upload(bytes)),
        };
        match result {
            Ok(()) => {
                count.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(error) => {
                let seconds = begin.elapsed().as_secs_f64();
                run.failed(format!(
                    "{name} of {bytes} bytes after {seconds:.1} s: {error}"
                ));
            }
        }
    }
}

fn connect() -> io::Result<TcpStream> {
    let target = SocketAddr::from((DEFAULT_V4, HTTP_PORT));
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect_timeout(&target, PATIENCE) {
            Ok(stream) => break stream,
            // Address and route have been removed and are not there again yet.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NetworkUnreachable
                        | ErrorKind::HostUnreachable
                        | ErrorKind::AddrNotAvailable
                ) && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, ALIVE)?;
    sockopt::set_tcp_keepintvl(&stream, ALIVE)?;
    sockopt::set_tcp_keepcnt(&stream, (PATIENCE.as_secs() / ALIVE.as_secs()) as u32)?;
    Ok(stream)
}

/// Reads up to the empty line, which ends the head of an answer of success.
fn head(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&head))),
    }
}

fn download(bytes: u64, gate: &Gate) -> io::Result<()> {
    let mut stream = connect()?;
    let ask = format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: far\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes())?;
    head(&mut stream)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 if received == bytes => return Ok(()),
            0 => return Err(io::Error::other(format!("cut off after {received}"))),
            count => {
                if let Some(at) = pattern::mismatch(received, &buffer[..count]) {
                    let at = received + at as u64;
                    return Err(io::Error::other(format!("byte {at} is wrong")));
                }
                received += count as u64;
            }
        }
        // A reader that is late now and then lets the queues on the path fill.
        if received.is_multiple_of(7) {
            gate.rest(Duration::from_millis(2));
        }
    }
}

/// Uploads. The far side must report the same number of bytes and the same checksum.
fn upload(bytes: u64) -> io::Result<()> {
    let mut stream = connect()?;
    let ask = format!(
        "PUT /upload HTTP/1.1\r\nHost: far\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(ask.as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    let mut sum = crc32fast::Hasher::new();
    let mut sent = 0;
    while sent < bytes {
        let length = (bytes - sent).min(buffer.len() as u64) as usize;
        pattern::fill(sent, &mut buffer[..length]);
        sum.update(&buffer[..length]);
        stream.write_all(&buffer[..length])?;
        sent += length as u64;
    }
    head(&mut stream)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let expected = format!("{{\"bytes\":{bytes},\"crc32\":\"{:08x}\"}}", sum.finalize());
    match answer.trim() == expected {
        true => Ok(()),
        false => Err(io::Error::other(format!("{answer} in place of {expected}"))),
    }
}
