//! The host's end as a TUN interface, and as a TAP interface where frames are asked for.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use uwwan_tun::coalesce::Merge;
use uwwan_tun::dns::{self, Guard, Method, Paths};
use uwwan_tun::{Configuration, Error, ErrorKind, Interface as _, Offload, Offloads, Tun, Watch};

use super::control::{HostControl, HostEnd, HostNews, HostProvider, other_kind};
use super::data::{HostData, Large, Single};
use super::plan::{HostConfig, plan};
use super::tap;
use super::upkeep::{self, Upkeep};
use crate::failure::Failure;
use crate::options::{Dns, Routes, TunMode};
use crate::status::Interface;

/// Maker of hosts' ends that are TUN interfaces, or TAP interfaces for Ethernet frames.
#[derive(Debug, Default)]
pub struct TunProvider {}

impl HostProvider for TunProvider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        if let Some(ethernet) = &config.ethernet {
            return tap::bring_up(config, ethernet);
        }
        let plan = plan(config)?;
        let tun = HostTun::open(config.tun_mode, config.name.as_deref())?;
        let configuration = Configuration::apply(plan, &tun)?;
        let mut control = TunControl {
            dns: None,
            notes: Vec::new(),
            news: Vec::new(),
            upkeep: Upkeep::default(),
            watch: None,
            index: tun.index(),
            configuration,
            name: tun.name().to_owned(),
            mode: tun.describe(),
        };
        control.name_servers(config);
        control.upkeep.begin(&mut control.configuration);
        Ok(HostEnd {
            control: Box::new(control),
            data: tun.into_data(),
        })
    }
}

/// Returns which packets are cut and merged.
fn offloads(mode: TunMode) -> Offloads {
    match mode {
        TunMode::Plain => Offloads::empty(),
        TunMode::OffloadTcp => Offloads::TCP,
        TunMode::Offload => Offloads::TCP | Offloads::UDP,
    }
}

/// A TUN interface in either mode.
#[derive(Debug)]
pub enum HostTun {
    /// Interface whose system calls carry one packet each.
    Plain {
        /// The interface.
        tun: Tun,
        /// Error that kept the interface from carrying large packets, if these were wanted.
        why: Option<String>,
    },
    /// Interface that carries large packets.
    Offload(Offload),
}

impl HostTun {
    /// Opens a TUN interface as [`Tun::open`] does. Where the kernel supports no large packets, the
    /// interface is a plain one, and [`HostTun::describe`] says so.
    ///
    /// # Errors
    /// As [`Tun::open`].
    pub fn open(mode: TunMode, name: Option<&str>) -> Result<Self, Error> {
        Self::open_with(
            mode,
            || Offload::open(name, offloads(mode)),
            || Tun::open(name),
        )
    }

    fn open_with(
        mode: TunMode,
        offload: impl FnOnce() -> Result<Offload, Error>,
        plain: impl FnOnce() -> Result<Tun, Error>,
    ) -> Result<Self, Error> {
        let why = match mode {
            TunMode::Plain => None,
            TunMode::Offload | TunMode::OffloadTcp => match offload() {
                Ok(tun) => return Ok(Self::Offload(tun)),
                Err(error) if error.kind == ErrorKind::NoOffload => {
                    tracing::warn!("{error}");
                    Some(error.why)
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self::Plain { tun: plain()?, why })
    }

    /// Turns the interface into the half of a host's end that moves packets.
    #[must_use]
    pub fn into_data(self) -> HostData {
        match self {
            Self::Plain { tun, .. } => HostData::Single(Box::new(tun)),
            Self::Offload(tun) => HostData::Large(Box::new(tun)),
        }
    }

    /// Returns the mode and its properties in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Plain { why, .. } => Self::words(TunMode::Plain, why.as_ref()),
            Self::Offload(tun) => {
                let queues = match tun.queues() {
                    1 => String::new(),
                    count => format!(", {count} queues"),
                };
                let more = format!("{}{queues}", tun.offloads());
                Self::words(TunMode::Offload, Some(more))
            }
        }
    }

    fn words(mode: TunMode, more: Option<impl std::fmt::Display>) -> String {
        more.map_or(mode.to_string(), |more| format!("{mode}: {more}"))
    }
}

impl uwwan_tun::Interface for HostTun {
    fn name(&self) -> &str {
        match self {
            Self::Plain { tun, .. } => tun.name(),
            Self::Offload(tun) => tun.name(),
        }
    }

