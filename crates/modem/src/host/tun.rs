//! The host's end as a TUN interface, and as a TAP interface where frames are asked for.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uwwan_tun::coalesce::Merge;
use uwwan_tun::dns::{self, Guard, Method, Paths};
use uwwan_tun::plan::Through;
use uwwan_tun::{
    Address, Configuration, Error, ErrorKind, Interface as _, Offload, Offloads, Plan, Prefix, Tun,
};

use super::{HostConfig, HostEnd, HostProvider, Large, Packets, Single, tap};
use crate::failure::{Failure, FailureKind};
use crate::options::{Dns, Routes, TunMode};
use crate::status::Interface;

/// Host ends that are TUN interfaces, or TAP interfaces for Ethernet frames.
#[derive(Debug, Default)]
pub struct TunProvider {}

impl HostProvider for TunProvider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<Box<dyn HostEnd>, Failure> {
        if let Some(ethernet) = &config.ethernet {
            return tap::bring_up(config, ethernet);
        }
        let plan = plan(config)?;
        let tun = HostTun::open(config.tun_mode, config.name.as_deref())?;
        let configuration = Configuration::apply(plan, &tun)?;
        let mut applied = Applied {
            dns: None,
            notes: Vec::new(),
            configuration,
        };
        applied.name_servers(config, tun.name());
        Ok(Box::new(TunEnd {
            applied: Mutex::new(applied),
            tun,
        }))
    }
}

/// A TUN interface in either mode.
#[derive(Debug)]
pub enum HostTun {
    /// One packet a call.
    Plain {
        /// The interface.
        tun: Tun,
        /// Why it is not the other, if that was wanted.
        why: Option<String>,
    },
    /// Large packets.
    Offload(Offload),
}

impl HostTun {
    /// Opens a TUN interface as [`Tun::open`] does. Where the kernel has no large packets for it,
    /// it is a plain one, and [`HostTun::describe`] says so.
    ///
    /// # Errors
    /// As [`Tun::open`].
    pub fn open(mode: TunMode, name: Option<&str>) -> Result<Self, Error> {
        Self::open_with(
            mode,
            || Offload::open(name, Offloads::TCP | Offloads::UDP),
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
            TunMode::Offload => match offload() {
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

    /// What crosses it.
    #[must_use]
    pub fn packets(&self) -> Packets<'_> {
        match self {
            Self::Plain { tun, .. } => Packets::Single(tun),
            Self::Offload(tun) => Packets::Large(tun),
        }
    }

    /// What is polled for writing.
    #[must_use]
    pub fn writable(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain { tun, .. } => tun.as_fd(),
            Self::Offload(tun) => tun.writable(),
        }
    }

    /// The mode with what belongs to it, in words.
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

impl AsFd for HostTun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain { tun, .. } => tun.as_fd(),
            Self::Offload(tun) => tun.as_fd(),
        }
    }
}

impl Single for Tun {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::receive(self, buffer)
    }

    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        Self::send(self, datagram)
    }
}

impl Large for Offload {
    fn merge(&self) -> Merge {
        Merge::accepted_with(self.offloads())
    }

    fn receive(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Self::receive(self, buffers)
    }

    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::send(self, buffers)
    }
}

/// A TUN with what was done for it. The fields' order is that of undoing.
struct TunEnd {
    applied: Mutex<Applied>,
    tun: HostTun,
}

struct Applied {
    dns: Option<Guard>,
    /// What could not be done, a line each.
    notes: Vec<String>,
    configuration: Configuration,
}

impl Applied {
    /// Names that do not resolve are no reason to have no link: a failure is only told.
    fn name_servers(&mut self, config: &HostConfig, interface: &str) {
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
        match dns::set(method, interface, &servers, everything, &Paths::default()) {
            Ok(guard) => self.dns = Some(guard),
            Err(error) => {
                tracing::warn!("name servers: {error}");
                self.notes.push(format!("name servers not set: {error}"));
            }
        }
    }
}

