//! Files that no user but the one of this process and root can change: the file itself, and every
//! directory and symbolic link on its path.
//!
//! A file that no other user may write to can still be replaced where its directory is open to others.
//! Directories such as `/tmp` (mode 1777) are open as well, but no user can remove the files of another
//! there, so they may be on the path. A file directly in such a directory is refused: once its owner
//! has removed it, any user may make another with its name.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// Largest number of links that are followed, as by the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// File of the kernel with the user id that stands for users without an id in this namespace.
const OVERFLOW: &str = "/proc/sys/kernel/overflowuid";
/// File of the kernel with the user ids of this namespace (user_namespaces(7)).
const MAP: &str = "/proc/self/uid_map";

/// Directories on the way to a user's own files that are root's on every machine, beside `/` and what is
/// directly in it (Filesystem Hierarchy Standard 3.0; `/var/home` where `/home` is a link to it).
const OF_ROOT: [&str; 4] = ["/export/home", "/run/user", "/var/home", "/var/tmp"];

/// Checks that a file is changed by nobody but this user and root. Returns why it may not be used, as
/// the end of a sentence about it.
///
/// # Errors
/// The reason, which names the directory or link if it is one.
pub fn check(file: &Path) -> Result<(), String> {
    let file = std::path::absolute(file).map_err(|error| format!("has no place: {error}"))?;
    let about = std::fs::metadata(&file).map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() {
        return Err("is no regular file".into());
    }
    if ![0, me()].contains(&about.uid()) {
        return Err(format!("belongs to user {}", about.uid()));
    }
    if about.mode() & 0o022 != 0 {
        return Err("may be changed by others".into());
    }
    follow(&file)
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Follows the path to a file, link by link, and checks each directory and link.
fn follow(file: &Path) -> Result<(), String> {
    let mut rest: VecDeque<OsString> = names(file).collect();
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let stranger = stranger();
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let stranger = stranger.filter(|_| is_of_root(&at));
        let inside = |why: String| format!("stands in {}, which {why}", at.display());
        let folder = look(&at)?;
        owned(&folder, stranger).map_err(inside)?;
        // The group of root counts as root.
        let group = folder.mode() & 0o020 != 0 && folder.gid() != 0;
        let open = group || folder.mode() & 0o002 != 0;
        let next = at.join(&name);
        let about = look(&next)?;
        // In a directory such as /tmp other users may make files, but remove only their own.
        let kept = folder.mode() & 0o1000 != 0 && owned(&about, None).is_ok() && !rest.is_empty();
        if open && !kept {
            return Err(inside("others may change".into()));
        }
        if !about.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err("is behind too many links".into());
        }
        owned(&about, stranger.filter(|_| is_of_root(&next)))
            .map_err(|why| format!("is behind {}, which {why}", next.display()))?;
        let target = std::fs::read_link(&next)
            .map_err(|error| format!("is behind {}: {error}", next.display()))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(name);
        }
    }
    Ok(())
}

fn look(path: &Path) -> Result<Metadata, String> {
    std::fs::symlink_metadata(path)
        .map_err(|error| format!("is behind {}: {error}", path.display()))
}

/// Returns the parts of a path, without those that change nothing.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    let parts = path.components();
    parts.filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Returns whether a directory or link is root's wherever there is one of this name. Everything that
/// belongs to no user here has one owner, so the name alone tells root's from another user's.
fn is_of_root(path: &Path) -> bool {
    path.components().count() <= 2 || OF_ROOT.iter().any(|of_root| path == Path::new(of_root))
}

/// Checks that something belongs to this user, to root, or to `stranger`.
fn owned(about: &Metadata, stranger: Option<u32>) -> Result<(), String> {
    let owner = about.uid();
    match owner == 0 || owner == me() || Some(owner) == stranger {
        true => Ok(()),
        false => Err(format!("belongs to user {owner}")),
    }
}

