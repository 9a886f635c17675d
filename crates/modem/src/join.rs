//! Data sessions of other programs: each is added to a running modem for a program that has an interface
//! of its own, in any network namespace, and is removed when the program leaves.
//!
//! The program hands over the descriptors of a TUN interface. Packets move between these and the modem
//! as they do for any other session. The program configures the interface itself, with the addresses
//! from the network that [`JoinNews::Addresses`] reports.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use serde::{Deserialize, Serialize};
use uwwan_tun::handed;

use crate::event::SessionChange;
use crate::failure::{Failure, FailureKind};
use crate::host::{Carries, HostConfig, HostControl, HostData, HostEnd, InterfaceKind};
use crate::options::IpType;
use crate::poll::Waker;
use crate::status::{Addresses, Interface, InterfaceType};

/// The operation that fails when no further session is available.
const REFUSED: &str = "there is no further data session";

/// The options of a data session that a program asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinOptions {
    /// The amount that crosses the interface in one call.
    pub carries: Carries,
    /// Access point name. Without one the session has that of session 0, with its user name and
    /// password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apn: Option<String>,
    /// Address families to ask the network for; without them those of session 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_type: Option<IpType>,
    /// MTU in bytes, in place of the one that network and device give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

/// News of a data session that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinNews {
    /// The session has this MBIM session id.
    Session(u8),
    /// The network has given these addresses, with which the interface is to be configured.
    Addresses(Addresses),
    /// Packets flow.
    Online,
    /// No packets flow, for this reason. The session is tried again.
    Offline(String),
    /// The session has ended, or was never begun.
    Ended(Failure),
}

/// A data session of a program. Dropping it ends the session.
pub struct Joined {
    number: u64,
    news: Receiver<JoinNews>,
    /// Callback that ends the session with this number.
    leave: Box<dyn Fn(u64) + Send>,
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Joined {
    /// Returns the next event since the last call. Returns `None` when there is none.
    ///
    /// # Errors
    /// [`FailureKind::Missing`] when the modem was stopped, after all events were returned.
    pub fn try_next(&self) -> Result<Option<JoinNews>, Failure> {
        match self.news.try_recv() {
            Ok(news) => Ok(Some(news)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Failure::new(
                FailureKind::Missing,
                "the data session is over",
            )
            .because("the modem was stopped")),
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        (self.leave)(self.number);
    }
}

/// Order to add a data session.
pub(crate) struct Joining {
    pub(crate) options: JoinOptions,
    pub(crate) guest: Guest,
}

impl Joining {
    /// Makes the order, and the handle of the program. A program that is not `trusted` gets only interfaces
    /// with which it cannot delay the other sessions. `waker` is woken whenever there are news, and `leave`
    /// is called with the number of the session when the program has left.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the descriptors are not those of a TUN interface, and for options
    /// that make no sense.
    pub(crate) fn new(
        options: JoinOptions,
        descriptors: Vec<OwnedFd>,
        trusted: bool,
        waker: Option<Waker>,
        leave: Box<dyn Fn(u64) + Send>,
    ) -> Result<(Self, Joined), Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "the interface cannot be used").because(why)
        };
        let header = match options.carries {
            Carries::Packet => false,
            Carries::Large(_) => true,
            Carries::Frame => return Err(wrong(&"it carries Ethernet frames")),
        };
        let (name, waiting) =
            handed::check(&descriptors, header, trusted).map_err(|error| wrong(&error))?;
        let kind = InterfaceKind {
            name: name.clone(),
            // The index is one of another network namespace, in which this process does not look.
            index: 0,
            carries: options.carries,
        };
        let data = HostData::handed(&kind, descriptors, waiting).map_err(|error| wrong(&error))?;
        Ok(Self::of(options, name, data, waker, leave))
    }

    /// Makes the order for an interface of this name whose packets come by `data`, and the handle of the
    /// program, as [`Joining::new`] does.
    pub(crate) fn of(
        options: JoinOptions,
        name: String,
        data: HostData,
        waker: Option<Waker>,
        leave: Box<dyn Fn(u64) + Send>,
    ) -> (Self, Joined) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (sender, news) = unbounded();
        let teller = NewsSender { sender, waker };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let control = Box::new(GuestControl {
            teller: teller.clone(),
            name,
        });
        let guest = Guest {
            number,
            teller,
            end: Some(HostEnd { control, data }),
        };
        let joined = Joined {
            number,
            news,
            leave,
        };
        (Self { options, guest }, joined)
    }
}

/// The program that a data session is for, as the control thread knows it.
pub(crate) struct Guest {
    /// Number of the program's handle.
    pub(crate) number: u64,
    teller: NewsSender,
    /// The host interface, until the session takes it.
    end: Option<HostEnd>,
}

impl Guest {
    /// Returns the host interface, configured as far as this process does that.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the interface was taken before: a program hands over only one.
    pub(crate) fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let gone = || {
            Failure::new(FailureKind::Host, "the interface is gone")
                .because("the program that handed it over has closed it")
        };
        let mut end = self.end.take().ok_or_else(gone)?;
        end.control.reconfigure(config)?;
        Ok(end)
    }

    /// Reports that the session has this id.
    pub(crate) fn begun(&self, id: u8) {
        self.teller.tell(JoinNews::Session(id));
    }

    /// Passes a change of the session on to the program.
    pub(crate) fn changed(&self, change: &SessionChange) {
        match change {
            SessionChange::Addresses(_) => {}
            SessionChange::Online { .. } => self.teller.tell(JoinNews::Online),
            SessionChange::Offline { why, .. } => self.teller.tell(JoinNews::Offline(why.clone())),
        }
    }

    /// Reports that there is no session, and the reason.
    pub(crate) fn refuse(&self, kind: FailureKind, why: &str, next: &str) {
        let failure = Failure::new(kind, REFUSED).because(why).next(next);
        self.teller.tell(JoinNews::Ended(failure));
    }
}

/// The driver's end of a program's channel of news.
#[derive(Clone)]
struct NewsSender {
    sender: Sender<JoinNews>,
    waker: Option<Waker>,
}

impl NewsSender {
    fn tell(&self, news: JoinNews) {
        let _ = self.sender.send(news);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.teller.wake();
    }
}

/// The control half of a host interface that another program configures.
struct GuestControl {
    teller: NewsSender,
    name: String,
}

impl HostControl for GuestControl {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        self.teller
            .tell(JoinNews::Addresses(config.addresses.clone()));
        Ok(())
    }

    fn interface(&self) -> Interface {
        Interface {
            name: self.name.clone(),
            kind: InterfaceType::OtherProgram,
            mode: "another program's".into(),
            ..Interface::default()
        }
    }
}
