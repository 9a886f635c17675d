//! Access to the modem whose IPv6 is examined, and the reasons why it does not know its operator.

use std::fmt;

use serde::Serialize;
use uwwan_at::commands::Query;
use uwwan_at::commands::sim::{Pin, PinState};
use uwwan_at::dialogue::{Command, InvalidCommand};

use super::operator::Operator;
use crate::at_port::Answer;
use crate::failure::{Failure, FailureKind};

/// Access to one modem.
pub trait ModemAccess {
    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer at all.
    fn ask(&mut self, command: Command) -> Result<Answer, Failure>;

    /// Returns the operator of the SIM where it is known without AT commands: because the user has
    /// chosen it, or from the home provider over MBIM.
    fn operator(&mut self) -> Option<Operator>;

    /// Waits for a modem that is restarting until it has left the bus, has come back, is in the
    /// configuration with its MBIM function, and answers.
    ///
    /// # Errors
    /// [`Failure`] when the modem does not come back in time.
    fn come_back(&mut self) -> Result<(), Failure>;

    /// Reports the next step to the user.
    fn step(&mut self, what: &str);
}

/// Reason why the operator of a SIM is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoOperator {
    /// The SIM waits for its PIN.
    Pin,
    /// The SIM waits for its PUK.
    Puk,
    /// The SIM waits for another code, which has this name in `+CPIN`.
    Lock(String),
    /// The modem has no SIM, or the SIM does not answer.
    NoSim,
    /// The SIM does not report its IMSI.
    NoImsi,
    /// The IMSI has too few digits for an operator's code.
    ShortImsi,
    /// The modem does not report the reason.
    Untold,
}

impl fmt::Display for NoOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pin => "it waits for its PIN",
            Self::Puk => "it waits for its PUK",
            Self::Lock(lock) => return write!(f, "it waits for {lock}"),
            Self::NoSim => "there is no SIM, or it does not answer",
            Self::NoImsi => "the SIM does not tell its IMSI",
            Self::ShortImsi => "the IMSI is too short",
            Self::Untold => "it does not say",
        })
    }
}

impl Serialize for NoOperator {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl NoOperator {
    pub(super) fn failure(&self) -> Failure {
        let failure = impossible(format!("the SIM's operator is not known: {self}"));
        match self {
            Self::Pin => {
                failure.next("unlock the SIM: uwwan up --pin-file FILE, or uwwan at and AT+CPIN")
            }
            _ => failure,
        }
    }
}

/// Sends a command that the modem must accept, and returns its answer.
pub(super) fn must(modem: &mut dyn ModemAccess, command: Command) -> Result<Answer, Failure> {
    let line = command.line().to_owned();
    let answer = modem.ask(command)?;
    match answer.result {
        Ok(()) => Ok(answer),
        Err(refusal) => Err(
            Failure::new(FailureKind::Refused, "the modem refused a command")
                .at(line)
                .because(refusal),
        ),
    }
}

/// Sends a query and returns its answer; `None` when the modem does not know the command.
pub(super) fn query<T: Query>(modem: &mut dyn ModemAccess) -> Result<Option<T>, Failure> {
    query_with(modem, T::command().map_err(no_command)?)
}

pub(super) fn query_with<T: Query>(
    modem: &mut dyn ModemAccess,
    command: Command,
) -> Result<Option<T>, Failure> {
    let answer = modem.ask(command)?;
    Ok(answer
        .result
        .is_ok()
        .then(|| T::parse(&answer.lines).ok())
        .flatten())
}

/// Asks for the code that the SIM waits for; returns `None` when the SIM is ready.
pub(super) fn waits_for(modem: &mut dyn ModemAccess) -> Result<Option<NoOperator>, Failure> {
    Ok(match query::<Pin>(modem)? {
        Some(Pin(PinState::Ready)) => None,
        Some(Pin(PinState::Pin)) => Some(NoOperator::Pin),
        Some(Pin(PinState::Puk)) => Some(NoOperator::Puk),
        Some(Pin(PinState::Other(lock))) => Some(NoOperator::Lock(lock)),
        _ => Some(NoOperator::NoSim),
    })
}

/// Returns the failure for an answer of the modem that cannot be used in a command.
pub(super) fn no_command(error: InvalidCommand) -> Failure {
    Failure::new(FailureKind::Other, "it cannot be done")
        .because(format!("the modem's words make no command: {error}"))
}

pub(super) fn impossible(why: String) -> Failure {
    Failure::new(FailureKind::Refused, "it cannot be done").because(why)
}
