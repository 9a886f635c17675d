//! The modem of the story, by way of its AT port.

use uwwan_at::dialogue::Command;

use super::access::ModemAccess;
use super::operator::Operator;
use crate::at_port::Answer;
use crate::client::AtClient;
use crate::failure::Failure;

/// Hears each step, in words.
pub type Told = Box<dyn FnMut(&str)>;

/// A modem, whoever owns it.
pub struct AtModem {
    client: AtClient,
    operator: Box<dyn FnMut() -> Option<Operator>>,
    told: Told,
}

impl AtModem {
    /// The modem behind `client`. `operator` knows the SIM's operator, or asks the MBIM session for
    /// its home provider.
    pub fn new(
        client: AtClient,
        operator: impl FnMut() -> Option<Operator> + 'static,
        told: Told,
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
