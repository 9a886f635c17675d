//! The user as whom a driver started by root runs.
//!
//! The user is `uwwan` where there is one. Otherwise it is a user and a group of one unused number:
//! the first from [`UNUSED`] that neither `/etc/passwd` nor `/etc/group` names and under which no
//! process runs. systemd documents these numbers as unused (`UIDS-GIDS.md`), and they lie within the
//! range of a container. No file belongs to them after the end.

use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// Name of the user.
const NAME: &str = "uwwan";
/// Numbers of users and groups that are unused.
const UNUSED: RangeInclusive<u32> = 65_520..=65_533;

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub user: Uid,
    /// Group id.
    pub group: Gid,
}

impl Identity {
    /// Returns the user for the driver, if this process is root's. `base` is the directory that will
    /// hold the driver's runtime directory.
    ///
    /// # Errors
    /// The reason in words why the driver has to stay root's.
    pub fn for_driver(base: &Path) -> Result<Option<Self>, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let identity = match named(&users, NAME) {
            Some(identity) => identity,
            None => unused(&users, &groups, &busy()).ok_or("every number for it is taken")?,
        };
        if !mapped("/proc/self/uid_map", identity.user.as_raw())
            || !mapped("/proc/self/gid_map", identity.group.as_raw())
        {
            return Err("this container has no user for it".to_owned());
        }
        for folder in base.ancestors() {
            let Ok(about) = fs::metadata(folder) else {
                continue;
            };
            let bit = match () {
                () if about.uid() == identity.user.as_raw() => 0o100,
                () if about.gid() == identity.group.as_raw() => 0o010,
                () => 0o001,
            };
            if about.mode() & bit == 0 {
                return Err(format!("only root can reach {}", folder.display()));
            }
        }
        Ok(Some(identity))
    }

    /// Makes the calling thread this user's, without any further group. It must be the only thread.
    ///
    /// # Errors
    /// Those of setgroups(2), setresgid(2) and setresuid(2).
    pub(super) fn assume(self) -> Result<(), Errno> {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(self.group, self.group, self.group)?;
        rustix::thread::set_thread_res_uid(self.user, self.user, self.user)
    }
}

/// Acts in a directory as the driver's user, if the directory is that user's, so that nothing is done
/// there with root's rights: a user who may write into the directory could have put a link in the
/// way.
///
/// # Errors
/// Those of setresgid(2) and setresuid(2). Nothing is done if the thread cannot become that user; if it
/// cannot become root again, it has been done.
pub fn acting_in<T>(
    folder: &Path,
    driver: Option<Identity>,
    act: impl FnOnce() -> T,
) -> Result<T, Errno> {
    let own = rustix::process::geteuid();
    let owner = fs::symlink_metadata(folder).ok();
    let owner = owner.filter(|owner| {
        own.is_root() && driver.is_some_and(|driver| driver.user.as_raw() == owner.uid())
    });
    let Some(owner) = owner else {
        return Ok(act());
    };
    let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    let back = || rustix::thread::set_thread_res_gid(None, Gid::ROOT, None);
    rustix::thread::set_thread_res_gid(None, group, None)?;
    if let Err(error) = rustix::thread::set_thread_res_uid(None, user, None) {
        back()?;
        return Err(error);
    }
    let result = act();
    rustix::thread::set_thread_res_uid(None, own, None)?;
    back()?;
    Ok(result)
}

/// Returns the user of this name, from lines such as those of `/etc/passwd`.
fn named(users: &str, name: &str) -> Option<Identity> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let user: u32 = fields.nth(1)?.parse().ok()?;
        let group: u32 = fields.next()?.parse().ok()?;
        (user != 0 && user != u32::MAX && group != u32::MAX).then(|| Identity {
            user: Uid::from_raw(user),
            group: Gid::from_raw(group),
        })
    })
}

