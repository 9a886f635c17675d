//! The control session of a modem that is dialled by AT commands.
//!
//! Such a modem has no MBIM function, yet the [ladder](crate::ladder), the [data
//! sessions](crate::session), the program's commands and other programs need the same services of it:
//! its SIM, its registration, a connection, addresses. So the driver has an MBIM function of its own
//! here, which answers each command by AT commands of the same meaning. Nothing above it knows the
//! difference, so there is one bring-up for all modems.
//!
//! ```text
//! control session --MBIM message--> Dialled ==> worker: Function --AT command--> AT port
//!                 <--MBIM message--         <==                 <--answer, ^NDISSTAT--
//! ```
//!
//! The worker is a thread of its own, `uwwan-dial`, because an answer on the AT port may take long. It
//! carries out one command at a time. A connection that is being made holds nothing up: the modem is
//! asked for it between commands, and an indication tells of it. Nor does a network that takes its time over
//! a USSD text, whose command is answered when it has spoken.
//!
//! A command that no AT command expresses, or none that the modem knows, is answered with
//! NO_DEVICE_SUPPORT, as by an MBIM modem that lacks it.
//!
//! - `function`: the answers, by service and CID; `status`: the meaning of refusals.
//! - `card`: identity, SIM, PIN and radio. `network`: registration, packet service, signal.
//!   `connection`: dialling and addresses, with its state in `call`. `messages`: SMS. `ussd`: USSD.

#[cfg(test)]
mod any_answer;
mod call;
mod card;
mod connection;
mod dialogue;
mod function;
mod messages;
mod network;
mod status;
#[cfg(test)]
mod tests;
mod ussd;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select, unbounded};
use uwwan_mbim::CommandKind;
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::ussd::USSD;
use uwwan_mbim::status::{ProtocolError, Status};
use zeroize::Zeroize;

use crate::at_port::{AtPort, Line};
use crate::options::UssdForm;
use function::{Ask, Function};

/// Largest control transfer of the function in bytes, which is as long as a control request can be.
pub(crate) const MAX_CONTROL_MESSAGE: u16 = 4096;
/// Notification that a response is available (CDC 1.2, 6.3.2).
pub(crate) const RESPONSE_AVAILABLE: [u8; 8] = [0xa1, 0x01, 0, 0, 0, 0, 0, 0];
/// Largest number of fragments on their way to the control session, and of those that it has not read yet.
/// Further ones are lost.
pub(crate) const MOST_WAITING: usize = 1024;
/// Time within which the AT port must answer when the control session is opened.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);

/// Order for the worker.
enum Order {
    /// Message of the host.
    Message(Vec<u8>),
    /// The function's device has notified that its link has changed.
    Link,
}

/// The control thread's end of the function.
pub(crate) struct Dialled {
    orders: Sender<Order>,
    /// Fragments of messages that the control session has not read yet.
    waiting: VecDeque<Vec<u8>>,
    /// Token whose existence tells the worker that there is a control session.
    _host: Arc<()>,
}

impl Dialled {
    /// Starts the function on an AT port. `ussd` is the form of USSD texts, if it is known. `told` is called
    /// with each fragment of a message to the host, on the function's thread, and must not block; `false`
    /// ends the function.
    ///
    /// # Errors
    /// The system's error when it refuses a thread.
    pub(crate) fn start(
        at: AtPort,
        ussd: Option<UssdForm>,
        told: impl FnMut(Vec<u8>) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = unbounded();
        let lines = at.subscribe();
        let host = Arc::new(());
        let worker = Worker {
            host: Arc::downgrade(&host),
            function: Function::new(Box::new(Port(at.clone())), ussd),
            at,
            inbox,
            lines,
            told,
            open: false,
        };
        std::thread::Builder::new()
            .name("uwwan-dial".into())
            .stack_size(512 * 1024)
            .spawn(move || worker.run())?;
        Ok(Self {
            orders,
            waiting: VecDeque::new(),
            _host: host,
        })
    }

    /// Passes a message of the host to the function.
    pub(crate) fn send(&self, message: Vec<u8>) {
        let _ = self.orders.send(Order::Message(message));
    }

    /// Passes a notification that the link has changed to the function.
    pub(crate) fn link_changed(&self) {
        let _ = self.orders.send(Order::Link);
    }

