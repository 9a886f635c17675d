//! Conversion of the options of `up` into the form of the library, and into that of the servers
//! that lead to its network stacks.

use std::time::Duration;

use uwwan_modem::Options;
use uwwan_modem::options::{Dns, Mode, SessionOptions};

use super::Settings;
use crate::checks::{bad, within};
use crate::failure::Failure;
use crate::secrets;
use crate::userspace;
use crate::userspace::options::Net;

impl Settings {
    /// Converts the options into the library's form. The PIN and password files are read once here,
    /// to check them, and again whenever their content is needed.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the name of the option and what it accepts.
    pub fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::default();
        if let Some(settle) = self.settle {
            within("settle", settle, 0.0, 600.0)?;
            options.settle = Some(Duration::from_secs_f64(settle));
        }
        if let Some(budget) = self.open_budget {
            within("open-budget", budget, 1.0, 600.0)?;
            options.open_budget = Some(Duration::from_secs_f64(budget));
        }
        if let Some(timeout) = self.timeout {
            within("timeout", timeout, 1.0, 86_400.0)?;
            options.timeout = Some(Duration::from_secs_f64(timeout));
        }
        if let Some(size) = self.block_size {
            within("block-size", size, 2_048, 1 << 20)?;
            options.block_size = Some(size);
        }
        if let Some(size) = self.input_size {
            within("input-size", size, 2_048, 1 << 20)?;
            options.input_size = Some(size);
        }
        if let Some(count) = self.max_datagrams {
            within("max-datagrams", count, 1, u16::MAX)?;
            options.max_datagrams = Some(count);
        }
        if let Some(count) = self.in_flight {
            within("in-flight", count, 1, 64)?;
            options.in_flight = Some(count);
        }
        if let Some(nice) = self.nice {
            within("nice", nice, -20, 19)?;
            options.nice = Some(nice);
        }
        if let Some(path) = &self.pin_file {
            options.pin = secrets::from_file(path, secrets::pin)?;
        }
        let mut first = SessionOptions::default();
        self.session_0.apply(&mut first, str::to_owned)?;
        for address in self.address.iter().flatten() {
            let parsed = address.parse().map_err(|error| bad("address", error))?;
            first.static_addresses.addresses.push(parsed);
        }
        for gateway in self.gateway.iter().flatten() {
            let parsed = gateway
                .parse()
                .map_err(|_| bad("gateway", format!("{gateway:?} is no IP address")))?;
            first.static_addresses.gateways.push(parsed);
        }
        options.sessions = vec![first];
        // Session 0 has to be added first, because the other sessions take their TUN mode from it.
        let given = || self.session.iter().flatten();
        let zero = given().filter(|session| session.id == 0);
        for session in zero.chain(given().filter(|session| session.id != 0)) {
            session.add(&mut options.sessions)?;
        }
        options.force_pin = self.force_pin.unwrap_or(options.force_pin);
        if let Some(number) = self.function {
            within("function", number, 1, u8::MAX)?;
            options.function = Some(number);
        }
        if self.mode.is_some() && self.function.is_some() {
            return Err(
                bad("mode", "--function chooses the mode already").next("give one of the two")
            );
        }
        if self.tap == Some(true) && self.mode == Some(Mode::Mbim) {
            let why = "MBIM carries IP datagrams, a TAP interface Ethernet frames";
            return Err(bad("tap", why).next("choose --mode ncm or --mode ecm, or leave it out"));
        }
        options.mode = self.mode;
        options.tap = self.tap.unwrap_or(options.tap);
        options.fcc_unlock = self.fcc_unlock.unwrap_or(options.fcc_unlock);
        options.roaming = self.roaming.unwrap_or(options.roaming);
        options.wait_for_device = self.wait.unwrap_or(options.wait_for_device);
        options.persist = self.persist.unwrap_or(options.persist);
        options.reattach_drivers = self.reattach.unwrap_or(options.reattach_drivers);
        options.probe = self.probe.unwrap_or(options.probe);
        options.ack_filter = self.ack_filter.unwrap_or(options.ack_filter);
        options.at_port = self.at_port.unwrap_or(options.at_port);
        options.ndp = self.ndp;
        options.ntb = self.ntb;
        options.table = self.table;
        options.padding = self.pad;
        options.heal = self.heal.unwrap_or(options.heal);
        if let Some(hooks) = &self.hooks {
            hooks.check()?;
        }
        Ok(options)
    }

    /// Returns the servers to open with `--net userspace`, or `None` without that option.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the name of an option that does not go together with the value
    /// of `--net`.
    pub fn userspace(&self) -> Result<Option<userspace::Wanted<'_>>, Failure> {
        let wanted = userspace::Wanted {
            socks: self.socks.as_deref().unwrap_or_default(),
            http: self.http_proxy.as_deref().unwrap_or_default(),
            forwards: self.forward.as_deref().unwrap_or_default(),
            login: self.proxy_login_file.as_deref(),
        };
        let sessions = || self.session.iter().flatten();
        let all = || {
            let further = sessions().map(|session| &session.settings);
            [&self.session_0].into_iter().chain(further)
        };
        let (options, why) = match self.net.unwrap_or_default() {
            Net::Kernel => (
                &[
                    ("socks", self.socks.is_some()),
                    ("http-proxy", self.http_proxy.is_some()),
                    ("proxy-login-file", self.proxy_login_file.is_some()),
                    ("forward", self.forward.is_some()),
                ][..],
                "it goes with --net userspace: an interface of this machine needs none",
            ),
            Net::Userspace => (
                &[
                    ("route", all().any(|one| one.route.is_some())),
                    ("route-metric", all().any(|one| one.route_metric.is_some())),
                    ("tun-name", all().any(|one| one.tun_name.is_some())),
                    ("tun-mode", all().any(|one| one.tun_mode.is_some())),
                    (
                        "dns",
                        all().any(|one| one.dns.is_some_and(|dns| dns != Dns::None)),
                    ),
                    ("tap", self.tap == Some(true)),
                    ("ack-filter", self.ack_filter == Some(true)),
                ][..],
                "with --net userspace there is no interface of this machine",
            ),
        };
        match options.iter().find(|(_, given)| *given) {
            Some((option, _)) => return Err(bad(option, why).next("leave one of the two out")),
            None if self.net != Some(Net::Userspace) => return Ok(None),
            None => {}
        }
        let known = |session: u8| session == 0 || sessions().any(|one| one.id == session);
        let mut listened_for = wanted.sessions().into_iter();
        match listened_for.find(|(_, session)| !known(*session)) {
            None => Ok(Some(wanted)),
            Some((option, session)) => {
                let why = format!("there is no data session {session}");
                Err(bad(option, why).next(format!("add --session {session}:apn=NAME")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Over;
    use crate::failure::FailureKind;
    use crate::session_settings::SessionSettings;
    use std::path::Path;
    use uwwan_modem::options::TunMode;

    fn from_text(text: &str) -> Result<Settings, Failure> {
        Settings::parse(Path::new("modem.toml"), text)
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings {
            session_0: SessionSettings {
                apn: Some("flag".into()),
                ..SessionSettings::default()
            },
            roaming: Some(false),
            ..Settings::default()
        };
        let file = Settings {
            session_0: SessionSettings {
                apn: Some("file".into()),
                mtu: Some(1400),
                ..SessionSettings::default()
            },
            roaming: Some(true),
            ..Settings::default()
        };
        let options = flags.over(file).options().unwrap();
        assert_eq!(options.sessions[0].apn, "flag");
        assert!(!options.roaming);
        assert_eq!(options.sessions[0].mtu, Some(1400));
    }

    #[test]
    fn nothing_chosen_is_the_librarys_default() {
        assert_eq!(Settings::default().options().unwrap(), Options::default());
    }

    #[test]
    fn every_session_gets_the_tun_mode() {
        let settings =
            from_text("tun-mode = 'plain'\nsession = ['3:apn=mms']\nmax-datagrams = 20").unwrap();
        let options = settings.options().unwrap();
        assert_eq!(options.sessions[0].tun_mode, TunMode::Plain);
        assert_eq!(options.sessions[1].tun_mode, TunMode::Plain);
        assert_eq!(options.max_datagrams, Some(20));
    }

    #[test]
    fn a_network_device_has_choices_of_its_own() {
        let settings = from_text(
            r#"
            device = "0525:a4a1"
            address = ["192.0.2.7/24", "2001:db8::7/64"]
            gateway = "192.0.2.1"
            "#,
        )
        .unwrap();
        let chosen = settings
            .options()
            .unwrap()
            .sessions
            .remove(0)
            .static_addresses;
        let addresses: Vec<String> = chosen.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.7/24", "2001:db8::7/64"]);
        assert_eq!(
            chosen.gateways,
            ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(settings.check_kind(true), Ok(()));
        assert_eq!(settings.check_kind(false), Ok(()));
        let modem = from_text("apn = \"internet\"").unwrap();
        assert_eq!(modem.check_kind(false), Ok(()));
        let of_ethernet = modem.check_kind(true).unwrap_err();
        assert_eq!(of_ethernet.kind, FailureKind::Usage);
        assert!(of_ethernet.to_string().contains("--apn"), "{of_ethernet}");
        for wrong in ["address = \"192.0.2.7/33\"", "gateway = \"router\""] {
            let failure = from_text(wrong).unwrap().options().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage, "{failure}");
        }
    }

    #[test]
    fn senseless_values_are_refused_by_name() {
        let base = Settings::default();
        let of_session_0 = |session_0| Settings {
            session_0,
            ..Settings::default()
        };
        let cases: [(&str, Settings); 11] = [
            (
                "--settle",
                Settings {
                    settle: Some(f64::NAN),
                    ..base.clone()
                },
            ),
            (
                "--settle",
                Settings {
                    settle: Some(-1.0),
                    ..base.clone()
                },
            ),
            (
                "--mtu",
                of_session_0(SessionSettings {
                    mtu: Some(100),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--in-flight",
                Settings {
                    in_flight: Some(0),
                    ..base.clone()
                },
            ),
            (
                "--max-datagrams",
                Settings {
                    max_datagrams: Some(0),
                    ..base.clone()
                },
            ),
            (
                "--block-size",
                Settings {
                    block_size: Some(u32::MAX),
                    ..base.clone()
                },
            ),
            (
                "--apn",
                of_session_0(SessionSettings {
                    apn: Some("a\nb".into()),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--apn",
                of_session_0(SessionSettings {
                    apn: Some("x".repeat(101)),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--auth",
                of_session_0(SessionSettings {
                    user: Some("me".into()),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--tun-name",
                of_session_0(SessionSettings {
                    tun_name: Some("../x".into()),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--tun-name",
                of_session_0(SessionSettings {
                    tun_name: Some("sixteen-letters!".into()),
                    ..SessionSettings::default()
                }),
            ),
        ];
        for (option, settings) in cases {
            let failure = settings.options().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            assert!(failure.to_string().contains(option), "{option}: {failure}");
        }
    }
}
