//! A TUN or TAP interface that root has prepared for a user without `CAP_NET_ADMIN`.
//!
//! Such a user may move packets through the interface but not configure it. The program then prints
//! the commands that root has to give, and goes online all the same: the commands can be given at
//! any time.

use std::sync::Arc;

use rustix::thread::CapabilitySet;
use uwwan_modem::host::{
    HostConfig, HostControl, HostEnd, HostInterface, HostProvider, HostTun, TunProvider, about_tap,
};
use uwwan_modem::options::Routes;
use uwwan_modem::status;
use uwwan_tun::{Interface, Observed, Tap};

use crate::failure::Failure;
use crate::output::note;

/// Provider of TUN and TAP interfaces that configures them where this process may, and otherwise
/// takes prepared ones as they are.
#[derive(Debug, Default)]
pub struct Provider(TunProvider);

impl HostProvider for Provider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let Some(name) = config.name.as_deref().filter(|_| !may_configure()) else {
            return self.0.bring_up(config);
        };
        let (mut control, data) = match &config.ethernet {
            Some(ethernet) => {
                let tap = Arc::new(Tap::open(Some(name), ethernet.address)?);
                let control = Prepared::new(&*tap, about_tap(&tap), Some(Arc::clone(&tap)));
                (control, HostInterface::Tap(tap).into_data())
            }
            None => {
                let tun = HostTun::open(config.tun_mode, Some(name))?;
                let control = Prepared::new(&tun, tun.about(), None);
                (control, tun.into_data())
            }
        };
        if !control.attached {
            // This process has made the interface, and may therefore configure it whatever its
            // capabilities say.
            drop((control, data));
            return self.0.bring_up(config);
        }
        control.reconfigure(config)?;
        Ok(HostEnd {
            control: Box::new(control),
            data,
        })
    }
}

/// Returns whether this process may configure interfaces.
pub fn may_configure() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// An interface that this process may not configure.
struct Prepared {
    /// Status of the interface, without what is left to root.
    about: status::Interface,
    index: u32,
    attached: bool,
    /// The interface, if it is a TAP interface: its carrier may be set without a capability.
    tap: Option<Arc<Tap>>,
    /// Commands that root has still to give.
    wanted: Vec<String>,
}

impl Prepared {
    fn new(interface: &impl Interface, about: status::Interface, tap: Option<Arc<Tap>>) -> Self {
        Self {
            about,
            index: interface.index(),
            attached: interface.attached(),
            tap,
            wanted: Vec::new(),
        }
    }
}

impl HostControl for Prepared {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        if let Some(ethernet) = &config.ethernet {
            self.set_carrier(ethernet.carrier);
        }
        let observed = uwwan_tun::observe(self.index)?;
        self.wanted = commands(&self.about.name, config, &observed);
        if !self.wanted.is_empty() {
            note("this user may not configure the interface; as root:");
            for command in &self.wanted {
                note(format!("  {command}"));
            }
        }
        Ok(())
    }

    fn set_carrier(&mut self, up: bool) {
        if let Some(tap) = &self.tap
            && let Err(error) = tap.set_carrier(up)
        {
            tracing::warn!("{error}");
        }
    }

    fn interface(&self) -> status::Interface {
        status::Interface {
            left_to_root: self.wanted.clone(),
            applied: self
                .wanted
                .iter()
                .map(|command| format!("left to root: {command}"))
                .collect(),
            ..self.about.clone()
        }
    }
}

/// Returns the commands that change the interface from its observed state to the one that `config`
/// asks for.
fn commands(name: &str, config: &HostConfig, observed: &Observed) -> Vec<String> {
    let mut commands = Vec::new();
    let addresses = &config.addresses;
    if !observed.up || observed.mtu != u32::from(addresses.mtu) {
        commands.push(format!("ip link set dev {name} mtu {} up", addresses.mtu));
    }
    for address in addresses.list() {
        if !observed
            .addresses
            .iter()
            .any(|there| there.to_string() == address)
        {
            commands.push(format!("ip addr add {address} dev {name}"));
        }
    }
    let routes = match &config.routes {
        Routes::None => Vec::new(),
        Routes::Prefixes(list) => list.clone(),
        Routes::Default => {
            let four = addresses.ipv4.map(|_| "0.0.0.0/0".to_owned());
            let six = addresses.ipv6.map(|_| "::/0".to_owned());
            four.into_iter().chain(six).collect()
        }
    };
    for route in routes {
        let there = |known: &uwwan_tun::Route| known.destination.to_string() == route;
        if !observed.routes.iter().any(there) {
            let metric = config.route_metric;
            let metric = metric.map_or_else(String::new, |metric| format!(" metric {metric}"));
            commands.push(format!("ip route add {route} dev {name}{metric}"));
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::options::{Dns, TunMode};
    use uwwan_modem::status::{Addresses, Prefix4};

    fn config(routes: Routes) -> HostConfig {
        HostConfig {
            session: 0,
            addresses: Addresses {
                ipv4: Some(Prefix4 {
                    address: [10, 169, 198, 77].into(),
                    prefix: 30,
                }),
                mtu: 1500,
                ..Addresses::default()
            },
            name: Some("wwan0".into()),
            tun_mode: TunMode::default(),
            routes,
            route_metric: None,
            dns: Dns::None,
            ethernet: None,
        }
    }

    fn observed() -> Observed {
        Observed {
            up: false,
            mtu: 1500,
            addresses: Vec::new(),
            routes: Vec::new(),
        }
    }

    #[test]
    fn everything_that_is_missing_is_told() {
        assert_eq!(
            commands("wwan0", &config(Routes::Default), &observed()),
            [
                "ip link set dev wwan0 mtu 1500 up",
                "ip addr add 10.169.198.77/30 dev wwan0",
                "ip route add 0.0.0.0/0 dev wwan0",
            ]
        );
    }

    #[test]
    fn a_metric_is_part_of_the_command() {
        let config = HostConfig {
            route_metric: Some(700),
            ..config(Routes::Default)
        };
        let told = commands("wwan0", &config, &observed());
        assert_eq!(told[2], "ip route add 0.0.0.0/0 dev wwan0 metric 700");
    }

    #[test]
    fn what_is_there_is_not_asked_for() {
        let there = Observed {
            up: true,
            addresses: vec![uwwan_tun::Address::new([10, 169, 198, 77], 30)],
            routes: vec![uwwan_tun::Route {
                destination: "192.0.2.0/24".parse().unwrap(),
                gateway: None,
                metric: None,
            }],
            ..observed()
        };
        let config = config(Routes::Prefixes(vec!["192.0.2.0/24".into()]));
        assert!(commands("wwan0", &config, &there).is_empty());
    }
}
