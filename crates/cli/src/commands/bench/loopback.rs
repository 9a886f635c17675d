//! NTBs alone: one thread builds them, another parses them.
//!
//! Every payload byte is copied into an NTB and out of it again, as the read and the write of a TUN
//! interface do, and no byte in between. NTBs go back and forth between the threads as USB
//! transfers do, as many as are kept in flight. Without TUN interface, TCP and USB, the figures are
//! those of framing alone.

use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use uwwan_figures::Kind;
use uwwan_modem::Options;
use uwwan_modem::options::{Format, Padding, Placement, Table};
use uwwan_ncm::{Builder, Choices, Framing, Limits, NdpSize, NtbParameters, Receiver, Stream};

use super::link::{Amount, Direction, Link, SMALL, Test};
use super::outcome;
use crate::failure::{Failure, FailureKind};

/// Length of a packet of a stream in bytes.
const LARGE: usize = 1500;
/// Length of the IPv4 and UDP headers of a small packet in bytes.
const HEADERS: usize = 28;
/// Number of NTBs in flight unless another is chosen.
const IN_FLIGHT: usize = 8;
/// Greatest length of an NTB in bytes.
const LONGEST: u32 = 256 << 10;

/// A builder and a receiver of NTBs in one process.
pub struct Loopback {
    framing: Framing,
    in_flight: usize,
    ntbs: u64,
    datagrams: u64,
}

/// The buffer of an NTB, which the threads hand to each other, with the length of the NTB in bytes.
struct Transfer {
    bytes: Vec<u8>,
    length: usize,
}

impl Loopback {
    /// Returns a loopback with NTBs as the options choose them.
    pub fn new(options: &Options) -> Loopback {
        let parameters = NtbParameters {
            formats: 3,
            in_max: LONGEST,
            out_max: LONGEST,
            ..NtbParameters::FALLBACK
        };
        let usual = Choices::default();
        let block_size = options
            .block_size
            .map_or(usual.block_size, |size| size as usize);
        let choices = Choices {
            format: match options.ntb {
                Some(Format::Ntb32) => uwwan_ncm::Format::Ntb32,
                Some(Format::Ntb16) | None => uwwan_ncm::Format::Ntb16,
            },
            placement: match options.ndp {
                Some(Placement::Front) => uwwan_ncm::Placement::Front,
                Some(Placement::End) | None => uwwan_ncm::Placement::End,
            },
            ndp_size: match options.table {
                Some(Table::Full) => NdpSize::Full,
                Some(Table::Minimal) | None => NdpSize::Minimal,
            },
            padding: match options.padding {
                Some(Padding::Full) => uwwan_ncm::Padding::Full {
                    min_tx_pkt: block_size
                        .saturating_sub(3 * usual.max_packet_size)
                        .max(512),
                },
                Some(Padding::ZeroPacket) => uwwan_ncm::Padding::Never,
                Some(Padding::Short) | None => uwwan_ncm::Padding::ShortPacket,
            },
            block_size,
            ..usual
        };
        Loopback {
            framing: Framing::negotiate(&parameters, &choices),
            in_flight: options.in_flight.unwrap_or(IN_FLIGHT),
            ntbs: 0,
            datagrams: 0,
        }
    }

