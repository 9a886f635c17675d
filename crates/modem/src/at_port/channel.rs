//! The ways on which AT commands may reach a modem: its serial functions, and the encapsulated commands
//! of its network function.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use uwwan_usb::device::Device;
use uwwan_usb::functions::{AtPipe, SerialFunction};

use super::Role;
use super::pipe::Pipe;
use super::transport::{Incoming, Transport};
use crate::failure::Failure;

/// Way that may lead to a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A serial function.
    Serial(SerialFunction),
    /// Encapsulated commands.
    Pipe {
        /// The function's place.
        pipe: AtPipe,
        /// Whether the interface is claimed already, by what drives the function.
        claimed: bool,
    },
}

impl Candidate {
    /// Returns `bConfigurationValue` of its configuration.
    pub(crate) fn configuration(&self) -> u8 {
        match self {
            Self::Serial(function) => function.configuration,
            Self::Pipe { pipe, .. } => pipe.configuration,
        }
    }

    /// Returns the number of the interface that takes its class requests.
    pub(crate) fn interface(&self) -> u8 {
        match self {
            Self::Serial(function) => function.interface,
            Self::Pipe { pipe, .. } => pipe.interface,
        }
    }

    /// Returns its role.
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Serial(function) => Role::Serial(function.role),
            Self::Pipe { .. } => Role::Pipe,
        }
    }
}

/// A way that is open.
pub(super) enum Channel {
    Serial(Transport),
    Pipe(Pipe),
}

impl Channel {
    /// Opens a way.
    ///
    /// # Errors
    /// As [`Transport::open`] and [`Pipe::open`].
    pub(super) fn open(device: &Arc<dyn Device>, candidate: &Candidate) -> Result<Self, Failure> {
        Ok(match candidate {
            Candidate::Serial(function) => Self::Serial(Transport::open(device, function)?),
            Candidate::Pipe { pipe, claimed } => {
                Self::Pipe(Pipe::open(device, pipe.interface, *claimed)?)
            }
        })
    }

    /// Sends bytes and waits until the device has taken them.
    ///
    /// # Errors
    /// The reason in words.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Serial(transport) => transport.send(bytes),
            Self::Pipe(pipe) => pipe.send(bytes),
        }
    }

    /// Returns the channel of what comes in.
    pub(super) fn incoming(&self) -> &Receiver<Incoming> {
        match self {
            Self::Serial(transport) => &transport.incoming,
            Self::Pipe(pipe) => &pipe.incoming,
        }
    }

    /// Takes the news that the network function has a response to an encapsulated command.
    pub(super) fn response_available(&self) {
        if let Self::Pipe(pipe) = self {
            pipe.response_available();
        }
    }
}
