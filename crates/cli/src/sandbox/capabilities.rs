//! Capabilities (capabilities(7)), and the one right that outlives them.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::identity::Identity;

/// Largest value of `RLIMIT_NICE`, which lets a thread have any nice value down to -20.
const ANY_NICE: u64 = 40;

/// The capabilities that the monitor keeps: interfaces, routes and addresses; the nodes, secret
/// files and directories of any user, and giving one to the driver; signals to the driver; the
/// descriptors of other processes, to name the program that holds the device; and acting as the
/// owner of a directory.
const MONITOR: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID);

/// Gives up every capability of the calling thread, for itself and for programs, and makes it another
/// user's, if one is given. The thread that moves packets may still have priority, because a limit
/// permits it. Where the limit cannot be raised, `CAP_SYS_NICE` stays.
pub(super) fn give_up(identity: Option<Identity>) {
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
    bound(CapabilitySet::empty());
    if let Some(identity) = identity {
        // Capabilities that are kept would be lost with root's user id.
        let _ = rustix::thread::set_keep_capabilities(true);
        if let Err(error) = identity.assume() {
            tracing::warn!("the driver keeps root's user id: {error}");
        }
        let _ = rustix::thread::set_keep_capabilities(false);
    }
    told(reduce(kept));
}

/// Gives up the capabilities that the monitor does not need, for itself and for the programs that
/// it starts.
pub(super) fn keep_for_monitor() {
    bound(MONITOR);
    told(reduce(MONITOR));
}

fn told(result: Result<(), Errno>) {
    if let Err(error) = result {
        tracing::warn!("capabilities are not given up: {error}");
    }
}

/// Removes all capabilities that are not kept from the bounding set. This takes CAP_SETPCAP;
/// without it `no_new_privs` keeps programs from them.
fn bound(kept: CapabilitySet) {
    for bit in 0..u64::BITS {
        let Some(one) = CapabilitySet::from_bits(1 << bit) else {
            continue;
        };
        let there = rustix::thread::capability_is_in_bounding_set(one) == Ok(true);
        if there && !kept.contains(one) {
            let _ = rustix::thread::remove_capability_from_bounding_set(one);
        }
    }
}

fn reduce(kept: CapabilitySet) -> Result<(), Errno> {
    let held = rustix::thread::capabilities(None)?;
    rustix::thread::clear_ambient_capability_set()?;
    // The change of the user id has removed the effective capabilities.
    let effective = held.permitted & kept;
    let sets = CapabilitySets {
        effective,
        permitted: effective,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}
