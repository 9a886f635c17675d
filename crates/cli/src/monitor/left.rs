//! Notes of what this run would leave on the host if both of its processes were killed, and the taking
//! back of what other runs have left.
//!
//! A run writes them into a file in the directory of the runtime directories, outside its own, which
//! belongs to the driver. It holds a lock on the file, which shows that it is alive. The file is there
//! only while something would be left: on an interface that was there before, or at a resolver.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use uwwan_modem::state_file::LONGEST_FILE;
use uwwan_tun::ErrorKind;
use uwwan_tun::dns::Paths;
use uwwan_tun::left::{Left, Note};

use crate::sandbox::{Identity, acting_in};

/// What the names of the files begin with, which no runtime directory's does.
const NAME: &str = ".interfaces-";
/// Largest number of files that are read at a start, and of names that are tried for one.
const MOST_FILES: usize = 64;

/// Content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// The interfaces' network namespace.
    namespace: Namespace,
    /// What would be left, by the number of the interface.
    left: BTreeMap<u8, Left>,
}

/// A network namespace, from which the index of an interface comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Namespace {
    /// Id of the run of the kernel.
    boot: String,
    /// Inode that stands for the namespace (namespaces(7)).
    inode: u64,
}

impl Namespace {
    fn own() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let inode = fs::metadata("/proc/self/ns/net").map_or(0, |about| about.ino());
        Self {
            boot: boot.trim().to_owned(),
            inode,
        }
    }
}

/// The notes of this run. Dropping them removes the file.
pub(super) struct Notes(Arc<Mutex<Kept>>);

impl Notes {
    /// Makes the notes of a run, none so far, with their file to be made in `base`.
    pub(super) fn new(base: &Path, driver: Option<Identity>) -> Self {
        let content = Content {
            namespace: Namespace::own(),
            left: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(Kept {
            base: base.to_owned(),
            driver,
            file: None,
            content,
        })))
    }

    /// Returns the note of the interface with this number.
    pub(super) fn of(&self, number: u8) -> Note {
        let kept = Arc::clone(&self.0);
        Note::kept_by(move |left| {
            let mut kept = held(&kept);
            kept.content.left.insert(number, left.clone());
            kept.save();
        })
    }

    /// Forgets the interface with this number, on which nothing is left.
    pub(super) fn forget(&self, number: u8) {
        let mut kept = held(&self.0);
        if kept.content.left.remove(&number).is_some() {
            kept.save();
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        held(&self.0).remove();
    }
}

