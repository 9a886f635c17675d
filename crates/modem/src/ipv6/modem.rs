//! Access to the modem by its AT port.

use uwwan_at::dialogue::Command;

use super::access::ModemAccess;
use super::operator::Operator;
use crate::at_port::Answer;
use crate::client::AtClient;
use crate::failure::Failure;

/// Callback that is called with each step, in words.
pub type Progress = Box<dyn FnMut(&str)>;

/// A modem behind a client of its AT port.
pub struct AtModem {
    client: AtClient,
    operator: Box<dyn FnMut() -> Option<Operator>>,
    told: Progress,
}

impl AtModem {
    /// Returns the modem behind `client`. `operator` returns the SIM's operator if it is known, or
    /// asks the control session for the home provider.
    pub fn new(
        client: AtClient,
        operator: impl FnMut() -> Option<Operator> + 'static,
        told: Progress,
    ) -> Self {
        Self {
            client,
            operator: Box::new(operator),
            told,
        }
    }
}

impl ModemAccess for AtModem {
    fn ask(&mut self, command: Command) -> Result<Answer, Failure> {
        let timeout = Some(command.timeout());
        self.client.ask(command.line(), None, timeout)
    }

    fn operator(&mut self) -> Option<Operator> {
        (self.operator)()
    }

    fn come_back(&mut self) -> Result<(), Failure> {
        self.client.come_back(&mut *self.told)
    }

    fn step(&mut self, what: &str) {
        (self.told)(what);
    }
}
