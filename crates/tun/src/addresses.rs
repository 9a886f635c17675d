//! Configuration of an interface by a plan, over netlink.
//!
//! # Theory of operation
//!
//! [`Configuration::apply`] brings the interface up and adds the addresses and routes of the plan.
//! [`Configuration::replace`] removes addresses and routes that only the old plan had, then reads
//! the interface's state back and adds those that are missing. Reading back is necessary, because
//! the kernel removes routes with the last address of a family, and a secondary IPv4 address with
//! its primary. Addresses and routes of both plans are not touched, so that flows go on.
//!
//! Only addresses and routes added here are ever removed, and all of them are removed on drop. An
//! interface that existed before gets its MTU, queue length and state back. What would be left on it if
//! the process were killed is noted before each change ([`crate::left`]).
//!
//! The system calls are those of netlink.rs and sysctl.rs.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::device::{Interface, is_tun};
use crate::error::{Error, ErrorKind};
use crate::left::{Before, LeftInterface, Note};
use crate::netlink::{Mode, Netlink};
use crate::observed::{OtherDefault, observe_with, other_defaults};
use crate::plan::{Address, Change, Ipv6, Plan, Route, Through};
use crate::sysctl;

/// Longest time the kernel takes to bring an IPv6 address into use.
const LOCAL_PATIENCE: Duration = Duration::from_secs(2);
/// IPv6 settings that are changed: router advertisements are taken, and a default route from them;
/// addresses are made from them; the metric of that route.
const SETTINGS: [&str; 4] = [
    "accept_ra",
    "accept_ra_defrtr",
    "autoconf",
    "ra_defrtr_metric",
];

/// Configuration of an interface by a plan. Dropping it removes everything that it added.
pub struct Configuration {
    netlink: Netlink,
    name: String,
    index: u32,
    plan: Plan,
    before: Before,
    /// Addresses and routes that were added and are to be removed. The kernel may have removed some
    /// of them itself.
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// The parts of it that were missing when they were last looked for.
    missing: Vec<Change>,
    /// Where changes are noted that stay when this process is killed.
    note: Note,
}

impl Configuration {
    /// Brings an interface up as the plan says.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a plan that cannot work, [`ErrorKind::NoPermission`],
    /// [`ErrorKind::Busy`] when another interface has such a route with the same metric,
    /// [`ErrorKind::Gone`]. The interface is then as it was before.
    pub fn apply(plan: Plan, tun: &impl Interface) -> Result<Configuration, Error> {
        Self::apply_noted(plan, tun, Note::none())
    }

    /// Does as [`Configuration::apply`]. If the interface was there before, what would be left on it is
    /// noted before each change.
    ///
    /// # Errors
    /// Those of [`Configuration::apply`].
    pub fn apply_noted(
        plan: Plan,
        tun: &impl Interface,
        note: Note,
    ) -> Result<Configuration, Error> {
        plan.check()?;
        let mut netlink = Netlink::open()?;
        let before = read_before(&netlink.link("", tun.index())?);
        let mut configuration = Configuration {
            netlink,
            name: tun.name().to_owned(),
            index: tun.index(),
            plan,
            before,
            addresses: Vec::new(),
            routes: Vec::new(),
            missing: Vec::new(),
            note: if tun.attached() { note } else { Note::none() },
        };
        configuration.tell_note();
        // When a step fails, dropping the guard undoes the steps before it.
        configuration.set_link()?;
        configuration.complete()?;
        Ok(configuration)
    }

    /// Changes the interface to another plan. Only the difference is changed.
    ///
    /// # Errors
    /// As [`Configuration::apply`]. After an error other than [`ErrorKind::Invalid`] the interface
    /// has parts of both plans, and another `replace` may complete either.
    pub fn replace(&mut self, plan: Plan) -> Result<(), Error> {
        plan.check()?;
        let link_differs = plan.mtu != self.plan.mtu
            || plan.tx_queue_length != self.plan.tx_queue_length
            || plan.ipv6 != self.plan.ipv6;
        self.plan = plan;
        self.missing.clear();
        self.tell_note();
        if link_differs {
            self.set_link()?;
        }
        for route in std::mem::take(&mut self.routes) {
            if self.plan.routes.contains(&route) {
                self.routes.push(route);
            } else {
                self.remove_route(&route);
            }
        }
        for address in std::mem::take(&mut self.addresses) {
            if self.plan.addresses.contains(&address) {
                self.addresses.push(address);
            } else {
                self.remove_address(address);
            }
        }
        self.complete()
    }