fn held(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of the notes and its file.
struct Kept {
    base: PathBuf,
    driver: Option<Identity>,
    /// The file, which is locked, and its path.
    file: Option<(PathBuf, File)>,
    content: Content,
}

impl Kept {
    /// Writes the content. Without it the interfaces work, so that a failure is only logged.
    fn save(&mut self) {
        if self.content.left.values().all(Left::is_empty) {
            return self.remove();
        }
        if let Err(error) = self.write() {
            tracing::warn!(
                "what a crash would leave on the host is not noted in {}: {error}",
                self.base.display()
            );
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let mut text = serde_json::to_vec(&self.content)?;
        text.push(b'\n');
        if text.len() as u64 > LONGEST_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.file.is_none() {
            self.file = Some(acting_in(&self.base, self.driver, || make(&self.base))??);
        }
        if let Some((_, file)) = &self.file {
            file.write_all_at(&text, 0)?;
            file.set_len(text.len() as u64)?;
        }
        Ok(())
    }

    fn remove(&mut self) {
        if let Some((path, file)) = self.file.take() {
            let removed = acting_in(&self.base, self.driver, || fs::remove_file(path));
            tracing::trace!(?removed, "nothing would be left on the host");
            drop(file);
        }
    }
}

/// Makes a file with a name of its own and locks it.
fn make(base: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    for number in 0..MOST_FILES {
        let path = base.join(format!("{NAME}{process}-{number}"));
        let made = open().create_new(true).mode(0o600).open(&path);
        let file = match made {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        // Another run that begins at this moment may have locked the file and removed it.
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        let there = fs::symlink_metadata(&path).map(|about| about.ino()).ok();
        if locked && there == Some(file.metadata()?.ino()) {
            return Ok((path, file));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
    options
}

/// The notes of runs whose processes are dead, in files that are locked meanwhile.
pub(super) struct Dead<'a> {
    base: &'a Path,
    driver: Option<Identity>,
    files: Vec<(PathBuf, File, Content)>,
}

impl<'a> Dead<'a> {
    /// Reads the notes of dead runs.
    pub(super) fn read(base: &'a Path, driver: Option<Identity>) -> Self {
        let files = acting_in(base, driver, || {
            let list = fs::read_dir(base).into_iter().flatten().flatten();
            let ours = list.filter(|item| {
                item.file_name()
                    .as_encoded_bytes()
                    .starts_with(NAME.as_bytes())
            });
            let read = ours.filter_map(|item| read(&item.path()));
            read.take(MOST_FILES).collect()
        });
        Self {
            base,
            driver,
            files: files.unwrap_or_default(),
        }
    }

    /// Returns whether taking it back may run a program.
    pub(super) fn need_program(&self) -> bool {
        let mut left = self
            .files
            .iter()
            .flat_map(|(.., content)| content.left.values());
        left.any(Left::needs_program)
    }

    /// Takes back what the runs have left. What is in another network namespace is left to a run there,
    /// and an interface that a process has open to the next run.
    pub(super) fn take_back(self) {
        let own = Namespace::own();
        for (path, file, content) in self.files {
            let gone = content.namespace.boot != own.boot;
            if !gone && content.namespace != own {
                continue;
            }
            let mut busy = false;
            for mut left in content.left.into_values() {
                if gone {
                    // The interfaces went with that run of the kernel; resolv.conf is still there.
                    left.interface = None;
                }
                match left.take_back(&Paths::default()) {
                    Ok(()) => tracing::debug!("took back what a killed run has left on the host"),
                    Err(error) => {
                        busy |= error.kind == ErrorKind::Busy;
                        tracing::warn!("a killed run has left something on the host: {error}");
                    }
                }
            }
            if !busy {
                let removed = acting_in(self.base, self.driver, || fs::remove_file(&path));
                tracing::trace!(?removed, note = %path.display());
            }
            drop(file);
        }
    }
}

/// Reads the notes in a file and locks it, if its run is dead. Anything that is no note is left.
fn read(path: &Path) -> Option<(PathBuf, File, Content)> {
    let mut file = open().open(path).ok()?;
    let regular = file.metadata().ok()?.is_file();
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let there = fs::symlink_metadata(path).ok()?.ino();
    if !regular || there != file.metadata().ok()?.ino() {
        return None;
    }
    let mut text = Vec::new();
    (&mut file).take(LONGEST_FILE).read_to_end(&mut text).ok()?;
    // A run that was killed before its first note has left an empty file.
    let content = match text.is_empty() {
        true => Content::default(),
        false => serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!("{}: {error}", path.display()))
            .ok()?,
    };
    Some((path.to_owned(), file, content))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use uwwan_tun::left::{LeftInterface, LeftServers};

    use super::*;

    /// Index that no interface has.
    const NONE: u32 = 0x7fff_0000;

    fn names(base: &Path) -> Vec<String> {
        let list = fs::read_dir(base).unwrap();
        let mut names: Vec<_> = list
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn resolved() -> Option<LeftServers> {
        Some(LeftServers::Resolved { index: NONE })
    }

    #[test]
    fn a_file_is_there_while_something_would_be_left_and_its_run_is_alive() {
        let base = tempfile::tempdir().unwrap();
        let notes = Notes::new(base.path(), None);
        let other = Notes::new(base.path(), None);
        assert_eq!(names(base.path()).len(), 0);
        let (first, second) = (notes.of(0), other.of(0));
        first.name_servers(resolved());
        second.name_servers(resolved());
        assert_eq!(names(base.path()).len(), 2);
        // Notes of runs that are alive are not touched.
        Dead::read(base.path(), None).take_back();
        assert_eq!(names(base.path()).len(), 2);
        first.name_servers(None);
        assert_eq!(names(base.path()).len(), 1);
        first.name_servers(resolved());
        notes.forget(0);
        assert_eq!(names(base.path()).len(), 1);
        drop(other);
        assert_eq!(names(base.path()).len(), 0);
    }

    #[test]
    fn notes_of_a_dead_run_are_read_once_and_nothing_else_is_touched() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| base.path().join(name);
        let left = Left {
            interface: Some(LeftInterface {
                index: NONE,
                addresses: vec![uwwan_tun::Address::new([10, 0, 0, 2], 30)],
                ..LeftInterface::default()
            }),
            name_servers: None,
        };
        let note = |namespace: Namespace| {
            let left = BTreeMap::from([(0, left.clone())]);
            serde_json::to_vec(&Content { namespace, left }).unwrap()
        };
        let elsewhere = Namespace {
            inode: 1,
            ..Namespace::own()
        };
        fs::write(path(".interfaces-1-0"), note(Namespace::own())).unwrap();
        fs::write(path(".interfaces-2-0"), note(elsewhere)).unwrap();
        fs::write(path(".interfaces-3-0"), "[[[[").unwrap();
        fs::write(path(".interfaces-4-0"), "").unwrap();
        fs::write(path("precious"), note(Namespace::own())).unwrap();
        std::os::unix::fs::symlink("precious", path(".interfaces-5-0")).unwrap();
        fs::create_dir(path(".interfaces-6-0")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path(".interfaces-7-0"), 0o600.into()).unwrap();
        Dead::read(base.path(), None).take_back();
        let there = names(base.path());
        for kept in ["2-0", "3-0", "5-0", "6-0", "7-0"] {
            assert!(there.contains(&format!(".interfaces-{kept}")), "{there:?}");
        }
        assert_eq!(there.len(), 6, "{there:?}");
    }

    #[test]
    fn only_notes_of_resolvconf_need_a_program() {
        let base = tempfile::tempdir().unwrap();
        let needs = |servers: Option<LeftServers>| {
            let left = Left {
                interface: None,
                name_servers: servers,
            };
            let content = Content {
                namespace: Namespace::own(),
                left: BTreeMap::from([(0, left)]),
            };
            let text = serde_json::to_vec(&content).unwrap();
            fs::write(base.path().join(".interfaces-1-0"), text).unwrap();
            Dead::read(base.path(), None).need_program()
        };
        assert!(!needs(resolved()));
        assert!(needs(Some(LeftServers::Resolvconf {
            interface: "uwwan0".into(),
            servers: vec![IpAddr::from([193, 213, 112, 4])],
        })));
    }
}
