//! The options of a data session: session 0's as options of their own (`--apn`), another session's
//! in one option (`--session N:apn=…`).
//!
//! In a configuration file `session` is the same text, or a table:
//!
//! ```toml
//! session = ["3:apn=mms,ip-type=ipv4"]
//!
//! [[session]]
//! id = 3
//! apn = "mms"
//! route = ["192.0.2.0/24"]
//! ```

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{CommandFactory, Parser};
use serde::Deserialize;
use uwwan_modem::options::{Auth, Dns, IpType, SessionOptions, TunMode};

use crate::checks::{bad, interface_name, one_or_many, routes, text, within, words};
use crate::choices::choices;
use crate::failure::{Failure, of_options};
use crate::secrets;

choices! {
    /// The options of a data session.
    #[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
    #[serde(rename_all = "kebab-case", default)]
    pub struct SessionSettings {
        /// Access point name; without it the subscription's default is asked for
        #[arg(long, value_name = "NAME", help_heading = "Session")]
        pub apn: Option<String>,
        /// Address families to ask the network for [default: ipv4v6]
        #[arg(long, value_name = "TYPE", value_parser = words(IpType::VALUES), help_heading = "Session")]
        pub ip_type: Option<IpType>,
        /// Authentication towards the access point [default: none]
        #[arg(long, value_name = "HOW", value_parser = words(Auth::VALUES), help_heading = "Session")]
        pub auth: Option<Auth>,
        /// User name for --auth
        #[arg(long, value_name = "NAME", help_heading = "Session")]
        pub user: Option<String>,
        /// File whose first line is the password for --auth
        #[arg(long, value_name = "FILE", help_heading = "Session")]
        pub password_file: Option<PathBuf>,
        /// Name of the TUN interface [default: the kernel picks one]
        #[arg(long, value_name = "NAME", help_heading = "Host")]
        pub tun_name: Option<String>,
        /// How packets cross the TUN interfaces: many a call, cut and merged by the driver (offload), the
        /// same with TCP alone (offload-tcp), or one a call (plain), which is also what a kernel without
        /// offload gets. Kernels up to 6.8.4 lose merged UDP that goes on to a VXLAN device: take
        /// offload-tcp there [default: offload]
        #[arg(long, value_name = "MODE", value_parser = words(TunMode::VALUES), help_heading = "Host")]
        pub tun_mode: Option<TunMode>,
        /// Routes through the modem: none, default, or prefixes such as 192.0.2.0/24; may be repeated
        /// [default: none]
        #[arg(
            long,
            value_name = "ROUTE",
            value_delimiter = ',',
            help_heading = "Host"
        )]
        #[serde(deserialize_with = "one_or_many")]
        pub route: Option<Vec<String>>,
        /// Metric of these routes: of several to the same destination the lowest wins [default: the
        /// kernel's, 0 for IPv4 and 1024 for IPv6]
        #[arg(long, value_name = "N", help_heading = "Host")]
        pub route_metric: Option<u32>,
        /// What to do with the name servers the network hands out: show them (none), or hand them to
        /// systemd-resolved or resolvconf [default: none]
        #[arg(long, value_name = "HOW", value_parser = words(Dns::VALUES), help_heading = "Host")]
        pub dns: Option<Dns>,
        /// MTU of the interface in bytes [default: the network's]
        #[arg(long, value_name = "BYTES", help_heading = "Host")]
        pub mtu: Option<u16>,
    }
}

impl SessionSettings {
    /// Makes relative paths start at this directory.
    pub fn in_folder(&mut self, folder: &Path) {
        if let Some(file) = &mut self.password_file {
            *file = folder.join(&*file);
        }
    }

