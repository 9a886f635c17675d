//! Checks of descriptors that another program hands over as those of a TUN interface.

use std::os::fd::{AsFd, OwnedFd};

use crate::device::DRIVER;
use crate::error::{Error, ErrorKind};
use crate::ffi;
use crate::queues::QUEUES;
use crate::waiting::NoWait;

/// Device number of the TUN driver (`Documentation/admin-guide/devices.txt`).
const NUMBER: (u32, u32) = (10, 200);
/// Flags of a TUN interface (`linux/if_tun.h`).
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

/// Checks that descriptors of unknown origin are queues of one TUN interface, and makes them
/// non-blocking. `header` tells whether a virtio header must stand in front of each packet. Returns
/// the interface's name, of which only printable ASCII is left, and how calls on the descriptors
/// are kept from waiting.
///
/// The program that has handed them over still has them, too, and may make them blocking again.
/// Where the kernel has no calls that are non-blocking by themselves, only a `trusted` program may
/// therefore hand descriptors over.
///
/// No other call is made on a descriptor before it is known to be one of the TUN driver, whose
/// calls do not block then.
///
/// # Errors
/// [`ErrorKind::Invalid`] for any other descriptors.
pub fn check(
    descriptors: &[OwnedFd],
    header: bool,
    trusted: bool,
) -> Result<(String, NoWait), Error> {
    let invalid = |why: &str| {
        Error::new(
            ErrorKind::Invalid,
            "take over an interface of another program",
            why,
            format!("hand over what was opened at {DRIVER}, with IFF_TUN and IFF_NO_PI"),
        )
    };
    // There may be one descriptor for each queue, and one to write through.
    if descriptors.is_empty() || descriptors.len() > QUEUES + 1 {
        return Err(invalid("none or too many descriptors came with it"));
    }
    let mut first: Option<[u8; 16]> = None;
    for descriptor in descriptors {
        let found = rustix::fs::fstat(descriptor).map_err(|error| invalid(&error.to_string()))?;
        let device = rustix::fs::FileType::from_raw_mode(found.st_mode).is_char_device();
        let number = (
            rustix::fs::major(found.st_rdev),
            rustix::fs::minor(found.st_rdev),
        );
        if !device || number != NUMBER {
            return Err(invalid("it is no descriptor of the TUN driver"));
        }
        let interface =
            ffi::interface(descriptor.as_fd()).map_err(|error| invalid(&error.to_string()))?;
        let wanted = IFF_TUN | IFF_NO_PI | if header { IFF_VNET_HDR } else { 0 };
        if interface.flags & (IFF_TUN | IFF_NO_PI | IFF_VNET_HDR) != wanted {
            return Err(invalid("its packets have another form"));
        }
        if *first.get_or_insert(interface.name) != interface.name {
            return Err(invalid("the descriptors are of several interfaces"));
        }
        rustix::io::ioctl_fionbio(descriptor, true).map_err(|error| invalid(&error.to_string()))?;
    }
    let waiting = match descriptors.first().is_some_and(NoWait::has_calls) {
        true => NoWait::Call,
        false if trusted => NoWait::File,
        false => {
            return Err(Error::new(
                ErrorKind::Invalid,
                "take over an interface of another program",
                "this kernel cannot keep the program from holding all data sessions up",
                "ask the owner of the running uwwan to start it; Linux 6.4 and later can",
            ));
        }
    };
    let name = first.unwrap_or_default();
    let name = name.iter().take_while(|byte| **byte != 0);
    let name = name
        .filter(|byte| byte.is_ascii_graphic())
        .map(|byte| char::from(*byte))
        .collect();
    Ok((name, waiting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_interface_is_refused() {
        let refused = |descriptors: &[OwnedFd], part: &str| {
            let error = check(descriptors, true, true).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(&[], "none");
        let (reader, writer) = std::io::pipe().unwrap();
        refused(&[reader.into()], "no descriptor of the TUN driver");
        refused(&[writer.into()], "no descriptor of the TUN driver");
        let null = std::fs::File::open("/dev/null").unwrap();
        refused(&[null.into()], "no descriptor of the TUN driver");
        let many = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let many: Vec<OwnedFd> = (0..=QUEUES + 1).map(|_| many()).collect();
        refused(&many, "too many");
        // This descriptor belongs to no interface yet. Opening it takes no privilege on most
        // machines.
        if let Ok(bare) = std::fs::File::options().read(true).write(true).open(DRIVER) {
            refused(&[bare.into()], "");
        }
    }
}
