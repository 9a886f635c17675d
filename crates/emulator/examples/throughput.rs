//! Measures how fast the device model itself is: NTBs in both directions through the in-process
//! backend, with a network behind it that takes and gives packets at no cost. Run it with
//! `--release`.

use std::time::{Duration, Instant};

use uwwan_emulator::{Emulator, FarSide, Network};
use uwwan_ncm::{Builder, Choices, Framing, Limits, NtbParameters, Receiver, Stream};
use uwwan_usb::device::{Device, Setup};

const PACKET: usize = 1500;
const RUN: Duration = Duration::from_secs(2);

/// A network that takes every packet and always has one.
struct Endless;

impl Network for Endless {
    fn send(&mut self, _packet: &[u8]) -> bool {
        true
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        let packet = room.get_mut(..PACKET)?;
        packet[..4].copy_from_slice(&[0x45, 0, 5, 220]);
        packet[16..20].copy_from_slice(&[10, 169, 198, 77]);
        Some(PACKET)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::new(
        "settle_ms=0,host_drivers=none,start_configuration=3".parse()?,
        FarSide::Network(Box::new(Endless)),
    )?;
    let backend = emulator.backend();
    let device = backend.open(&backend.devices()?[0])?;
    device.claim(1)?;
    device.set_alternate_setting(1, 1)?;
    request(&*device, 0x86, &16384u32.to_le_bytes())?;
    // The commands are OPEN, and CONNECT of session 0 with IPv4.
    request(
        &*device,
        0,
        &[1, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0],
    )?;
    request(&*device, 0, &connect())?;

    println!("from the modem: {:.2} Gbit/s", receive(&*device)?);
    println!("to the modem:   {:.2} Gbit/s", send(&*device)?);
    let report = emulator.report();
    println!("violations: {}", report.total_violations());
    Ok(())
}

fn request(
    device: &dyn Device,
    request: u8,
    data: &[u8],
) -> Result<(), Box<dyn std::error::Error>> {
    let setup = Setup {
        request_type: 0x21,
        request,
        value: 0,
        index: 0,
    };
    Ok(device.control_out(setup, data, Duration::from_secs(1))?)
}

fn connect() -> Vec<u8> {
    let mut bytes = vec![3, 0, 0, 0, 108, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(uwwan_mbim::services::basic_connect::UUID.0);
    bytes.extend([12, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0]);
    for word in [0u32, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(uwwan_mbim::services::basic_connect::context_type::INTERNET.0);
    bytes
}

fn gigabits(bytes: usize, since: Instant) -> f64 {
    bytes as f64 * 8.0 / since.elapsed().as_secs_f64() / 1e9
}

fn receive(device: &dyn Device) -> Result<f64, Box<dyn std::error::Error>> {
    let mut queue = device.queue(0x81)?;
    for _ in 0..16 {
        let buffer = queue.allocate(16384);
        queue.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    let mut receiver = Receiver::new(Limits::default());
    let mut bytes = 0;
    let start = Instant::now();
    while start.elapsed() < RUN {
        let done = queue.next(Duration::from_secs(1)).ok_or("no completion")?;
        receiver.receive(done.buffer.filled(), |datagram| {
            bytes += datagram.range.len()
        });
        queue
            .submit(done.buffer)
            .map_err(|rejected| rejected.error)?;
    }
    Ok(gigabits(bytes, start))
}

fn send(device: &dyn Device) -> Result<f64, Box<dyn std::error::Error>> {
    let mut queue = device.queue(0x01)?;
    let parameters = NtbParameters {
        out_max: 16384,
        ..NtbParameters::FALLBACK
    };
    let mut builder = Builder::new(Framing::negotiate(&parameters, &Choices::default()));
    let mut spare: Vec<_> = (0..16).map(|_| queue.allocate(16384)).collect();
    for buffer in &mut spare {
        buffer.bytes_mut().fill(0);
    }
    let mut bytes = 0;
    let start = Instant::now();
    while start.elapsed() < RUN {
        let mut buffer = match spare.pop() {
            Some(buffer) => buffer,
            None => {
                let done = queue.next(Duration::from_secs(1)).ok_or("no completion")?;
                bytes += 10 * PACKET;
                done.buffer
            }
        };
        for _ in 0..10 {
            let slot = builder.place(Stream::Ips(0), PACKET)?;
            buffer.bytes_mut()[slot.offset..slot.offset + 4].copy_from_slice(&[0x45, 0, 5, 220]);
            builder.commit(slot, PACKET);
        }
        let finished = builder.finish(buffer.bytes_mut());
        buffer.set_len(finished.length);
        queue.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    Ok(gigabits(bytes, start))
}