    /// Removes what a process that was killed has left on an interface, and gives it its state back.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`]; [`ErrorKind::Busy`] when a process has the interface open;
    /// [`ErrorKind::Invalid`] when it is no TUN or TAP interface; those of netlink.
    pub(crate) fn take_back(left: LeftInterface) -> Result<(), Error> {
        let mut netlink = Netlink::open()?;
        let link = netlink.link("", left.index)?;
        let name = netlink.name(left.index);
        let what = || format!("take back what was set on interface {name}");
        if !is_tun(&link) {
            let (why, next) = ("it is no TUN interface", "nothing");
            return Err(Error::new(ErrorKind::Invalid, what(), why, next));
        }
        // The driver takes the carrier away with the last descriptor.
        if link.header.flags.contains(LinkFlags::LowerUp) {
            let (why, next) = ("another process has it open", "stop that process");
            return Err(Error::new(ErrorKind::Busy, what(), why, next));
        }
        let before = Before {
            settings: left
                .before
                .settings
                .into_iter()
                .filter(|(setting, _)| SETTINGS.contains(&setting.as_str()))
                .collect(),
            ..left.before
        };
        drop(Configuration {
            netlink,
            name,
            index: left.index,
            plan: Plan::for_modem(Vec::new(), &[], &Through::Nothing, None, 0),
            before,
            addresses: left.addresses,
            routes: left.routes,
            missing: Vec::new(),
            note: Note::none(),
        });
        Ok(())
    }

    /// Notes what would be left on the interface: what was added, and what the plan adds.
    fn tell_note(&self) {
        let mut left = LeftInterface {
            index: self.index,
            addresses: self.addresses.clone(),
            routes: self.routes.clone(),
            before: self.before.clone(),
        };
        let more = self.plan.addresses.iter();
        let more = more.filter(|address| !self.addresses.contains(address));
        left.addresses.extend(more);
        let more = self.plan.routes.iter();
        left.routes
            .extend(more.filter(|route| !self.routes.contains(route)));
        self.note.interface(left);
    }