    /// Keeps a fragment of the function until it is read.
    pub(crate) fn keep(&mut self, fragment: Vec<u8>) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(fragment);
        }
    }

    /// Returns the next fragment to the host.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }
}

/// The AT port, as the function uses it.
struct Port(AtPort);

impl Ask for Port {
    fn ask(
        &mut self,
        command: uwwan_at::dialogue::Command,
    ) -> Result<crate::at_port::Answer, crate::failure::Failure> {
        self.0.ask(command)
    }
}

struct Worker<F> {
    /// Token of the control session. Without it no order is carried out, because the AT port may have
    /// another device by then.
    host: Weak<()>,
    at: AtPort,
    function: Function,
    inbox: Receiver<Order>,
    lines: Receiver<Line>,
    told: F,
    /// Whether the host has opened the control session.
    open: bool,
}

impl<F: FnMut(Vec<u8>) -> bool> Worker<F> {
    fn run(mut self) {
        loop {
            let due = self.function.poll_timeout().map_or_else(never, |at| {
                after(at.saturating_duration_since(Instant::now()))
            });
            let goes_on = select! {
                recv(self.inbox) -> order => match order {
                    Ok(_) if self.host.strong_count() == 0 => false,
                    Ok(Order::Message(bytes)) => self.message(bytes),
                    Ok(Order::Link) => {
                        self.function.link_changed(Instant::now());
                        true
                    }
                    Err(_) => false,
                },
                recv(self.lines) -> line => match line {
                    Ok(Line::Unsolicited(line)) => {
                        self.function.unsolicited(Instant::now(), &line);
                        true
                    }
                    Ok(Line::Nmea(_)) => true,
                    Err(_) => false,
                },
                recv(due) -> _ => {
                    self.function.timeout(Instant::now());
                    true
                }
            };
            if !goes_on || !self.indicate() {
                return;
            }
        }
    }

    fn message(&mut self, mut bytes: Vec<u8>) -> bool {
        let message = Message::decode(&bytes);
        // The message may hold a PIN or a password.
        bytes.zeroize();
        let Ok(Message { transaction, body }) = message else {
            return true;
        };
        let answer = match body {
            Body::Open { .. } => {
                // Without an answer of the port there is none of the function, as with a modem that
                // is starting.
                if self.at.wait_open(OPEN_PATIENCE).is_err() {
                    return true;
                }
                self.function.begin();
                self.open = true;
                Body::OpenDone(Status::NONE)
            }
            Body::Close => {
                self.function.end();
                self.open = false;
                Body::CloseDone(Status::NONE)
            }
            Body::Command { .. } if !self.open => Body::FunctionError(ProtocolError::NOT_OPENED),
            Body::Command {
                service,
                cid,
                kind,
                mut info,
            } => {
                let id = CidId { service, cid };
                let now = Instant::now();
                let answered = match id == USSD && kind == CommandKind::SET {
                    true => self.function.ussd(now, transaction, &info),
                    false => Some(self.function.answer(now, id, kind, &info)),
                };
                info.zeroize();
                let Some((status, answer)) = answered else {
                    return true;
                };
                Body::CommandDone {
                    service,
                    cid,
                    status,
                    info: answer,
                }
            }
            _ => return true,
        };
        self.tell(&Message {
            transaction,
            body: answer,
        })
    }

    /// Answers commands that have waited, and tells of what has changed, as long as the control session is
    /// open.
    fn indicate(&mut self) -> bool {
        while let Some(late) = self.function.next_late() {
            let body = Body::CommandDone {
                service: USSD.service,
                cid: USSD.cid,
                status: Status::NONE,
                info: late.info,
            };
            let message = Message {
                transaction: late.transaction,
                body,
            };
            if self.open && !self.tell(&message) {
                return false;
            }
        }
        while let Some((id, info)) = self.function.next_indication() {
            let body = Body::Indication {
                service: id.service,
                cid: id.cid,
                info,
            };
            let message = Message {
                transaction: 0,
                body,
            };
            if self.open && !self.tell(&message) {
                return false;
            }
        }
        true
    }

    fn tell(&mut self, message: &Message) -> bool {
        let fragments = message.encode(MAX_CONTROL_MESSAGE.into());
        let mut fragments = fragments.into_iter();
        fragments.all(|fragment| self.host.strong_count() > 0 && (self.told)(fragment))
    }
}
