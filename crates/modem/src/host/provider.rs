//! Makes interfaces of the host and configures them: addresses, routes, name servers.

use std::net::IpAddr;
use std::time::Instant;

use uwwan_tun::dns::{self, Guard, Method, Paths};
use uwwan_tun::left::{LeftServers, Note};
use uwwan_tun::{Configuration, Interface as _, Watch};

use super::control::{HostControl, HostEnd, HostNews, HostProvider, other_kind};
use super::handed::HostInterface;
use super::plan::{HostConfig, configured, plan};
use super::tap;
use super::tun::HostTun;
use super::upkeep::{self, Upkeep};
use crate::failure::Failure;
use crate::options::{Dns, Routes};
use crate::status::{HostChange, Interface};

/// Maker of host interfaces that are TUN interfaces, or TAP interfaces for Ethernet frames.
#[derive(Debug, Default)]
pub struct TunProvider {}

impl HostProvider for TunProvider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let (control, interface) = Self::open(config, Note::none())?;
        Ok(HostEnd {
            control,
            data: interface.into_data(),
        })
    }
}

impl TunProvider {
    /// Does as [`HostProvider::bring_up`], and returns the open interface instead of its data half.
    /// What stays on the host when this process is killed is noted before it is done.
    ///
    /// # Errors
    /// Those of [`HostProvider::bring_up`].
    pub fn open(
        config: &HostConfig,
        note: Note,
    ) -> Result<(Box<dyn HostControl>, HostInterface), Failure> {
        if let Some(ethernet) = &config.ethernet {
            return tap::open(config, ethernet, note);
        }
        let plan = plan(config)?;
        let tun = HostTun::open(config.tun_mode, config.name.as_deref())?;
        let configuration = Configuration::apply_noted(plan, &tun, note.clone())?;
        let mut control = TunControl {
            watch: None,
            dns: None,
            news: Vec::new(),
            upkeep: Upkeep::default(),
            notes: Vec::new(),
            index: tun.index(),
            configuration,
            about: tun.about(),
            note,
        };
        control.name_servers(config);
        control.upkeep.begin(&mut control.configuration);
        Ok((Box::new(control), HostInterface::Tun(tun)))
    }
}

/// Changes made to the host for a TUN interface. The order of the fields is the order of undoing.
struct TunControl {
    watch: Option<Watch>,
    /// Name servers that the host's resolver has.
    dns: Option<(Guard, Vec<IpAddr>)>,
    /// News that have not been told.
    news: Vec<HostNews>,
    upkeep: Upkeep,
    /// Reports of parts that could not be set up, a line each.
    notes: Vec<String>,
    configuration: Configuration,
    index: u32,
    /// Status of the interface, without the changes.
    about: Interface,
    /// Where name servers are noted that stay when this process is killed.
    note: Note,
}

impl TunControl {
    /// Sets the modem's name servers on the host. A failure is only reported, because a link
    /// without name resolution is better than none.
    fn name_servers(&mut self, config: &HostConfig) {
        // The old servers are taken back before the others are handed over.
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
        let left = match method {
            Method::Resolved => Some(LeftServers::Resolved { index: self.index }),
            Method::ResolvConf => Some(LeftServers::Resolvconf {
                interface: self.about.name.clone(),
                servers: servers.clone(),
            }),
            Method::None => None,
        };
        self.note.name_servers(left.filter(|_| !servers.is_empty()));
        match dns::set(
            method,
            &self.about.name,
            &servers,
            everything,
            &Paths::default(),
        ) {
            Ok(guard) => self.dns = Some((guard, servers)),
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
            let culprit = watch.take_culprit();
            let (upkeep, what) = (&mut self.upkeep, &mut self.configuration);
            news.extend(upkeep.attend(Instant::now(), what, culprit.as_deref()));
        }
        news
    }

    fn interface(&self) -> Interface {
        let mut interface = configured(&self.configuration, self.about.clone());
        if let Some((guard, servers)) = &self.dns
            && let Some(line) = guard.describe()
        {
            interface.applied.push(line);
            let servers = servers.clone();
            interface.changes.push(HostChange::NameServers { servers });
        }
        interface.applied.extend(self.notes.iter().cloned());
        interface
    }
}
