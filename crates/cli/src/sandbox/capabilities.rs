//! Capabilities (capabilities(7)), and the one right that outlives them.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Largest value of `RLIMIT_NICE`, which lets a thread have any nice value down to -20.
const ANY_NICE: u64 = 40;

/// Gives up every capability of the calling thread, for itself and for programs. The thread that moves
/// packets may still go first: a limit allows it. Where the limit cannot be had, `CAP_SYS_NICE` stays.
pub(super) fn give_up() {
    let any = Rlimit {
        current: Some(ANY_NICE),
        maximum: Some(ANY_NICE),
    };
    let kept = match rustix::process::setrlimit(Resource::Nice, any) {
        Ok(()) => CapabilitySet::empty(),
        Err(error) => {
            tracing::debug!("nice values are not allowed by a limit: {error}");
            CapabilitySet::SYS_NICE
        }
    };
    if let Err(error) = reduce(kept) {
        tracing::warn!("capabilities are not given up: {error}");
    }
}

fn reduce(kept: CapabilitySet) -> Result<(), Errno> {
    let held = rustix::thread::capabilities(None)?;
    rustix::thread::clear_ambient_capability_set()?;
    for bit in 0..u64::BITS {
        let Some(one) = CapabilitySet::from_bits(1 << bit) else {
            continue;
        };
        // This takes CAP_SETPCAP; without it `no_new_privs` keeps programs from what is left.
        if rustix::thread::capability_is_in_bounding_set(one) == Ok(true) {
            let _ = rustix::thread::remove_capability_from_bounding_set(one);
        }
    }
    let effective = held.effective & kept;
    let sets = CapabilitySets {
        effective,
        permitted: effective,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}
