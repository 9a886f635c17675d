//! Upper bounds that no modem can beat: a cable (veth) in its place, and the same bytes merely
//! copied.

use std::time::{Duration, Instant};

use uwwan_tun::veth::Veth;
use uwwan_tun::{Configuration, namespace};

use super::emulated::{far_address, plan};
use super::far::{Far, Inside, refused};
use super::link::{Amount, Direction, Link, Test};
use super::loopback;
use super::near::{self, Near};
use crate::failure::Failure;

/// Name of the cable's end in the namespace of this process.
const NEAR: &str = "near0";
const FAR: &str = "far0";

/// A veth pair that leads to the far machine, with every offload that the kernel has.
pub struct Cable {
    // Fields are dropped in this order: the addresses, then the cable, then the far machine.
    _addresses: [Configuration; 1],
    _cable: Veth,
    _far: Far,
}

impl Cable {
    /// Starts the far machine, lays the cable to it and gives both ends their addresses.
    ///
    /// # Errors
    /// Fails when the kernel gives no namespace or no veth pair, or when an end cannot be
    /// configured.
    pub fn lay() -> Result<Cable, Failure> {
        let here = namespace::current().map_err(|error| refused(&error))?;
        let (far, ()) = Far::start(move || {
            // The cable is laid from the far namespace, so that it disappears with that one at the
            // latest.
            let cable = Veth::lay(FAR, &here, NEAR)?;
            let addresses = Configuration::apply(plan(false), &cable)?;
            Ok(Inside {
                gift: (),
                kept: Box::new((addresses, cable)),
            })
        })?;
        let cable = Veth::find(NEAR).map_err(|error| refused(&error))?;
        let addresses =
            Configuration::apply(plan(true), &cable).map_err(|error| refused(&error))?;
        Ok(Cable {
            _addresses: [addresses],
            _cable: cable,
            _far: far,
        })
    }
}

impl Link for Cable {
    fn stream(&mut self, direction: Direction, time: Duration) -> Result<Amount, Failure> {
        near::stream(&Near::Kernel, far_address(), direction, time)
    }

    fn small(&mut self, direction: Direction, time: Duration) -> Result<Option<Amount>, Failure> {
        near::small(far_address(), direction, time).map(Some)
    }

    fn ping(
        &mut self,
        load: Option<Direction>,
        time: Duration,
    ) -> Result<Option<Vec<Duration>>, Failure> {
        near::ping(&Near::Kernel, far_address(), load, time).map(Some)
    }
}

/// Two buffers, larger than the caches of a processor, between which one thread copies bytes.
pub struct Copying {
    /// Whether the figures stand beside those of NTBs alone, instead of beside those of a link.
    ntbs: bool,
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Size of each buffer in bytes.
const COPIED: usize = 64 << 20;
/// Number of bytes that are copied at once, as many as one read of a socket may take.
const PIECE: usize = 64 << 10;

impl Copying {
    /// Allocates both buffers and touches all of their memory. With `ntbs`, the figures stand
    /// beside those of NTBs alone.
    pub fn new(ntbs: bool) -> Copying {
        Copying {
            ntbs,
            from: vec![0x55; COPIED],
            to: vec![0xaa; COPIED],
        }
    }
}

impl Link for Copying {
    fn label(&self, test: Test) -> &'static str {
        match (self.ntbs, test) {
            (true, _) => loopback::label(test),
            (false, Test::Up) => "TCP up",
            (false, _) => "TCP down",
        }
    }

    fn stream(&mut self, _: Direction, time: Duration) -> Result<Amount, Failure> {
        let (mut count, begun) = (0, Instant::now());
        while begun.elapsed() < time {
            for (from, to) in self.from.chunks(PIECE).zip(self.to.chunks_mut(PIECE)) {
                std::hint::black_box(&mut *to).copy_from_slice(std::hint::black_box(from));
                count += from.len() as u64;
            }
        }
        Ok(Amount {
            count,
            time: begun.elapsed(),
        })
    }

    fn small(&mut self, _: Direction, _: Duration) -> Result<Option<Amount>, Failure> {
        Ok(None)
    }
}
