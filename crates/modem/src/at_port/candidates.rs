//! The functions of a modem that may take AT commands: its serial functions, and the encapsulated
//! commands of its network function.

use std::sync::Arc;

use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::Device;
use uwwan_usb::functions::{self, AtPipe, SerialFunction};

use super::Role;
use super::channel::Channel;
use super::pipe::Pipe;
use super::serial::SerialPort;
use crate::failure::Failure;
use crate::quirks::Quirk;

/// Function of the device that may take AT commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A serial function.
    Serial(SerialFunction),
    /// Encapsulated commands.
    Pipe {
        /// Place of the network function that takes them.
        pipe: AtPipe,
        /// Whether the driver of the network function has claimed the interface already.
        claimed: bool,
    },
}

impl Candidate {
    /// Returns `bConfigurationValue` of the configuration that the candidate is in.
    pub(crate) fn configuration(&self) -> u8 {
        match self {
            Self::Serial(function) => function.configuration,
            Self::Pipe { pipe, .. } => pipe.configuration,
        }
    }

    /// Returns the number of the interface that takes the candidate's class requests.
    pub(crate) fn interface(&self) -> u8 {
        match self {
            Self::Serial(function) => function.interface,
            Self::Pipe { pipe, .. } => pipe.interface,
        }
    }

    /// Returns the role of the candidate's interface.
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Serial(function) => Role::Serial(function.role),
            Self::Pipe { .. } => Role::Pipe,
        }
    }
}

/// Opens the channel to a candidate.
///
/// # Errors
/// As [`SerialPort::open`] and [`Pipe::open`].
pub(super) fn open(
    device: &Arc<dyn Device>,
    candidate: &Candidate,
) -> Result<Box<dyn Channel>, Failure> {
    Ok(match candidate {
        Candidate::Serial(function) => Box::new(SerialPort::open(device, function)?),
        Candidate::Pipe { pipe, claimed } => {
            Box::new(Pipe::open(device, pipe.interface, *claimed)?)
        }
    })
}

/// Returns the interfaces of a configuration to try for AT commands, in order: the one that the
/// quirk names, the serial ones by likelihood, then the pipe of a network function. `claimed` is the
/// control interface of the network function that the caller drives.
pub(crate) fn candidates(
    descriptors: &Descriptors,
    configuration: u8,
    quirk: &Quirk,
    claimed: Option<u8>,
) -> Vec<Candidate> {
    let mut candidates = functions::at_candidates(descriptors, configuration);
    if let Some(named) = quirk.at_port {
        let named = functions::serial(descriptors)
            .into_iter()
            .find(|port| (port.configuration, port.interface) == (configuration, named));
        if let Some(named) = named {
            candidates.retain(|port| port.interface != named.interface);
            candidates.insert(0, named);
        }
    }
    let mbim = functions::mbim(descriptors);
    // An interface with two alternate roles, NCM and MBIM, takes no AT commands while it is MBIM
    // and belongs to the MBIM driver.
    let is_mbim = |pipe: &AtPipe| {
        let place = (pipe.configuration, pipe.interface);
        let mut mbim = mbim.iter();
        mbim.any(|function| (function.configuration, function.control_interface) == place)
    };
    let pipe = functions::at_pipe(descriptors, configuration);
    let pipe = pipe.map(|pipe| (pipe, claimed == Some(pipe.interface)));
    let pipe = pipe.filter(|(pipe, claimed)| *claimed || !is_mbim(pipe));
    candidates
        .into_iter()
        .map(Candidate::Serial)
        .chain(pipe.map(|(pipe, claimed)| Candidate::Pipe { pipe, claimed }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quirk_may_name_the_port() {
        let bytes =
            include_bytes!("../../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");
        let descriptors = Descriptors::from_sysfs(bytes);
        let tried = |quirk: &Quirk| -> Vec<u8> {
            candidates(&descriptors, 1, quirk, None)
                .iter()
                .map(Candidate::interface)
                .collect()
        };
        let usual = crate::quirks::DEFAULT;
        assert_eq!(
            tried(&usual),
            [2, 0, 4, 3],
            "the pipe of the network function last"
        );
        let named = |at_port| Quirk {
            at_port: Some(at_port),
            ..usual
        };
        assert_eq!(tried(&named(4)), [4, 2, 0, 3]);
        assert_eq!(
            tried(&named(5)),
            [5, 2, 0, 4, 3],
            "what its class speaks against"
        );
        assert_eq!(tried(&named(9)), [2, 0, 4, 3]);
    }
}
