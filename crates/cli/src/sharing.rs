//! The entrances by which other programs reach the control session while `up` runs, as the options
//! choose them.

use std::path::Path;

use uwwan_modem::proxy::multiplexer::Config;
use uwwan_modem::share::{
    Allow, Builder, MbimEntrances, MbimOptions, MbimStatus, PUBLIC_NAME, Policy,
};
use uwwan_modem::{Event, Handle};

use crate::entrances::{Entrances, Guard};
use crate::failure::{Failure, FailureKind};
use crate::output::{say, say_json};
use crate::runtime::RuntimeDir;
use crate::settings::Settings;

/// Group whose members may use a modem that serves the whole machine, where no `--operator` is given.
pub const OPERATORS: &str = "uwwan";

/// Returns the policy that decides who may use the running `up`. Where it serves the whole machine,
/// as root's does by default, every user may read its status, and the members of the group `uwwan`
/// may use it if there is one.
///
/// # Errors
/// [`FailureKind::Usage`] for a text that is neither `user:` nor `group:` with an existing name or
/// a number.
pub fn policy(settings: &Settings) -> Result<Policy, Failure> {
    let system = settings
        .system
        .unwrap_or_else(|| rustix::process::geteuid().is_root());
    let operators = match &settings.operator {
        Some(given) => allow("--operator", given)?,
        None if system => allow("--operator", &[format!("group:{OPERATORS}")]).unwrap_or_default(),
        None => Allow::default(),
    };
    let guests = settings.proxy_allow.as_deref().unwrap_or_default();
    Ok(Policy {
        everyone: system,
        operators,
        guests: allow("--proxy-allow", guests)?,
        ..Policy::default()
    })
}

/// Returns the users and groups that an option names.
fn allow(option: &str, given: &[String]) -> Result<Allow, Failure> {
    let mut allow = Allow::default();
    for text in given {
        let wrong = |why: &str| {
            Failure::new(FailureKind::Usage, "an option makes no sense")
                .at(format!("{option} {text}"))
                .because(why)
                .next("give user:NAME, user:NUMBER, group:NAME or group:NUMBER")
        };
        let (list, file, kind, name) = match text.split_once(':') {
            Some((kind @ "user", name)) => (&mut allow.users, "/etc/passwd", kind, name),
            Some((kind @ "group", name)) => (&mut allow.groups, "/etc/group", kind, name),
            _ => return Err(wrong("it is neither user:… nor group:…")),
        };
        let id = name
            .parse()
            .ok()
            .or_else(|| id_of(Path::new(file), name))
            .ok_or_else(|| wrong("there is no such name"))?;
        list.push(id);
        allow.words.push(format!("{kind} {name}"));
    }
    Ok(allow)
}

/// Returns the number of a name in a file such as `/etc/passwd`, whose lines are `name:…:number:…`.
pub fn id_of(file: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let fits = fields.next() == Some(name) && !name.is_empty();
        fits.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Opens the entrances that the settings ask for, and prints those that could not be opened. They
/// are no error, because the data sessions work without them.
///
/// # Errors
/// [`FailureKind::Usage`] for options that make no sense; [`FailureKind::Closed`] when standard
/// output is closed.
pub fn open(
    builder: &mut Builder,
    handle: &Handle,
    directory: &RuntimeDir,
    settings: &Settings,
    json: bool,
) -> Result<Option<MbimEntrances>, Failure> {
    let entrances = settings.proxy.unwrap_or_default();
    if entrances == Entrances::Off {
        return Ok(None);
    }
    let options = MbimOptions {
        socket: directory.mbim_socket(),
        public: (entrances == Entrances::On).then(|| PUBLIC_NAME.to_owned()),
        terminal: Some(directory.mbim_terminal()),
        aliases: vec![directory.socket()],
        rules: Config {
            guard: guards(settings),
            ..Config::default()
        },
    };
    let mbim = builder.mbim(handle, &options);
    for text in mbim.notices() {
        if json {
            say_json(&Event::Notice { text: text.clone() })?;
        } else {
            say(format!("note: {text}"))?;
        }
    }
    if !json {
        for line in describe(&mbim.status()) {
            say(format!("MBIM: {line}"))?;
        }
    }
    Ok(Some(mbim))
}

/// Returns whether the owner's programs have to force the commands for which the table of
/// permissions asks that.
pub fn guards(settings: &Settings) -> bool {
    settings.proxy_guard.unwrap_or_default() == Guard::On
}

/// Returns a command for each entrance, which shows how it is used.
pub fn describe(status: &MbimStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(socket) = &status.socket {
        lines.push(match status.public {
            Some(_) => format!("mbimcli -p -d {}", socket.display()),
            None => format!("{} (for uwwan's own commands)", socket.display()),
        });
    }
    if let Some(terminal) = &status.terminal {
        lines.push(format!("mbimcli -d {}", terminal.display()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let given = ["user:root", "user:1001", "group:root", "group:7"].map(str::to_owned);
        let expected = Allow {
            users: vec![0, 1001],
            groups: vec![0, 7],
            words: ["user root", "user 1001", "group root", "group 7"]
                .map(str::to_owned)
                .into(),
        };
        assert_eq!(allow("--operator", &given).unwrap(), expected);
        for bad in [
            "root",
            "user:",
            "user:no-such-user-here",
            "group:-1",
            "other:1",
        ] {
            let failure = allow("--operator", &[bad.to_owned()]).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage, "{bad}");
        }
    }

    #[test]
    fn who_is_served_follows_from_the_options_and_not_from_who_runs_it() {
        let given = |system, operator: Option<&str>| {
            policy(&Settings {
                system: Some(system),
                operator: operator.map(|one| vec![one.to_owned()]),
                ..Settings::default()
            })
            .unwrap()
        };
        assert!(given(true, None).everyone);
        assert!(!given(false, None).everyone);
        assert_eq!(given(false, None).operators, Allow::default());
        let group = id_of(Path::new("/etc/group"), OPERATORS);
        let members: Vec<u32> = group.into_iter().collect();
        assert_eq!(given(true, None).operators.groups, members);
        for system in [false, true] {
            assert_eq!(given(system, Some("user:7")).operators.users, [7]);
            assert!(given(system, Some("user:7")).operators.groups.is_empty());
        }
        let root = rustix::process::geteuid().is_root();
        assert_eq!(policy(&Settings::default()).unwrap().everyone, root);
    }

    #[test]
    fn the_entrances_are_told_as_commands() {
        let mut status = MbimStatus {
            socket: Some("/run/uwwan/1-4/mbim".into()),
            public: Some("mbim-proxy".into()),
            terminal: Some("/run/uwwan/1-4/mbim-terminal".into()),
            clients: 0,
        };
        assert_eq!(
            describe(&status),
            [
                "mbimcli -p -d /run/uwwan/1-4/mbim",
                "mbimcli -d /run/uwwan/1-4/mbim-terminal"
            ]
        );
        status.public = None;
        assert!(!describe(&status)[0].contains("-p"));
    }
}