/// Returns the user id that stands for root, and for every other user that there is none of here, where
/// the user ids are not the machine's, as in a container of an ordinary user's.
fn stranger() -> Option<u32> {
    let map = std::fs::read_to_string(MAP).ok()?;
    let numbers: Vec<&str> = map.split_whitespace().collect();
    if numbers == ["0", "0", "4294967295"] {
        return None;
    }
    let stranger = std::fs::read_to_string(OVERFLOW).ok()?;
    stranger.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_whole_way_is_looked_at() {
        let base = tempfile::tempdir().unwrap();
        let [above, folder] = ["above", "above/folder"].map(|name| base.path().join(name));
        fs::create_dir(&above).unwrap();
        fs::create_dir(&folder).unwrap();
        let file = folder.join("hook");
        fs::write(&file, "").unwrap();
        mode(&file, 0o700);
        let told = |path: &Path| check(path).unwrap_err();
        check(&file).unwrap();
        for open in [&above, &folder] {
            for bits in [0o777, 0o702, 0o770] {
                mode(open, bits);
                let about = fs::metadata(open).unwrap();
                if bits == 0o770 && about.gid() == 0 {
                    check(&file).unwrap();
                    continue;
                }
                let why = told(&file);
                let name = format!("{}, which others may change", open.display());
                assert!(why.contains(&name), "{bits:o}: {why}");
            }
            mode(open, 0o755);
        }
        // This user's directory in one such as /tmp stays, and a file directly there may be
        // replaced.
        mode(&above, 0o1777);
        check(&file).unwrap();
        mode(&above, 0o755);
        mode(&folder, 0o1777);
        assert!(told(&file).contains("others may change"));
        mode(&folder, 0o755);
        // A symbolic link on the path is checked as well.
        let link = base.path().join("link");
        symlink("above/../above/folder", &link).unwrap();
        check(&link.join("hook")).unwrap();
        mode(&above, 0o777);
        assert!(told(&link.join("hook")).contains("others may change"));
        mode(&above, 0o755);
        let open = base.path().join("open");
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
        symlink(&file, open.join("hook")).unwrap();
        assert!(told(&open.join("hook")).contains("open, which others may change"));
        symlink("round", base.path().join("round")).unwrap();
        assert!(told(&base.path().join("round")).contains("cannot be read"));
        // The file itself is checked, too.
        mode(&file, 0o722);
        assert!(told(&file).contains("changed by others"));
        assert!(told(&folder).contains("no regular file"));
        assert!(told(&folder.join("missing")).contains("cannot be read"));
    }

    #[test]
    fn what_belongs_to_others_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("hook");
        fs::write(&file, "").unwrap();
        mode(&file, 0o700);
        // Giving a file away takes root.
        if std::os::unix::fs::chown(&folder, Some(12_345), None).is_ok() {
            let why = check(&file).unwrap_err();
            assert!(why.contains("folder, which belongs to user 12345"), "{why}");
        }
        if std::os::unix::fs::chown(&file, Some(12_345), None).is_ok() {
            assert_eq!(check(&file).unwrap_err(), "belongs to user 12345");
        }
        if me() == 0 {
            check(Path::new("/bin/sh")).unwrap();
        }
    }

    /// Names a file, in a process of this test that has a user namespace of its own.
    const INNER: &str = "UWWAN_TEST_OWN_FILE";

    #[test]
    fn what_belongs_to_nobody_here_is_root_s_by_name_alone() {
        if let Some(file) = std::env::var_os(INNER) {
            print!("{:?}", check(Path::new(&file)));
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("hook");
        fs::write(&file, "").unwrap();
        mode(&file, 0o700);
        let inside = |file: &Path| {
            let name = "own_file::tests::what_belongs_to_nobody_here_is_root_s_by_name_alone";
            let mut child = std::process::Command::new("unshare");
            child.args(["--user", "--map-current-user"]);
            child.arg(std::env::current_exe().unwrap());
            let child = child.args(["--exact", "--nocapture", name]);
            let output = child.env(INNER, file).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(inside(&file).contains("Ok(())"));
        // Of another user's directory the owner is not known there.
        let way = match std::os::unix::fs::chown(&folder, Some(12_345), None) {
            Ok(()) => file.clone(),
            // Root's is as unknown to an ordinary user, and its name is not one of those.
            Err(_) => Path::new("/usr/share/doc/../../..").join(file.strip_prefix("/").unwrap()),
        };
        let told = inside(&way);
        assert!(told.contains("belongs to user 65534"), "{told}");
        for (path, of_root) in [
            ("/", true),
            ("/home", true),
            ("/run/user", true),
            ("/home/other", false),
            ("/var/lib/other", false),
        ] {
            assert_eq!(is_of_root(Path::new(path)), of_root, "{path}");
        }
    }
}
