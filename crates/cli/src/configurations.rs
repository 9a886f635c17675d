//! Configuration files by name: `uwwan up NAME`.
//!
//! A name stands for `NAME.toml` in the user's own directory (`$XDG_CONFIG_HOME/uwwan`, else
//! `~/.config/uwwan`) or else in `/etc/uwwan`.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, FailureKind};
use crate::state;

/// Length of the longest name, in bytes.
const LONGEST: usize = 64;

/// Returns the file that a name or a path on the command line stands for, if one is given.
///
/// # Errors
/// [`FailureKind::Usage`] when no file has the name.
pub fn chosen(name: Option<&str>, path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    match (name, path) {
        (Some(name), _) => named(name, &state::configuration_directories()).map(Some),
        (None, path) => Ok(path.map(Path::to_owned)),
    }
}

/// Returns the file that the argument of `uwwan config check` stands for: a path where it has a slash or
/// ends in `.toml`, a name otherwise.
///
/// # Errors
/// Those of [`chosen`].
pub fn file_or_named(argument: &str) -> Result<PathBuf, Failure> {
    if argument.contains('/') || argument.ends_with(".toml") {
        return Ok(argument.into());
    }
    named(argument, &state::configuration_directories())
}

/// Returns every configuration there is, in the order of directories and names.
pub fn all() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for directory in state::configuration_directories() {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .collect();
        files.sort();
        all.extend(files);
    }
    all
}

fn named(name: &str, directories: &[PathBuf]) -> Result<PathBuf, Failure> {
    let wrong = || {
        Failure::new(FailureKind::Usage, "there is no such configuration").at(format!("{name:?}"))
    };
    let sane = !name.is_empty()
        && name.len() <= LONGEST
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c.is_control());
    if !sane {
        return Err(wrong()
            .because("a name has no slash and does not begin with a dot")
            .next("name a file with --config FILE"));
    }
    let files: Vec<PathBuf> = directories
        .iter()
        .map(|directory| directory.join(format!("{name}.toml")))
        .collect();
    // A file that exists and cannot be read is reported by its reader.
    if let Some(file) = files.iter().find(|file| file.symlink_metadata().is_ok()) {
        return Ok(file.clone());
    }
    let mut failure = wrong().because(format!("{} is not there", words(&files)));
    let known: Vec<String> = all()
        .iter()
        .filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    if !known.is_empty() {
        failure = failure.next(format!("there are: {}", known.join(", ")));
    }
    Err(failure
        .next("write it (uwwan.toml(5) has its keys), or name another file with --config FILE"))
}

fn words(files: &[PathBuf]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    files.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_comes_first_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [own, system] = ["own", "system"].map(|name| folder.path().join(name));
        for directory in [&own, &system] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("home.toml"), "").unwrap();
        }
        std::fs::write(system.join("work.toml"), "").unwrap();
        let directories = [own.clone(), system.clone()];
        assert_eq!(named("home", &directories).unwrap(), own.join("home.toml"));
        assert_eq!(
            named("work", &directories).unwrap(),
            system.join("work.toml")
        );
        let told = named("away", &directories).unwrap_err().to_string();
        assert!(
            told.contains("own/away.toml") && told.contains("system/away.toml"),
            "{told}"
        );
        for bad in [
            "",
            ".hidden",
            "../etc/passwd",
            "a/b",
            "a\nb",
            &"x".repeat(65),
        ] {
            let failure = named(bad, &directories).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            assert!(failure.to_string().contains("slash"), "{bad}");
        }
    }

    #[test]
    fn a_path_is_known_by_its_slash_or_its_end() {
        assert_eq!(file_or_named("./modem").unwrap(), Path::new("./modem"));
        assert_eq!(
            file_or_named("modem.toml").unwrap(),
            Path::new("modem.toml")
        );
    }
}