    /// Returns the plan in force.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns what was added to the host and is there, as far as was last looked for.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = vec![self.link()];
        changes.extend(self.addresses.iter().copied().map(Change::Address));
        changes.extend(self.routes.iter().copied().map(Change::Route));
        if let Ipv6::Slaac { default_route, .. } = self.plan.ipv6 {
            changes.push(Change::RouterAdvertisements { default_route });
        }
        changes.retain(|change| !self.missing.contains(change));
        changes
    }

    fn link(&self) -> Change {
        Change::Link {
            name: self.name.clone(),
            mtu: self.plan.mtu,
        }
    }

    /// Looks for what was added, and returns what is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] when the interface is gone, or what the kernel said.
    pub fn missing(&mut self) -> Result<Vec<Change>, Error> {
        let there = observe_with(&mut self.netlink, self.index)?;
        let mut missing = Vec::new();
        if !there.up || there.mtu != self.plan.mtu {
            missing.push(self.link());
        }
        let addresses = self.addresses.iter();
        missing.extend(
            addresses
                .filter(|address| !there.addresses.contains(address))
                .copied()
                .map(Change::Address),
        );
        let routes = self.routes.iter();
        missing.extend(
            routes
                .filter(|route| !there.routes.iter().any(|other| same(route, other)))
                .copied()
                .map(Change::Route),
        );
        self.missing.clone_from(&missing);
        Ok(missing)
    }

    /// Adds the missing parts again.
    ///
    /// # Errors
    /// As [`Configuration::replace`].
    pub fn put_back(&mut self) -> Result<(), Error> {
        let there = observe_with(&mut self.netlink, self.index)?;
        if !there.up || there.mtu != self.plan.mtu {
            self.set_link()?;
        }
        if self.complete().is_ok() {
            return Ok(());
        }
        // The kernel's own routes for the prefixes of addresses, by which gateways are reached,
        // come back with the addresses only.
        for address in self.addresses.clone() {
            self.remove_address(address);
        }
        self.complete()
    }

    /// Returns the default routes of other interfaces that the kernel prefers to those added here,
    /// each as `default metric 100 through eth0 (dhcp)`.
    ///
    /// # Errors
    /// The error is the kernel's.
    pub fn rivals(&mut self) -> Result<Vec<String>, Error> {
        let defaults = self
            .routes
            .iter()
            .filter(|route| route.destination.is_default());
        let defaults: Vec<Route> = defaults.copied().collect();
        if defaults.is_empty() {
            return Ok(Vec::new());
        }
        let others = other_defaults(&mut self.netlink, self.index)?;
        let before = |other: &OtherDefault| {
            defaults.iter().any(|own| {
                own.destination == other.route.destination
                    && other.route.effective_metric() < own.effective_metric()
            })
        };
        let others: Vec<OtherDefault> = others.into_iter().filter(before).collect();
        let mut words = Vec::new();
        for other in others {
            let interface = self.netlink.name(other.index);
            words.push(format!(
                "{} through {interface} ({})",
                other.route, other.origin
            ));
        }
        Ok(words)
    }

    /// Adds the addresses and routes of the plan that the interface does not have.
    fn complete(&mut self) -> Result<(), Error> {
        let there = observe_with(&mut self.netlink, self.index)?;
        for address in self.plan.addresses.clone() {
            if !there.addresses.contains(&address) {
                self.add_address(address)?;
            }
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        self.await_local_addresses()?;
        let there = observe_with(&mut self.netlink, self.index)?;
        for route in self.plan.routes.clone() {
            if !there.routes.iter().any(|other| same(&route, other)) {
                self.add_route(&route)?;
            }
            if !self.routes.contains(&route) {
                self.routes.push(route);
            }
        }
        Ok(())
    }

    /// Waits until the kernel accepts packets for the IPv6 addresses. Even without duplicate
    /// address detection it completes an address on a work queue, and drops packets that come
    /// before that. An address is complete when its route is in the local table
    /// (`__ipv6_ifa_notify` in net/ipv6/addrconf.c). Without a carrier the kernel does not complete
    /// an address, so it is not waited for.
    fn await_local_addresses(&mut self) -> Result<(), Error> {
        let mut missing: Vec<IpAddr> = self
            .addresses
            .iter()
            .map(|own| own.ip)
            .filter(IpAddr::is_ipv6)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let link = self.netlink.link("", self.index)?;
        if !link.header.flags.contains(LinkFlags::LowerUp) {
            return Ok(());
        }
        let deadline = Instant::now() + LOCAL_PATIENCE;
        let query = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        while !missing.is_empty() {
            let routes = self
                .netlink
                .dump(&query)
                .map_err(|source| Error::system("read the network configuration", source))?;
            for message in &routes {
                if let RouteNetlinkMessage::NewRoute(route) = message
                    && route.header.kind == RouteType::Local
                {
                    missing.retain(|own| {
                        let own = RouteAttribute::Destination(RouteAddress::from(*own));
                        !route.attributes.contains(&own)
                    });
                }
            }
            if missing.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                tracing::warn!(interface = %self.name, ?missing, "the kernel is slow to take the addresses");
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn set_link(&mut self) -> Result<(), Error> {
        // The MTU is set first, because below 1280 bytes the kernel has no IPv6 on an interface.
        let mut link = self.link_message();
        link.attributes.push(LinkAttribute::Mtu(self.plan.mtu));
        if let Some(length) = self.plan.tx_queue_length {
            link.attributes.push(LinkAttribute::TxQueueLen(length));
        }
        self.change_link(link, &format!("set MTU {} on", self.plan.mtu))?;
        if self.plan.ipv6 == Ipv6::Host {
            // The settings of the host stay in force.
        } else if sysctl::has_ipv6(&self.name) {
            self.set_ipv6_settings();
            // The mode must be in force before the interface comes up, when the kernel would make a
            // link-local address. It is the same for SLAAC, whose link-local address the modem
            // gives.
            let mut link = self.link_message();
            let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
            let family = AfSpecUnspec::Inet6(vec![none]);
            link.attributes
                .push(LinkAttribute::AfSpecUnspec(vec![family]));
            self.change_link(link, "turn off link-local addresses on")?;
        } else if self
            .plan
            .addresses
            .iter()
            .any(|address| address.ip.is_ipv6())
        {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("give interface {} an IPv6 address", self.name),
                "this kernel has no IPv6, or it is disabled",
                "enable it (sysctl net.ipv6.conf.all.disable_ipv6=0), or connect with IPv4 only",
            ));
        }
        let mut link = self.link_message();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.change_link(link, "bring up")
    }

    /// Changes the IPv6 settings in `/proc/sys` as far as that is possible. In a container they may
    /// be read-only, and they only matter when the network sends router advertisements.
    fn set_ipv6_settings(&mut self) {
        let (accept, default_route) = match self.plan.ipv6 {
            Ipv6::Static | Ipv6::Host => ("0", "0"),
            // The value 2 accepts advertisements on a host that forwards, too.
            Ipv6::Slaac { default_route, .. } => ("2", if default_route { "1" } else { "0" }),
        };
        let metric = match self.plan.ipv6 {
            Ipv6::Slaac { metric, .. } => metric.filter(|metric| *metric != 0),
            Ipv6::Static | Ipv6::Host => None,
        };
        let mut settings = vec![
            (SETTINGS[0], accept.to_owned()),
            (SETTINGS[1], default_route.to_owned()),
            (SETTINGS[2], "1".to_owned()),
        ];
        settings.extend(metric.map(|metric| (SETTINGS[3], metric.to_string())));
        for (setting, value) in settings {
            match sysctl::set(&self.name, setting, &value) {
                Ok(before) => {
                    if !self
                        .before
                        .settings
                        .iter()
                        .any(|(known, _)| *known == setting)
                    {
                        self.before.settings.push((setting.to_owned(), before));
                    }
                }
                Err(error) => {
                    tracing::warn!(interface = %self.name, setting, value, %error, "IPv6 setting not changed");
                }
            }
        }
        self.tell_note();
    }

    fn link_message(&self) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = self.index;
        link
    }

    fn change_link(&mut self, link: LinkMessage, what: &str) -> Result<(), Error> {
        self.netlink
            .request(RouteNetlinkMessage::SetLink(link), Mode::Plain)
            .map_err(|source| self.error(format!("{what} interface {}", self.name), source))
    }

    fn add_address(&mut self, address: Address) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewAddress(self.address_message(address));
        match self.netlink.request(message, Mode::Create) {
            // Another program has added the address since the state was read back.
            Err(source) if is(&source, Errno::EXIST) => Ok(()),
            result => result.map_err(|source| {
                self.error(
                    format!("add address {address} to interface {}", self.name),
                    source,
                )
            }),
        }
    }

    fn remove_address(&mut self, address: Address) {
        let message = RouteNetlinkMessage::DelAddress(self.address_message(address));
        if let Err(error) = self.netlink.request(message, Mode::Plain)
            && !is(&error, Errno::ADDRNOTAVAIL)
            && !is(&error, Errno::NODEV)
        {
            tracing::warn!(interface = %self.name, %address, %error, "address not removed");
        }
    }

    fn address_message(&self, address: Address) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = family(address.ip);
        message.header.prefix_len = address.prefix;
        message.header.scope = match address.ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => AddressScope::Link,
            _ => AddressScope::Universe,
        };
        message.header.index = self.index;
        message.attributes.push(AddressAttribute::Local(address.ip));
        message
            .attributes
            .push(AddressAttribute::Address(address.ip));
        if address.ip.is_ipv6() {
            // The network gave the address to this link only, so there can be no duplicate.
            message.header.flags = AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        message
    }

    fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewRoute(self.route_message(route));
        self.netlink
            .request(message, Mode::Create)
            .map_err(|source| {
                let what = format!("add route {route} through interface {}", self.name);
                if is(&source, Errno::EXIST) {
                    Error::new(
                        ErrorKind::Busy,
                        what,
                        "another interface has this route with the same metric",
                        "choose a metric (lower wins), or narrower ranges",
                    )
                    .because(source)
                } else {
                    self.error(what, source)
                }
            })
    }

    fn remove_route(&mut self, route: &Route) {
        let message = RouteNetlinkMessage::DelRoute(self.route_message(route));
        if let Err(error) = self.netlink.request(message, Mode::Plain)
            && !is(&error, Errno::SRCH)
            && !is(&error, Errno::NODEV)
        {
            tracing::warn!(interface = %self.name, %route, %error, "route not removed");
        }
    }

    fn route_message(&self, route: &Route) -> RouteMessage {
        let mut message = RouteMessage::default();
        let destination = route.destination;
        message.header.address_family = family(destination.address());
        message.header.destination_prefix_length = destination.length();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope = match (destination.address(), route.gateway) {
            (IpAddr::V4(_), None) => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        if !destination.is_default() {
            let address = RouteAddress::from(destination.address());
            message
                .attributes
                .push(RouteAttribute::Destination(address));
        }
        if let Some(gateway) = route.gateway {
            message
                .attributes
                .push(RouteAttribute::Gateway(gateway.into()));
            if !self.plan.on_link(gateway) {
                message.header.flags = RouteFlags::Onlink;
            }
        }
        message.attributes.push(RouteAttribute::Oif(self.index));
        message
            .attributes
            .push(RouteAttribute::Priority(route.effective_metric()));
        message
    }

    fn error(&self, what: String, source: std::io::Error) -> Error {
        if is(&source, Errno::NODEV) {
            Error::new(
                ErrorKind::Gone,
                what,
                "the interface is gone",
                "start again",
            )
            .because(source)
        } else if is(&source, Errno::PERM) {
            Error::new(
                ErrorKind::NoPermission,
                what,
                "changing the network configuration needs CAP_NET_ADMIN",
                "run as root, give the program the capability (setcap cap_net_admin+ep PROGRAM), or use the userspace stack",
            )
            .because(source)
        } else {
            Error::system(what, source)
        }
    }

    fn restore(&mut self) {
        for route in std::mem::take(&mut self.routes) {
            self.remove_route(&route);
        }
        for address in std::mem::take(&mut self.addresses) {
            self.remove_address(address);
        }
        let before = std::mem::take(&mut self.before);
        let mut link = self.link_message();
        if !before.up {
            link.header.change_mask = LinkFlags::Up;
        }
        link.attributes.extend(before.mtu.map(LinkAttribute::Mtu));
        link.attributes
            .extend(before.tx_queue_length.map(LinkAttribute::TxQueueLen));
        if let Some(mode) = before.gen_mode {
            let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::from(mode));
            let mode = AfSpecUnspec::Inet6(vec![mode]);
            link.attributes
                .push(LinkAttribute::AfSpecUnspec(vec![mode]));
        }
        // An interface that is gone has nothing to restore. Any other refusal concerns a change
        // that was not allowed before either.
        if let Err(error) = self
            .netlink
            .request(RouteNetlinkMessage::SetLink(link), Mode::Plain)
        {
            tracing::debug!(interface = %self.name, %error, "interface not restored");
        }
        for (setting, value) in before.settings {
            if let Err(error) = sysctl::set(&self.name, &setting, &value) {
                tracing::debug!(interface = %self.name, setting, %error, "setting not restored");
            }
        }
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        self.restore();
    }
}

impl std::fmt::Debug for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configuration")
            .field("name", &self.name)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// Returns the state of an interface before it is configured.
fn read_before(link: &LinkMessage) -> Before {
    let mut before = Before {
        up: link.header.flags.contains(LinkFlags::Up),
        ..Before::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => before.mtu = Some(*mtu),
            LinkAttribute::TxQueueLen(length) => before.tx_queue_length = Some(*length),
            LinkAttribute::AfSpecUnspec(families) => {
                before.gen_mode = families.iter().find_map(|family| match family {
                    AfSpecUnspec::Inet6(parts) => parts.iter().find_map(|part| match part {
                        AfSpecInet6::AddrGenMode(mode) => Some(u8::from(mode)),
                        _ => None,
                    }),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    before
}

/// Returns whether the kernel takes two routes for the same one.
fn same(one: &Route, other: &Route) -> bool {
    other.destination == one.destination
        && other.gateway == one.gateway
        && other.effective_metric() == one.effective_metric()
}

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn is(error: &std::io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