/// Returns the first number that neither of the files names and that is not busy.
fn unused(users: &str, groups: &str, busy: &[u32]) -> Option<Identity> {
    let ids = |text: &str| -> Vec<u32> {
        let third = text.lines().filter_map(|line| line.split(':').nth(2));
        third.filter_map(|id| id.parse().ok()).collect()
    };
    let taken = [ids(users), ids(groups), busy.to_vec()].concat();
    let id = UNUSED.into_iter().find(|id| !taken.contains(id))?;
    Some(Identity {
        user: Uid::from_raw(id),
        group: Gid::from_raw(id),
    })
}

/// Returns the users under whom processes run.
fn busy() -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| is_number(&entry.file_name()));
    let status = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("status")).ok();
    let ids = processes.filter_map(status).filter_map(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().next()?.parse().ok()
    });
    ids.collect()
}

fn is_number(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Returns whether an id exists in this namespace, by a file such as `/proc/self/uid_map`
/// (user_namespaces(7)).
fn mapped(map: &str, id: u32) -> bool {
    let Ok(map) = fs::read_to_string(map) else {
        return true;
    };
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(length))) = (numbers.next(), numbers.nth(1)) else {
            return false;
        };
        id.checked_sub(first).is_some_and(|offset| offset < length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nuwwan:x:990:991::/:/bin/false\n";

    #[test]
    fn the_user_is_uwwan_or_nobody_else() {
        let found = named(USERS, "uwwan").unwrap();
        assert_eq!((found.user.as_raw(), found.group.as_raw()), (990, 991));
        for bad in [
            "",
            "uwwan:x:0:0::",
            "uwwan:x:-1:7::",
            "uwwan:x",
            "uwwan2:x:1:1",
        ] {
            assert_eq!(named(bad, "uwwan"), None, "{bad}");
        }
        let number = |users, groups, busy: &[u32]| Some(unused(users, groups, busy)?.user.as_raw());
        assert_eq!(number(USERS, "", &[]), Some(65_520));
        let (users, groups) = ("a:x:65520:1::", "b:x:65521:");
        assert_eq!(number(users, groups, &[0, 65_522]), Some(65_523));
        let all: Vec<u32> = UNUSED.collect();
        assert_eq!(number("", "", &all), None);
    }

    #[test]
    fn containers_have_what_their_map_says() {
        let map = tempfile::NamedTempFile::new().unwrap();
        let told = |lines: &str, id| {
            fs::write(map.path(), lines).unwrap();
            mapped(map.path().to_str().unwrap(), id)
        };
        assert!(told("         0          0 4294967295\n", 65_520));
        assert!(!told("         0       1000          1\n", 65_520));
        assert!(told("0 1000 1\n1 100000 65536\n", 65_520));
        assert!(!told("0 100000 65520\n", 65_520));
    }

    #[test]
    fn what_is_done_in_the_drivers_directory_is_done_as_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        let driver = Some(Identity {
            user: Uid::from_raw(65_520),
            group: Gid::from_raw(65_520),
        });
        let made = |name: &str, driver| {
            let file = folder.path().join(name);
            acting_in(folder.path(), driver, || fs::write(&file, "").unwrap()).unwrap();
            owner(&file)
        };
        assert_eq!((made("one", None), made("two", driver)), (own, own));
        if own == 0 && mapped("/proc/self/uid_map", 65_520) {
            std::os::unix::fs::chown(folder.path(), Some(65_520), Some(65_520)).unwrap();
            assert_eq!((made("three", None), made("four", driver)), (0, 65_520));
            let hidden = acting_in(folder.path(), driver, || fs::read("/etc/shadow").is_err());
            assert!(hidden.unwrap());
            assert!(fs::read("/etc/shadow").is_ok());
            // A thread that cannot become that user does nothing at all as root.
            let refused = std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let mut sets = rustix::thread::capabilities(None).unwrap();
                    sets.effective.remove(rustix::thread::CapabilitySet::SETUID);
                    rustix::thread::set_capabilities(None, sets).unwrap();
                    let acted = acting_in(folder.path(), driver, || panic!("root acts"));
                    let group = rustix::process::getegid();
                    (acted, group)
                });
                thread.join().unwrap()
            });
            assert_eq!(refused, (Err(Errno::PERM), Gid::ROOT));
        }
    }
}