    fn index(&self) -> u32 {
        match self {
            Self::Plain { tun, .. } => tun.index(),
            Self::Offload(tun) => tun.index(),
        }
    }

    fn attached(&self) -> bool {
        match self {
            Self::Plain { tun, .. } => tun.attached(),
            Self::Offload(tun) => tun.attached(),
        }
    }
}

impl Single for Tun {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::receive(self, buffer)
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        Self::send(self, datagram)
    }
}

impl Large for Offload {
    fn writable(&self) -> BorrowedFd<'_> {
        Self::writable(self)
    }

    fn merge(&self) -> Merge {
        Merge::accepted_with(self.offloads())
    }

    fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Self::receive(self, buffers)
    }

    fn send(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::send(self, buffers)
    }
}

/// Changes made to the host for a TUN interface. The order of the fields is the order of undoing.
struct TunControl {
    watch: Option<Watch>,
    dns: Option<Guard>,
    /// What has not been told.
    news: Vec<HostNews>,
    upkeep: Upkeep,
    /// Notices of what could not be done, a line each.
    notes: Vec<String>,
    configuration: Configuration,
    name: String,
    index: u32,
    /// Mode of the interface in words.
    mode: String,
}

impl TunControl {
    /// Sets the modem's name servers on the host. A failure is only told, because a link without
    /// name resolution is better than none.
    fn name_servers(&mut self, config: &HostConfig) {
        // The old ones are taken back before the new ones are handed over.
        self.dns = None;
        self.notes.clear();
        let addresses = &config.addresses;
        let v4 = addresses.dns4.iter().copied().map(IpAddr::from);
        let servers: Vec<IpAddr> = v4
            .chain(addresses.dns6.iter().copied().map(IpAddr::from))
            .collect();
        let method = match config.dns {
            Dns::None => Method::None,
            Dns::Resolved => Method::Resolved,
            Dns::Resolvconf => Method::ResolvConf,
        };
        let everything = config.routes == Routes::Default;
        match dns::set(method, &self.name, &servers, everything, &Paths::default()) {
            Ok(guard) => self.dns = Some(guard),
            Err(error) => {
                let text = format!("name servers not set: {error}");
                self.news.push(HostNews::Trouble(text.clone()));
                self.notes.push(text);
            }
        }
    }
}

impl HostControl for TunControl {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        if config.ethernet.is_some() {
            return Err(other_kind("a TUN interface", "a network device"));
        }
        self.configuration.replace(plan(config)?)?;
        self.upkeep.begin(&mut self.configuration);
        self.name_servers(config);
        Ok(())
    }

    fn watch(&mut self, changed: Box<dyn Fn() + Send>) {
        self.watch = upkeep::watch(self.index, changed);
    }

    fn attend(&mut self) -> Vec<HostNews> {
        let mut news = std::mem::take(&mut self.news);
        if let Some(watch) = &self.watch {
            let culprit = watch.culprit();
            let (upkeep, what) = (&mut self.upkeep, &mut self.configuration);
            news.extend(upkeep.attend(Instant::now(), what, culprit.as_deref()));
        }
        news
    }

    fn interface(&self) -> Interface {
        let mut applied = self.configuration.describe();
        applied.extend(self.dns.as_ref().and_then(Guard::describe));
        applied.extend(self.notes.iter().cloned());
        Interface {
            name: self.name.clone(),
            mode: self.mode.clone(),
            applied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_offload_gets_a_plain_interface_and_says_so() {
        let error = |kind: ErrorKind| Error {
            kind,
            what: "open".into(),
            why: "no IFF_VNET_HDR".into(),
            next: String::new(),
            source: None,
        };
        let plain = || Err(error(ErrorKind::NoPermission));
        let open = |mode, kind: ErrorKind| {
            let result = HostTun::open_with(mode, || Err(error(kind)), plain);
            result.unwrap_err().kind
        };
        // Only then is a plain one tried.
        assert_eq!(
            open(TunMode::Offload, ErrorKind::NoOffload),
            ErrorKind::NoPermission
        );
        assert_eq!(open(TunMode::Offload, ErrorKind::Busy), ErrorKind::Busy);
        assert_eq!(
            open(TunMode::Plain, ErrorKind::Busy),
            ErrorKind::NoPermission
        );
        let words = HostTun::words(TunMode::Plain, Some("no IFF_VNET_HDR"));
        assert_eq!(words, "plain: no IFF_VNET_HDR");
        assert_eq!(HostTun::words(TunMode::Plain, None::<&str>), "plain");
    }
}
