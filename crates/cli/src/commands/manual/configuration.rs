//! The manual page of the configuration file, `uwwan.toml(5)`. Its keys are the options of `up`, and so
//! is the text about each.

use clap::Args as _;
use roff::{Roff, bold, italic, roman};

use super::page::{see_also, title};
use crate::settings::Settings;

/// An example of a configuration file. A test of this source file parses it.
const EXAMPLE: &str = r#"apn = "internet"
ip-type = "ipv4v6"
pin-file = "pin"
route = "default"
dns = "resolved"

[[session]]
id = 3
apn = "mms"
route = ["192.0.2.0/24"]

[hooks]
after-up = ["hooks/online", "--quiet"]
"#;

/// Returns the page.
pub fn page() -> Vec<u8> {
    let mut page = Roff::default();
    page.control("SH", ["NAME"]);
    page.text([roman("uwwan.toml - configuration file of uwwan up")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("/etc/uwwan/"), italic("NAME"), bold(".toml")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in [
        "A TOML file with what uwwan up is to do. Its keys are the options of uwwan up without their \
         dashes; an option on the command line wins over the file, and the file over what is known of the \
         modem. A key that is unknown and a value that makes no sense are refused with line and column.",
        "Relative paths of files start at the directory of the configuration file. An option that may be \
         repeated takes an array, or one string with commas. An option that is true or false takes true \
         or false.",
        "The service uwwan@NAME reads /etc/uwwan/NAME.toml, and uwwan up --config FILE any file. The \
         file holds no secrets: a PIN and a password stand in files of their own, which only the user of \
         the service can read.",
    ] {
        page.control("PP", []);
        page.text([roman(paragraph)]);
    }
    let command = Settings::augment_args(clap::Command::new("up"));
    let mut heading = None;
    for argument in command.get_arguments() {
        let Some(key) = argument.get_long() else {
            continue;
        };
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            let title = heading.unwrap_or("Other").to_uppercase();
            page.control("SH", [title.as_str()]);
        }
        let values: Vec<String> = argument
            .get_value_names()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        page.control("TP", []);
        page.text([bold(key), roman(" = "), italic(values.join(" "))]);
        let help = argument.get_help().map(ToString::to_string);
        page.text([roman(help.unwrap_or_default())]);
        let words: Vec<String> = argument
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        if !words.is_empty() && !argument.is_hide_possible_values_set() {
            page.control("br", []);
            page.text([roman(format!("Values: {}", words.join(", ")))]);
        }
    }
    page.control("SH", ["DATA SESSIONS"]);
    page.text([roman(
        "Tables [[session]] are further data sessions, each with an interface of its own. Beside id, the \
         MBIM session id from 1 to 255, a table takes the keys that concern one session: apn, ip-type, \
         auth, user, password-file, tun-name, tun-mode, route, route-metric, dns, mtu.",
    )]);
    page.control("SH", ["HOOKS"]);
    page.control("TP", []);
    page.text([bold("hooks"), roman(" = "), italic("TABLE")]);
    for paragraph in [
        "Programs that uwwan up runs, each an array of a program and its arguments. No shell reads them; a \
         relative path of the program starts at the directory of the configuration file. uwwan exec runs none.",
        "before-up runs before the modem is looked for; when it fails, up ends. after-up runs whenever \
         session 0 has come online, also after a loss. before-down runs before the interface of session 0 is \
         taken down, and after-down when everything is down, also when the driver was killed. timeout is the \
         time in seconds that each gets (10, at most 60); one that takes longer is ended with what it has started.",
        "Each runs as the user who has started up, with the privileges that are left to its monitor (the \
         service has CAP_NET_ADMIN), in the directory /, without standard input. Its environment holds PATH, \
         UWWAN_HOOK (the name above), UWWAN_CONFIG (the file), UWWAN_DEVICE and, once they are known, \
         UWWAN_INTERFACE, UWWAN_IPV4 and UWWAN_IPV6 (with prefix length), UWWAN_GATEWAY4, UWWAN_GATEWAY6, \
         UWWAN_DNS (separated by spaces) and UWWAN_MTU, and nothing else. What it prints stands in the log.",
        "The configuration file and the program must belong to that user or to root, as must every directory \
         and link on their way, and nobody else may be able to change any of these. A directory such as /tmp, \
         where everybody may make files and remove none of others, may be on the way, but neither file may \
         stand directly in it. uwwan config check tells.",
    ] {
        page.control("PP", []);
        page.text([roman(paragraph)]);
    }
    page.control("SH", ["EXAMPLE"]);
    page.control("EX", []);
    for line in EXAMPLE.lines() {
        page.text([roman(line)]);
    }
    page.control("EE", []);
    see_also(Some("uwwan-up"), &mut page);
    let mut text = title("uwwan.toml", 5).into_bytes();
    // Writing to memory does not fail.
    let _ = page.to_writer(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_example_is_a_configuration_file() {
        let settings = Settings::parse(Path::new("/etc/uwwan/modem.toml"), EXAMPLE).unwrap();
        assert_eq!(settings.session.unwrap().len(), 1);
    }

    #[test]
    fn the_keys_that_the_page_tells_are_those_that_the_parser_knows() {
        let page = String::from_utf8(page()).unwrap().replace("\\-", "-");
        let told: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("\\fB")?.split_once("\\fR = "))
            .map(|(key, _)| key)
            .collect();
        assert!(
            told.contains(&"apn") && told.contains(&"at-port"),
            "{told:?}"
        );
        let path = Path::new("/etc/uwwan/modem.toml");
        // No key takes this value; only an unknown key is reported as unknown.
        let known = |key: &str| {
            let text = format!("{key} = 1979-05-27");
            let failure = Settings::parse(path, &text).unwrap_err().to_string();
            !failure.contains(&format!("unknown field `{key}`"))
        };
        for key in &told {
            assert!(known(key), "{key}");
        }
        assert!(!known("nothing"));
        // The parser's keys are the fields of its structs, which the empty settings print.
        let fields = format!("{:#?}", Settings::default());
        for field in fields
            .lines()
            .filter_map(|line| line.trim().strip_suffix(": None,"))
        {
            let key = field.replace('_', "-");
            assert!(told.contains(&key.as_str()), "{key} is not in the page");
        }
        let listed: Vec<&str> = [
            "apn",
            "ip-type",
            "auth",
            "user",
            "password-file",
            "tun-name",
            "tun-mode",
        ]
        .into_iter()
        .chain(["route", "route-metric", "dns", "mtu"])
        .collect();
        let of_a_session =
            crate::session_settings::SessionSettings::augment_args(clap::Command::new("up"));
        let keys: Vec<&str> = of_a_session
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .collect();
        assert_eq!(keys, listed, "the page lists the keys of a session");
        assert!(page.contains(&listed.join(", ")));
    }
}
