//! `--session N:apn=…`: the choices for one data session of several.
//!
//! In a configuration file the same as text, or as a table:
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

use serde::Deserialize;
use uwwan_modem::Options;
use uwwan_modem::options::{Auth, Dns, IpType, Secret, SessionOptions};

use crate::failure::Failure;
use crate::secrets;
use crate::settings::{bad, interface_name, routes, text, within};

/// One data session as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Form")]
pub struct SessionOption {
    id: u8,
    apn: Option<String>,
    ip_type: Option<IpType>,
    auth: Option<Auth>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    tun_name: Option<String>,
    route: Option<Vec<String>>,
    route_metric: Option<u32>,
    dns: Option<Dns>,
    mtu: Option<u16>,
}

/// What a file may say.
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
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    id: u8,
    #[serde(default)]
    apn: Option<String>,
    #[serde(default)]
    ip_type: Option<IpType>,
    #[serde(default)]
    auth: Option<Auth>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    tun_name: Option<String>,
    #[serde(default)]
    route: Option<Vec<String>>,
    #[serde(default)]
    route_metric: Option<u32>,
    #[serde(default)]
    dns: Option<Dns>,
    #[serde(default)]
    mtu: Option<u16>,
}

impl TryFrom<Form> for SessionOption {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Text(text) => text.parse(),
            Form::Table(table) => Ok(Self {
                id: table.id,
                apn: table.apn,
                ip_type: table.ip_type,
                auth: table.auth,
                user: table.user,
                password_file: table.password_file,
                tun_name: table.tun_name,
                route: table.route,
                route_metric: table.route_metric,
                dns: table.dns,
                mtu: table.mtu,
            }),
        }
    }
}

impl FromStr for SessionOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, rest) = text.split_once(':').unwrap_or((text, ""));
        let id = number
            .trim()
            .parse()
            .map_err(|_| format!("{number:?} is no number of a session, 0 to 255"))?;
        let mut session = Self {
            id,
            ..Self::default()
        };
        let mut seen = Vec::new();
        for part in rest.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?}: expected name=value"))?;
            let name = name.trim();
            if seen.contains(&name) {
                return Err(format!("{name} is given twice"));
            }
            seen.push(name);
            session.set(name, value.trim())?;
        }
        Ok(session)
    }
}

impl SessionOption {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let told = |why: &dyn std::fmt::Display| format!("{name}: {why}");
        match name {
            "apn" => self.apn = Some(value.to_owned()),
            "ip-type" => self.ip_type = Some(value.parse().map_err(|e| told(&e))?),
            "auth" => self.auth = Some(value.parse().map_err(|e| told(&e))?),
            "user" => self.user = Some(value.to_owned()),
            "password-file" => self.password_file = Some(value.into()),
            "tun-name" => self.tun_name = Some(value.to_owned()),
            "route" => self.route = Some(value.split('+').map(str::to_owned).collect()),
            "route-metric" => {
                let wrong = |_| told(&"expected a number");
                self.route_metric = Some(value.parse().map_err(wrong)?);
            }
            "dns" => self.dns = Some(value.parse().map_err(|e| told(&e))?),
            "mtu" => {
                let wrong = |_| told(&"expected a number of bytes");
                self.mtu = Some(value.parse().map_err(wrong)?);
            }
            _ => {
                return Err(format!(
                    "there is no {name:?} here; known: apn, ip-type, auth, user, password-file, tun-name, route, \
                     route-metric, dns, mtu"
                ));
            }
        }
        Ok(())
    }

    /// Lets a relative path start at this folder.
    pub fn in_folder(&mut self, folder: &Path) {
        if let Some(file) = &mut self.password_file {
            *file = folder.join(&*file);
        }
    }

    /// Puts the choices where they belong; the password file is read here.
    ///
    /// # Errors
    /// [`FailureKind::Usage`](crate::failure::FailureKind::Usage) naming what makes no sense.
    pub fn apply(&self, options: &mut Options) -> Result<(), Failure> {
        let mut session = if self.id == 0 {
            options.session_0()
        } else {
            SessionOptions {
                id: self.id,
                ..SessionOptions::default()
            }
        };
        if let Some(apn) = &self.apn {
            text("session", apn, 100)?;
            session.apn.clone_from(apn);
        }
        if let Some(user) = &self.user {
            text("session", user, 255)?;
            session.user.clone_from(user);
        }
        session.ip_type = self.ip_type.unwrap_or(session.ip_type);
        session.auth = self.auth.unwrap_or(session.auth);
        session.dns = self.dns.unwrap_or(session.dns);
        session.route_metric = self.route_metric.or(session.route_metric);
        if session.auth == Auth::None && (self.user.is_some() || self.password_file.is_some()) {
            let why = format!(
                "{}: a user name or password is given, but no way to send it",
                self.id
            );
            return Err(bad("session", why)
                .next("add auth=chap, or auth=pap where the operator asks for it"));
        }
        if let Some(path) = &self.password_file {
            session.password = Secret::new(secrets::password(path)?);
        }
        if let Some(name) = &self.tun_name {
            interface_name(name)?;
            session.tun_name = Some(name.clone());
        }
        if let Some(list) = &self.route {
            session.routes = routes(list)?;
        }
        if let Some(mtu) = self.mtu {
            within("session", mtu, 576, 9_000)?;
            session.mtu = Some(mtu);
        }
        if self.id != 0 {
            if options.sessions.iter().any(|other| other.id == self.id) {
                return Err(bad(
                    "session",
                    format!("session {} is given twice", self.id),
                ));
            }
            options.sessions.push(session);
            return Ok(());
        }
        options.apn = session.apn;
        options.ip_type = session.ip_type;
        options.auth = session.auth;
        options.user = session.user;
        options.password = session.password;
        options.mtu = session.mtu;
        options.tun_name = session.tun_name;
        options.routes = session.routes;
        options.route_metric = session.route_metric;
        options.dns = session.dns;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::options::Routes;

    fn applied(texts: &[&str]) -> Result<Options, Failure> {
        let mut options = Options {
            apn: "plain".into(),
            ..Options::default()
        };
        for text in texts {
            text.parse::<SessionOption>().unwrap().apply(&mut options)?;
        }
        Ok(options)
    }

    #[test]
    fn sessions_are_read_from_text() {
        let options = applied(&[
            "0:apn=a,mtu=1400",
            "3: apn=b, ip-type=ipv6, route=default, route-metric=700, tun-name=mms0, dns=resolved",
            "7",
        ])
        .unwrap();
        assert_eq!((&options.apn[..], options.mtu), ("a", Some(1400)));
        let [three, seven] = &options.sessions[..] else {
            panic!("{:?}", options.sessions);
        };
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
        let options = applied(&["1:route=192.0.2.0/24+2001:db8::/32"]).unwrap();
        assert!(matches!(&options.sessions[0].routes, Routes::Prefixes(list) if list.len() == 2));
        assert_eq!(options.apn, "plain");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, expected) in [
            ("", "no number"),
            ("x:apn=a", "no number"),
            ("256:apn=a", "no number"),
            ("1:apn", "name=value"),
            ("1:apm=a", "known: apn"),
            ("1:ip-type=ipx", "ipv4v6"),
            ("1:mtu=big", "bytes"),
            ("1:apn=a,apn=b", "twice"),
        ] {
            let told = text.parse::<SessionOption>().unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
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
            session: Vec<SessionOption>,
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
            "session = [\"3:apm=x\"]",
        ] {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
    }
}
