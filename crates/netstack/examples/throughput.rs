//! Measures how fast the two stacks move TCP data to each other within one process:
//! `cargo run --release -p uwwan-netstack --example throughput [bytes]`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use uwwan_netstack::client::{Client, ClientConfig};
use uwwan_netstack::memory;
use uwwan_netstack::server::{DEFAULT_V4, Server, ServerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(1 << 30), |text| text.parse())?;
    let (far, near) = memory::pair(memory::Capacity::default());
    let server = Server::spawn(ServerConfig::default(), far)?;
    let config = ClientConfig {
        addresses: vec![("10.64.0.2".parse()?, 30)],
        ..ClientConfig::default()
    };
    let client = Client::start(config, near)?;
    let patience = Duration::from_secs(10);
    let mut buffer = vec![0; 256 << 10];

    let rtts: Result<Vec<_>, _> = (0..100)
        .map(|_| client.ping(DEFAULT_V4.into(), 56, patience))
        .collect();
    let mut rtts = rtts?;
    rtts.sort();
    println!(
        "ping: median {:?} over {}",
        rtts[rtts.len() / 2],
        rtts.len()
    );

    let mut stream = client.connect(SocketAddr::new(DEFAULT_V4.into(), 80), patience)?;
    let start = Instant::now();
    write!(
        stream,
        "GET /bytes/{bytes} HTTP/1.1\r\nConnection: close\r\n\r\n"
    )?;
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            length => received += length as u64,
        }
    }
    tell("down", received, start);

    let mut stream = client.connect(SocketAddr::new(DEFAULT_V4.into(), 9), patience)?;
    let start = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let length = buffer.len().min(usize::try_from(left)?);
        stream.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    stream.shutdown_write();
    stream.read_to_end(&mut Vec::new())?;
    tell("up", bytes, start);
    println!("{:?}", server.stop());
    Ok(())
}

fn tell(direction: &str, bytes: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{direction}: {bytes} bytes, {:.2} Gbit/s",
        bytes as f64 * 8e-9 / seconds
    );
}