    /// Returns the options that apply only with the network of a modem, each with whether it is
    /// set.
    pub fn of_a_network(&self) -> [(&'static str, bool); 5] {
        [
            ("apn", self.apn.is_some()),
            ("ip-type", self.ip_type.is_some()),
            ("auth", self.auth.is_some()),
            ("user", self.user.is_some()),
            ("dns", self.dns.is_some_and(|dns| dns != Dns::None)),
        ]
    }

    /// Applies the options to a session; the password file is read here. `named` returns the name
    /// under which the user knows an option.
    ///
    /// # Errors
    /// [`FailureKind::Usage`](crate::failure::FailureKind::Usage), which names the option that
    /// makes no sense.
    pub fn apply(
        &self,
        session: &mut SessionOptions,
        named: impl Fn(&str) -> String,
    ) -> Result<(), Failure> {
        if let Some(apn) = &self.apn {
            text(&named("apn"), apn, 100)?;
            session.apn.clone_from(apn);
        }
        if let Some(user) = &self.user {
            text(&named("user"), user, 255)?;
            session.user.clone_from(user);
        }
        session.ip_type = self.ip_type.unwrap_or(session.ip_type);
        session.auth = self.auth.unwrap_or(session.auth);
        if session.auth == Auth::None && (self.user.is_some() || self.password_file.is_some()) {
            let auth = named("auth");
            let why = "a user name or password is given, but no way to send it";
            return Err(bad(&auth, why).next(format!(
                "add --{auth} chap, or --{auth} pap where the operator asks for it"
            )));
        }
        if let Some(path) = &self.password_file {
            session.password = secrets::from_file(path, secrets::password)?;
        }
        if let Some(name) = &self.tun_name {
            interface_name(&named("tun-name"), name)?;
            session.tun_name = Some(name.clone());
        }
        session.tun_mode = self.tun_mode.unwrap_or(session.tun_mode);
        if let Some(list) = &self.route {
            session.routes = routes(&named("route"), list)?;
        }
        session.route_metric = self.route_metric.or(session.route_metric);
        session.dns = self.dns.unwrap_or(session.dns);
        if let Some(mtu) = self.mtu {
            within(&named("mtu"), mtu, 576, 65_535)?;
            session.mtu = Some(mtu);
        }
        Ok(())
    }
}

/// Options of the data session with a given number.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Form")]
pub struct NumberedSession {
    /// MBIM session id.
    pub id: u8,
    /// Options of the session.
    pub settings: SessionSettings,
}

/// Forms that a session may have in a configuration file: a text or a table.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "\"N:apn=NAME,…\" or a table with id, apn and so on"
)]
enum Form {
    Text(String),
    Table(Box<Table>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    id: u8,
    #[serde(flatten)]
    settings: SessionSettings,
}

impl TryFrom<Form> for NumberedSession {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Text(text) => text.parse(),
            Form::Table(table) => Ok(Self {
                id: table.id,
                settings: table.settings,
            }),
        }
    }
}

/// Parser of a session's options alone.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    settings: SessionSettings,
}

impl FromStr for NumberedSession {
    type Err = String;

    /// # Errors
    /// A text that repeats no value of an unknown option, which may be a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, rest) = text.split_once(':').unwrap_or((text, ""));
        let id = number
            .trim()
            .parse()
            .map_err(|_| "there is no number of a session, 0 to 255, in front of the colon")?;
        let command = Alone::command();
        let known: Vec<&str> = command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .collect();
        let mut seen = Vec::new();
        let mut arguments = Vec::new();
        for part in rest.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = name.trim();
            // The part may be the rest of a password with a comma in it, and is not repeated.
            if name.len() == part.trim().len() && !known.contains(&name) {
                return Err("expected name=value in each part".into());
            }
            if name == "password" {
                return Err("a password on the command line can be read by every user; \
                     password-file takes it from a file"
                    .into());
            }
            if !known.contains(&name) {
                let known = known.join(", ");
                return Err(format!("there is no {name:?} here; known: {known}"));
            }
            if name.len() == part.trim().len() {
                return Err(format!("{name}: expected {name}=value"));
            }
            if seen.contains(&name) {
                return Err(format!("{name} is given twice"));
            }
            seen.push(name);
            // A comma ends the option, so several routes are joined by `+`.
            let value = match name {
                "route" => value.trim().replace('+', ","),
                _ => value.trim().to_owned(),
            };
            arguments.push(format!("--{name}={value}"));
        }
        let parsed = Alone::try_parse_from(arguments).map_err(|error| of_options(&error))?;
        Ok(Self {
            id,
            settings: parsed.settings,
        })
    }
}

/// Returns a session's options as they were given, without the values of unknown options, which may
/// be passwords.
pub fn without_secrets(text: &str) -> String {
    let command = Alone::command();
    let known = |name: &str| {
        let mut names = command.get_arguments().filter_map(clap::Arg::get_long);
        names.any(|known| known == name.trim())
    };
    let (number, rest) = text.split_once(':').unwrap_or(("", text));
    let parts = rest.split(',').map(|part| match part.split_once('=') {
        Some((name, _)) if known(name) => part.to_owned(),
        Some((name, _)) => format!("{name}=…"),
        None if known(part) || part.trim().is_empty() => part.to_owned(),
        None => "…".to_owned(),
    });
    let parts = parts.collect::<Vec<_>>().join(",");
    // Text without a number is taken as one option.
    match number.trim().parse::<u32>() {
        Ok(_) => format!("{number}:{parts}"),
        Err(_) => parts,
    }
}