    /// Sends packets of `packet` bytes, in one NTB and in as many after it as `more` asks for.
    /// Returns the number of datagrams and of bytes that came out, and the time that this took.
    ///
    /// # Errors
    /// Fails when no packet fits into an NTB, or when other packets came out than went in.
    fn run(
        &mut self,
        packet: usize,
        mut more: impl FnMut() -> bool,
    ) -> Result<(u64, u64, Duration), Failure> {
        let (full_sender, full) = bounded::<Transfer>(self.in_flight);
        let (empty_sender, empty) = bounded::<Transfer>(self.in_flight);
        for _ in 0..self.in_flight {
            let bytes = vec![0; self.framing.max_ntb];
            let _ = empty_sender.send(Transfer { bytes, length: 0 });
        }
        let source = vec![0x45; packet];
        let framing = self.framing;
        let begun = Instant::now();
        let (sent, ntbs, datagrams, bytes) = std::thread::scope(|scope| {
            let taking = scope.spawn(move || {
                let mut receiver = Receiver::new(Limits::default());
                let mut sink = vec![0; packet];
                let (mut ntbs, mut datagrams, mut bytes) = (0, 0, 0);
                while let Ok(ntb) = full.recv() {
                    ntbs += 1;
                    let transfer = &ntb.bytes[..ntb.length];
                    receiver.receive(transfer, |datagram| {
                        let payload = &transfer[datagram.range];
                        if let Some(room) = sink.get_mut(..payload.len()) {
                            room.copy_from_slice(payload);
                        }
                        std::hint::black_box(&mut sink);
                        datagrams += 1;
                        bytes += payload.len() as u64;
                    });
                    let _ = empty_sender.send(ntb);
                }
                (ntbs, datagrams, bytes)
            });
            let mut builder = Builder::new(framing);
            let mut sent = 0;
            // Even when the machine stands still for the whole time, one NTB is carried.
            while let Ok(mut ntb) = empty.recv() {
                while let Ok(slot) = builder.place(Stream::Ips(0), packet) {
                    let at = slot.offset;
                    ntb.bytes[at..at + packet].copy_from_slice(std::hint::black_box(&source));
                    builder.commit(slot, packet);
                    sent += 1;
                }
                ntb.length = builder.finish(&mut ntb.bytes).length;
                if full_sender.send(ntb).is_err() || !more() {
                    break;
                }
            }
            drop(full_sender);
            let (ntbs, datagrams, bytes) = taking.join().unwrap_or_default();
            (sent, ntbs, datagrams, bytes)
        });
        self.ntbs += ntbs;
        self.datagrams += datagrams;
        if sent == 0 {
            return Err(
                Failure::new(FailureKind::Other, "not one packet fits into an NTB")
                    .at(format!("{packet} bytes"))
                    .next("choose larger NTBs"),
            );
        }
        if (datagrams, bytes) != (sent, sent * packet as u64) {
            return Err(Failure::new(
                FailureKind::Other,
                "other packets came out of the NTBs than went in",
            )
            .because(format!(
                "{datagrams} packets with {bytes} bytes, of {sent} with {packet} bytes each"
            )));
        }
        Ok((datagrams, bytes, begun.elapsed()))
    }
}

/// Returns a function that returns `true` until `time` is over.
fn lasting(time: Duration) -> impl FnMut() -> bool {
    let begun = Instant::now();
    move || begun.elapsed() < time
}

/// Returns the name of a test on a loopback, which has neither TCP nor directions.
pub fn label(test: Test) -> &'static str {
    if test.is_small() {
        "packets of 92 bytes"
    } else {
        "packets of 1500 bytes"
    }
}

impl Link for Loopback {
    fn label(&self, test: Test) -> &'static str {
        label(test)
    }

    fn stream(&mut self, _: Direction, time: Duration) -> Result<Amount, Failure> {
        let (_, count, time) = self.run(LARGE, lasting(time))?;
        Ok(Amount { count, time })
    }

    fn small(&mut self, _: Direction, time: Duration) -> Result<Option<Amount>, Failure> {
        let (count, _, time) = self.run(HEADERS + SMALL, lasting(time))?;
        Ok(Some(Amount { count, time }))
    }

    fn end(self: Box<Self>) -> Result<Vec<(Kind, f64)>, Failure> {
        let filling = outcome::filling("", self.datagrams, self.ntbs);
        Ok(filling.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        // An NDP in front takes room for as many datagrams as there may be.
        for (ntb, ndp, fit) in [
            (Format::Ntb16, Placement::End, 4),
            (Format::Ntb32, Placement::Front, 3),
        ] {
            let options = Options {
                ntb: Some(ntb),
                ndp: Some(ndp),
                block_size: Some(4096),
                in_flight: Some(1),
                ..Options::default()
            };
            let mut loopback = Loopback::new(&options);
            // There are more NTBs than are in flight, so that buffers come back and are filled
            // again.
            let mut left = 5;
            let more = || {
                left -= 1;
                left > 0
            };
            let (datagrams, bytes, _) = loopback.run(1000, more).unwrap();
            assert_eq!((datagrams, bytes), (5 * fit, 5 * fit * 1000), "{ntb} {ndp}");
            let filling = (loopback.ntbs, loopback.datagrams);
            assert_eq!(filling, (5, 5 * fit), "{ntb} {ndp}");
        }
    }

    #[test]
    fn a_moment_is_enough_for_an_ntb() {
        let mut loopback = Loopback::new(&Options::default());
        let stream = loopback.stream(Direction::Up, Duration::ZERO).unwrap();
        assert!(stream.count >= LARGE as u64);
        assert_eq!(stream.count, loopback.datagrams * LARGE as u64);
        let before = loopback.datagrams;
        let small = loopback
            .small(Direction::Up, Duration::ZERO)
            .unwrap()
            .unwrap();
        assert!(small.count >= 1);
        assert_eq!(small.count, loopback.datagrams - before);
        assert_eq!(loopback.ntbs, 2);
    }

    #[test]
    fn what_fits_into_no_ntb_is_told() {
        let options = Options {
            block_size: Some(2048),
            ..Options::default()
        };
        let failure = Loopback::new(&options).run(4000, || false).unwrap_err();
        assert!(
            failure.to_string().contains("fits into an NTB"),
            "{failure}"
        );
    }
}
