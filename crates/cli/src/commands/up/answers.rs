//! Answers to the requests at the control socket of a running `up`, and execution of the orders
//! there.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use uwwan_emulator::Controls;
use uwwan_modem::Handle;
use uwwan_modem::asking::{Answer, Question};
use uwwan_modem::capture::{Capture, Destination};
use uwwan_modem::host::Userspace;
use uwwan_modem::join::{JoinOptions, Joined};
use uwwan_modem::raw::{Listener, To};
use uwwan_modem::share::{MbimEntrances, Responder, Waker};

use super::metering::Metered;
use super::told::{AtPort, Told};
use crate::capture;
use crate::emulated;
use crate::failure::{Failure, FailureKind};
use crate::modem_manager::Manager;
use crate::sandbox::State;
use crate::userspace::{self, Places};

/// Access to the running modem for the local programs that connect to the control socket.
pub struct Answers {
    pub handle: Handle,
    /// Knobs of the emulated modem, if it is used.
    pub controls: Option<Controls>,
    /// The rights that each process of this run still has in the sandbox.
    pub processes: Vec<State>,
    pub manager: Manager,
    /// The data volume used in this month.
    pub month: Metered,
    /// The sockets that offer the control session to other programs, if there are any.
    pub mbim: Option<MbimEntrances>,
    /// The built-in network stacks, if the data sessions use them.
    pub stack: Option<Userspace>,
    /// Limits how many questions to the network wait for an answer at a time.
    pub asking: Places,
    /// Path of the terminal through which other programs reach the AT port.
    pub terminal: PathBuf,
}

impl Responder for Answers {
    fn status(&self) -> serde_json::Value {
        let month = self.month.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Told {
            status: self.handle.status(),
            proxy: self.mbim.as_ref().map(MbimEntrances::status),
            processes: self.processes.clone(),
            modem_manager: (self.manager)(),
            usage: month.clone(),
            at_port: self.handle.at_port().map(|at| {
                let port = at.port();
                AtPort {
                    terminal: self.terminal.clone(),
                    interface: port.as_ref().map(|port| port.interface),
                    port: port.map(|port| port.to_string()),
                }
            }),
        };
        serde_json::to_value(told).unwrap_or_default()
    }

    fn stop(&self) {
        self.handle.stop();
    }

    fn emulate(&self, set: &[String]) -> Result<serde_json::Value, Failure> {
        match &self.controls {
            Some(controls) => emulated::tell(controls, set),
            None => Err(Failure::new(FailureKind::Usage, "an order makes no sense")
                .because("it runs a real modem, which has no knobs")),
        }
    }

    fn capture(
        &self,
        options: uwwan_modem::capture::Options,
        destination: Destination,
    ) -> Result<Capture, Failure> {
        capture::captures().start(options, destination)
    }

    fn ask(
        &self,
        question: Question,
        waker: Waker,
    ) -> Result<Receiver<Result<Answer, Failure>>, Failure> {
        let refused =
            |kind, why: &str| Failure::new(kind, "the running uwwan refused").because(why);
        let Some(stack) = &self.stack else {
            let status = self.handle.status();
            let interface = status.interface().map(|one| one.name.clone());
            let interface = interface.unwrap_or_else(|| "uwwan0".to_owned());
            let why =
                "its data session ends in an interface of this machine, whose own programs ask";
            return Err(refused(FailureKind::Usage, why).next(format!(
                "ping -I {interface} HOST, or start it with uwwan up --net userspace"
            )));
        };
        let client = stack.of_session(question.session).client();
        let client = client.map_err(|error| {
            refused(FailureKind::NotOpen, "the data session is not online").because(error)
        })?;
        let place = self.asking.take().ok_or_else(|| {
            refused(FailureKind::Busy, "too many questions wait").next("ask again in a while")
        })?;
        let (sender, receiver) = bounded(1);
        userspace::spawn("uwwan-ask", move || {
            let _ = sender.send(question.ask(&client));
            drop((sender, place));
            waker.wake();
        });
        Ok(receiver)
    }

    fn join(
        &self,
        options: JoinOptions,
        descriptors: Vec<OwnedFd>,
        trusted: bool,
        waker: Waker,
    ) -> Result<Joined, Failure> {
        self.handle.join(options, descriptors, trusted, Some(waker))
    }

    fn send(
        &self,
        to: To,
        transfers: Vec<Vec<u8>>,
        wait: Duration,
        waker: Waker,
    ) -> Result<Listener, Failure> {
        self.handle.send_raw(to, transfers, wait, Some(waker))
    }
}
