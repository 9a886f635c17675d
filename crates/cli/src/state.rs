//! The state directory and the directories of quirk files.
//!
//! The files of the state directory outlive a run and a reboot. The directory is `/var/lib/uwwan` for root,
//! `$XDG_STATE_HOME/uwwan` (`~/.local/state/uwwan`) for everyone else, the one that a service manager gives
//! (`StateDirectory=`), or the one that `UWWAN_STATE_DIR` names, which wins over all others.

use std::ffi::OsString;
use std::path::PathBuf;

/// State directory of root.
const SYSTEM: &str = "/var/lib/uwwan";
/// Name of the file that holds refused PINs; see [`uwwan_modem::pin_memory`].
const PINS: &str = "pins.json";
/// Name of the file that holds layouts of NTBs that worked; see [`uwwan_modem::heal::memory`].
const LAYOUTS: &str = "layouts.json";
/// Name of the file of data use; see [`crate::usage`].
const USAGE: &str = "usage.json";
/// Environment variable that names the state directory.
const CHOSEN: &str = "UWWAN_STATE_DIR";

/// Returns the path of the file of refused PINs, if there is a state directory. An emulated modem
/// begins anew in each run, so nothing about it is kept unless `UWWAN_STATE_DIR` is set.
pub fn pins(emulated: bool) -> Option<PathBuf> {
    file(PINS, emulated)
}

/// Returns the path of the file of layouts that worked, if there is a state directory.
pub fn layouts(emulated: bool) -> Option<PathBuf> {
    file(LAYOUTS, emulated)
}

/// Returns the path of the file of data use, if there is a state directory.
pub fn usage(emulated: bool) -> Option<PathBuf> {
    file(USAGE, emulated)
}

fn file(name: &str, emulated: bool) -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    directory(root, emulated, |name| std::env::var_os(name)).map(|folder| folder.join(name))
}

/// Returns the directories of quirk files: `/etc/uwwan/quirks.d`, then `$XDG_CONFIG_HOME/uwwan/quirks.d`
/// (`~/.config/uwwan/quirks.d`).
pub fn quirk_directories() -> Vec<PathBuf> {
    let mut directories = configuration_directories();
    // Of two rows the one that is read last applies.
    directories.reverse();
    directories
        .into_iter()
        .map(|directory| directory.join("quirks.d"))
        .collect()
}

/// Returns the directories of configuration files, the one that wins first: `$XDG_CONFIG_HOME/uwwan`
/// (`~/.config/uwwan`), then `/etc/uwwan`.
pub fn configuration_directories() -> Vec<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let of_user =
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let of_user = of_user.map(|config| config.join("uwwan"));
    of_user
        .into_iter()
        .chain([PathBuf::from("/etc/uwwan")])
        .collect()
}

fn directory(
    root: bool,
    emulated: bool,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    let absolute = |name| {
        environment(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(chosen) = environment(CHOSEN).filter(|chosen| !chosen.is_empty()) {
        return Some(chosen.into());
    }
    if emulated {
        return None;
    }
    // systemd gives a list with colons; the packaged unit names one directory.
    if let Some(given) = absolute("STATE_DIRECTORY") {
        return Some(given);
    }
    if root {
        return Some(SYSTEM.into());
    }
    let of_user = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")));
    of_user.map(|state| state.join("uwwan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(root: bool, emulated: bool, environment: &[(&str, &str)]) -> Option<String> {
        let get = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        directory(root, emulated, get).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_has_its_place() {
        let home = ("HOME", "/home/ola");
        for (root, emulated, environment, expected) in [
            (true, false, &[home][..], Some("/var/lib/uwwan")),
            (false, false, &[home], Some("/home/ola/.local/state/uwwan")),
            (
                false,
                false,
                &[home, ("XDG_STATE_HOME", "/state")],
                Some("/state/uwwan"),
            ),
            (
                true,
                false,
                &[("STATE_DIRECTORY", "/var/lib/private/uwwan")],
                Some("/var/lib/private/uwwan"),
            ),
            (false, false, &[], None),
            (false, false, &[("HOME", "relative")], None),
            (true, true, &[home], None),
            (true, true, &[("UWWAN_STATE_DIR", "/tmp/x")], Some("/tmp/x")),
        ] {
            assert_eq!(
                found(root, emulated, environment).as_deref(),
                expected,
                "{environment:?}"
            );
        }
    }
}
