//! Reading the options of `up` from a TOML file.
//!
//! The keys are the flags' names without their dashes: `apn = "internet"`, `route = ["192.0.2.0/24"]`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use clap::Args as _;
use uwwan_modem::state_file;

use super::Settings;
use crate::failure::{Failure, FailureKind};

/// Size of the longest configuration file that is read, in bytes.
const LONGEST_FILE: u64 = 64 * 1024;
/// Secrets that belong in files of their own. A line that holds one of these words is never shown.
const SECRETS: [&str; 2] = ["pin", "password"];

impl Settings {
    /// Reads a TOML file. Relative paths in it start at the file's own directory.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the line of the file that is wrong, where one is.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "cannot use the configuration file")
                .at(format!("{} (--config)", path.display()))
                .because(why)
        };
        let mut text = String::new();
        state_file::regular(path)
            .and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
            .map_err(|error| wrong(&error))?;
        if text.len() as u64 > LONGEST_FILE {
            return Err(wrong(&format_args!(
                "it is longer than {LONGEST_FILE} bytes"
            )));
        }
        Self::parse(path, &text)
    }

    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the line and column of the mistake.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "cannot use the configuration file")
                .at(format!("{} (--config)", path.display()))
                .because(why)
                .next(
                    "its keys are the options of uwwan up without their dashes; see uwwan up --help",
                )
        };
        let told = |error: toml::de::Error| wrong(&explained(text, &error));
        let mut settings: Self = toml::from_str(text).map_err(told)?;
        settings.session_0 = toml::from_str(text).map_err(told)?;
        if let Some((line, key)) = unknown_key(text) {
            let failure = wrong(&format_args!("line {line}: unknown field `{key}`"));
            return Err(match SECRETS.contains(&key.as_str()) {
                true => failure.next(format!(
                    "put it alone on the first line of a file that only you can read, and name that: \
                     {key}-file = \"FILE\""
                )),
                false => failure,
            });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = [&mut settings.pin_file, &mut settings.proxy_login_file];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        if let Some(hooks) = &mut settings.hooks {
            hooks.in_file(path);
        }
        settings.session_0.in_folder(folder);
        for session in settings.session.iter_mut().flatten() {
            session.settings.in_folder(folder);
        }
        Ok(settings)
    }
}

/// Returns the text of a parser's error in a configuration file. The wrong line is quoted in it,
/// unless the line, or the table that it begins, could hold a secret.
fn explained(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let number = text[..at].matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let table = text.lines().skip(number + 1);
    let table = table.take_while(|line| !line.trim_start().starts_with('['));
    let secret = |line: &str| {
        let line = line.to_ascii_lowercase();
        SECRETS.iter().any(|secret| line.contains(secret))
    };
    if secret(line) || line.trim_start().starts_with('[') && { table }.any(secret) {
        let number = number + 1;
        return format!(
            "line {number}: a value is of the wrong kind, or a key is unknown; PIN and passwords stand in \
             files of their own, which pin-file and password-file name"
        );
    }
    error.to_string().trim_end().to_owned()
}

/// Returns the first key of a configuration file that is not an option, and the number of its line,
/// counted from 1.
fn unknown_key(text: &str) -> Option<(usize, String)> {
    let keys: BTreeMap<toml::Spanned<String>, toml::Value> = toml::from_str(text).ok()?;
    let command = Settings::augment_args(clap::Command::new("up"));
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .chain(["hooks"])
        .collect();
    let unknown = keys
        .into_keys()
        .find(|key| !known.contains(&key.get_ref().as_str()))?;
    let line = text[..unknown.span().start].matches('\n').count() + 1;
    Some((line, unknown.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use uwwan_modem::options::{Format, IpType};
    use uwwan_usb::backend::BackendKind;

    fn from_text(text: &str) -> Result<Settings, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Settings::from_file(file.path())
    }

    #[test]
    fn a_full_file_reads() {
        let settings = from_text(
            r#"
            device = "03f0:a31d"
            usb = "nusb"
            apn = "telenor.smart"
            ip-type = "ipv4"
            auth = "chap"
            user = "me"
            password-file = "/etc/uwwan/password"
            pin-file = "pin"
            roaming = true
            mtu = 1430
            settle = 1.5
            route = "default"
            route-metric = 700
            dns = "resolved"
            ndp = "end"
            ntb = 16
            pad = "short"
            in-flight = 8
            nice = -5
            "#,
        )
        .unwrap();
        assert_eq!(settings.session_0.ip_type, Some(IpType::Ipv4));
        assert_eq!(settings.ntb, Some(Format::Ntb16));
        assert_eq!(settings.usb, Some(BackendKind::Nusb));
        assert_eq!(settings.session_0.route, Some(vec!["default".to_owned()]));
        assert_eq!(settings.session_0.route_metric, Some(700));
        assert_eq!(
            settings.session_0.password_file,
            Some("/etc/uwwan/password".into())
        );
        let pin = settings.pin_file.unwrap();
        assert!(pin.is_absolute() && pin.ends_with("pin"), "{pin:?}");
    }

    #[test]
    fn mistakes_in_a_file_are_told_with_their_place() {
        for (text, expected) in [
            ("apn = \"x\"\napm = \"x\"", "line 2: unknown field `apm`"),
            ("usb = \"nusb\"\nmtu = \"big\"", "line 2"),
            ("mtu = \"big\"", "line 1"),
            ("ip-type = \"ipx\"", "ipv4v6"),
            ("device = \"modem\"", "vendor:product"),
            ("usb = \"winusb\"", "`libusb` or `nusb`"),
            ("ntb = 24", "16, 32"),
            ("apn = ", "line 1"),
            ("route = 5", "a route or a list"),
        ] {
            let failure = from_text(text).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            let told = failure.to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn oversized_and_odd_files_are_refused() {
        assert!(from_text(&"# long\n".repeat(20_000)).is_err());
        for path in ["/", "/dev/zero", "/nonexistent"] {
            assert!(Settings::from_file(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn mistakes_with_secrets_do_not_repeat_them() {
        for text in [
            "pin = \"47110815\"",
            "pin = 47110815",
            "password = \"47110815\"",
            "pin-file = 47110815",
            "apn = \"x\"\npassword-file = [\"47110815\"]",
            "session = [\"3:apn=x,password=47110815\"]",
            "[[session]]\nid = 3\npassword = \"47110815\"",
            "pin = 47110815 x",
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            let told = Settings::from_file(file.path()).unwrap_err().to_string();
            assert!(!told.contains("47110815"), "{text}: {told}");
            assert!(told.contains("-file"), "{text}: {told}");
        }
    }
}