impl TunEnd {
    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for TunEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

impl HostEnd for TunEnd {
    fn writable(&self) -> BorrowedFd<'_> {
        self.tun.writable()
    }

    fn packets(&self) -> Packets<'_> {
        self.tun.packets()
    }

    fn reconfigure(&self, config: &HostConfig) -> Result<(), Failure> {
        if config.ethernet.is_some() {
            return Err(super::other_kind("a TUN interface", "a network device"));
        }
        let mut applied = self.applied();
        applied.configuration.replace(plan(config)?)?;
        applied.name_servers(config, self.tun.name());
        Ok(())
    }

    fn interface(&self) -> Interface {
        let state = self.applied();
        let mut applied = state.configuration.describe();
        applied.extend(state.dns.as_ref().and_then(Guard::describe));
        applied.extend(state.notes.iter().cloned());
        Interface {
            name: self.tun.name().to_owned(),
            mode: self.tun.describe(),
            applied,
        }
    }
}

pub(super) fn plan(config: &HostConfig) -> Result<Plan, Failure> {
    let given = &config.addresses;
    let v4 = given
        .ipv4
        .iter()
        .map(|prefix| Address::new(prefix.address, prefix.prefix));
    let v6 = given
        .ipv6
        .iter()
        .map(|prefix| Address::new(prefix.address, prefix.prefix));
    let gateway4 = given.gateway4.map(IpAddr::from);
    let gateways: Vec<IpAddr> = gateway4
        .into_iter()
        .chain(given.gateway6.map(IpAddr::from))
        .collect();
    let through = match &config.routes {
        Routes::None => Through::Nothing,
        Routes::Default => Through::Everything,
        Routes::Prefixes(list) => {
            let ranges: Result<Vec<Prefix>, Error> = list.iter().map(|text| text.parse()).collect();
            Through::Ranges(ranges?)
        }
    };
    let addresses = v4.chain(v6).collect();
    Ok(Plan::for_modem(
        addresses,
        &gateways,
        &through,
        config.route_metric,
        given.mtu.into(),
    ))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NoPermission => FailureKind::Permission,
            ErrorKind::Busy => FailureKind::Busy,
            _ => FailureKind::Host,
        };
        Self::new(kind, error.what)
            .because(error.why)
            .next(error.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Addresses, Prefix4, Prefix6};

    fn config(routes: Routes) -> HostConfig {
        HostConfig {
            addresses: Addresses {
                ipv4: Some(Prefix4 {
                    address: [10, 169, 198, 77].into(),
                    prefix: 30,
                }),
                gateway4: Some([10, 169, 198, 78].into()),
                ipv6: Some(Prefix6 {
                    address: "2001:db8::77".parse().unwrap(),
                    prefix: 64,
                }),
                mtu: 1500,
                ..Addresses::default()
            },
            name: None,
            tun_mode: TunMode::default(),
            routes,
            route_metric: Some(700),
            dns: Dns::None,
            ethernet: None,
        }
    }

    #[test]
    fn what_the_network_gave_becomes_a_plan() {
        let bare = plan(&config(Routes::None)).unwrap();
        assert_eq!(
            (bare.addresses.len(), bare.routes.len(), bare.mtu),
            (2, 0, 1500)
        );
        let all = plan(&config(Routes::Default)).unwrap();
        assert!(all.routes.iter().all(|route| route.metric == Some(700)));
        let gateways: Vec<_> = all.routes.iter().map(|route| route.gateway).collect();
        assert_eq!(gateways, [Some([10, 169, 198, 78].into()), None]);
        let some = plan(&config(Routes::Prefixes(vec!["192.0.2.0/24".into()]))).unwrap();
        assert_eq!(some.routes.len(), 1);
        let bad = plan(&config(Routes::Prefixes(vec!["nonsense".into()]))).unwrap_err();
        assert!(
            bad.what.contains("nonsense") && !bad.next.is_empty(),
            "{bad}"
        );
    }

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