impl NumberedSession {
    /// Adds the session to `sessions`, the first of which is session 0. Options for session 0 are
    /// applied to that one.
    ///
    /// # Errors
    /// Those of [`SessionSettings::apply`], and
    /// [`FailureKind::Usage`](crate::failure::FailureKind::Usage) for a number given twice.
    pub fn add(&self, sessions: &mut Vec<SessionOptions>) -> Result<(), Failure> {
        let id = self.id;
        let named = |option: &str| format!("session {id}:{option}");
        if id == 0 {
            return self.settings.apply(&mut sessions[0], named);
        }
        if sessions.iter().any(|other| other.id == id) {
            return Err(bad("session", format!("session {id} is given twice")));
        }
        let mut session = SessionOptions {
            id,
            tun_mode: sessions[0].tun_mode,
            ..SessionOptions::default()
        };
        self.settings.apply(&mut session, named)?;
        sessions.push(session);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::options::Routes;

    fn applied(texts: &[&str]) -> Result<Vec<SessionOptions>, Failure> {
        let mut sessions = vec![SessionOptions {
            apn: "plain".into(),
            ..SessionOptions::default()
        }];
        for text in texts {
            text.parse::<NumberedSession>()
                .unwrap()
                .add(&mut sessions)?;
        }
        Ok(sessions)
    }

    #[test]
    fn sessions_are_read_from_text() {
        let sessions = applied(&[
            "0:apn=a,mtu=1400",
            "3: apn=b, ip-type=ipv6, route=default, route-metric=700, tun-name=mms0, dns=resolved",
            "7",
        ])
        .unwrap();
        let [zero, three, seven] = &sessions[..] else {
            panic!("{sessions:?}");
        };
        assert_eq!((&zero.apn[..], zero.mtu), ("a", Some(1400)));
        assert_eq!(three.route_metric, Some(700));
        assert_eq!(
            (three.id, &three.apn[..], three.ip_type),
            (3, "b", IpType::Ipv6)
        );
        assert_eq!(
            (&three.routes, three.dns),
            (&Routes::Default, Dns::Resolved)
        );
        assert_eq!(three.tun_name.as_deref(), Some("mms0"));
        assert_eq!(
            *seven,
            SessionOptions {
                id: 7,
                ..SessionOptions::default()
            }
        );
        let sessions = applied(&["1:route=192.0.2.0/24+2001:db8::/32"]).unwrap();
        assert!(matches!(&sessions[1].routes, Routes::Prefixes(list) if list.len() == 2));
        assert_eq!(sessions[0].apn, "plain");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, expected) in [
            ("", "no number"),
            ("x:apn=a", "no number"),
            ("256:apn=a", "no number"),
            ("1:apn", "apn=value"),
            ("1:swordfish", "name=value"),
            ("1:password=swordfish", "password-file"),
            ("1:pasword=swordfish", "known: apn"),
            ("1:apn=a,swordfish", "name=value"),
            ("1:apm=a", "known: apn"),
            ("1:ip-type=ipx", "ipv4v6"),
            ("1:mtu=big", "BYTES"),
            ("1:apn=a,apn=b", "twice"),
        ] {
            let told = text.parse::<NumberedSession>().unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
            assert!(!told.contains("swordfish"), "{text}: {told}");
        }
        for texts in [
            &["1:apn=a", "1:apn=b"][..],
            &["1:user=me"],
            &["1:tun-name=../x"],
            &["1:mtu=100"],
            &["1:route=nowhere"],
        ] {
            let told = applied(texts).unwrap_err().to_string();
            assert!(told.contains("where: --"), "{texts:?}: {told}");
        }
    }

    #[test]
    fn a_file_may_hold_tables() {
        #[derive(Deserialize)]
        struct File {
            session: Vec<NumberedSession>,
        }
        let file: File = toml::from_str(
            "[[session]]\nid = 3\napn = \"mms\"\nip-type = \"ipv6\"\n[[session]]\nid = 4\n",
        )
        .unwrap();
        assert_eq!(file.session[0], "3:apn=mms,ip-type=ipv6".parse().unwrap());
        let file: File = toml::from_str("session = [\"3:apn=mms\"]").unwrap();
        assert_eq!(file.session.len(), 1);
        for wrong in [
            "session = [5]",
            "[[session]]\napn = \"x\"",
            "[[session]]\nid = 3\napm = \"x\"",
            "session = [\"3:apm=x\"]",
        ] {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
    }
}
