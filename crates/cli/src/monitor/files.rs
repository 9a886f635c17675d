//! The files that the driver cannot open itself: those of PIN and passwords, the memory of PINs, the
//! runtime directory, further files of a capture.
//!
//! All of them are named at the start; a request only selects one of them.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use uwwan_modem::capture;
use uwwan_modem::heal::memory::LayoutMemory;
use uwwan_modem::options::Secret;
use uwwan_modem::pin_memory::PinMemory;
use uwwan_modem::state_file::StateFile;

use super::check::refused;
use super::request::{Name, Request, Wanted};
use crate::failure::{Failure, FailureKind};
use crate::runtime::{self, RuntimeDir};
use crate::sandbox::{Identity, acting_in};
use crate::usage::{self, Entry, Usage};

/// The files that were named at the start, and those of them that have been opened.
#[derive(Debug)]
pub(super) struct Files {
    /// The SIM's PIN.
    pub(super) pin: Secret,
    /// Passwords of the data sessions.
    pub(super) passwords: Vec<Secret>,
    /// Memory of PINs, if there is a place for it.
    pub(super) pins: Option<StateFile<PinMemory>>,
    /// Memory of layouts that worked, if there is a place for it.
    pub(super) layouts: Option<StateFile<LayoutMemory>>,
    /// Data use, if there is a place for it.
    pub(super) usage: Option<StateFile<Usage>>,
    /// Directory in which runtime directories are made.
    pub(super) base: PathBuf,
    /// The user as whom the driver runs, if it is another than this process's.
    pub(super) driver: Option<Identity>,
    /// The runtime directory.
    pub(super) directory: Option<RuntimeDir>,
    /// Files of the capture that the command line asks for, and the number of the last one.
    pub(super) capture: Option<(capture::Files, u32)>,
    /// The descriptor that goes with the next reply.
    pub(super) opened: Option<OwnedFd>,
}

/// Returns the failure for a directory of the driver's user in which this process cannot act as that
/// user.
pub fn not_the_driver(folder: &Path, errno: Errno) -> Failure {
    Failure::new(FailureKind::Host, "cannot act as the driver's user")
        .at(folder.display().to_string())
        .because(io::Error::from(errno))
        .next("give the program CAP_SETUID and CAP_SETGID, or name a directory of root's with --runtime-dir DIR")
}

impl Files {
    /// Returns the descriptor that goes with the reply.
    pub(super) fn take_opened(&mut self) -> Option<OwnedFd> {
        self.opened.take()
    }

    /// Carries out a request about a file.
    pub(super) fn answer(&mut self, request: &Request) -> Result<(), Failure> {
        match request {
            Request::Secret(wanted) => {
                let pipe = self.secret(*wanted)?;
                self.opened = Some(pipe);
                Ok(())
            }
            Request::Remember { pins } => {
                let store = self.pins.as_mut();
                let store = store.ok_or_else(|| refused("no memory of PINs was asked for"))?;
                store.content = pins.clone();
                store
                    .save()
                    .map_err(|why| Failure::new(FailureKind::Host, why))
            }
            Request::Learn { entry } => {
                let file = self.layouts.as_mut();
                let file = file.ok_or_else(|| refused("no memory of layouts was asked for"))?;
                // Other processes may have changed the file since.
                file.reopen();
                file.content.put(entry.clone());
                file.save()
                    .map_err(|why| Failure::new(FailureKind::Host, why))
            }
            Request::Directory { name } => self.make(name),
            Request::Link { port } => {
                let port = port.name().ok_or_else(|| refused("the port has no name"))?;
                let directory = self.directory.as_mut();
                let directory = directory.ok_or_else(|| refused("there is nothing to link to"))?;
                acting_in(&self.base, self.driver, || directory.link(port))
                    .map_err(|errno| not_the_driver(&self.base, errno))
            }
            Request::File { number } => self.next_file(*number),
            _ => Err(refused("it is not about a file")),
        }
    }

    /// Adds the traffic of the device, and returns its use in this month.
    pub(super) fn keep_usage(&mut self, device: &str, more: (u64, u64)) -> Result<Entry, Failure> {
        let file = self.usage.as_mut();
        let file = file.ok_or_else(|| refused("no data use is kept"))?;
        usage::keep(file, device, more).map_err(|why| Failure::new(FailureKind::Host, why))
    }

    /// Returns a pipe from which a secret can be read.
    fn secret(&self, wanted: Wanted) -> Result<OwnedFd, Failure> {
        let secret = match wanted {
            Wanted::Pin => Some(&self.pin),
            Wanted::Password { session } => self.passwords.get(usize::from(session)),
        };
        let secret = secret.filter(|secret| !secret.is_empty());
        let secret = secret.ok_or_else(|| refused("no such file was named"))?;
        let failed = |error: io::Error| {
            Failure::new(FailureKind::Host, "cannot hand over a secret").because(error)
        };
        let (reader, mut writer) = io::pipe().map_err(failed)?;
        // A secret is shorter than the capacity of a pipe.
        writer
            .write_all(secret.reveal()?.as_bytes())
            .map_err(failed)?;
        Ok(reader.into())
    }

    fn make(&mut self, name: &Name) -> Result<(), Failure> {
        let name = name.name().ok_or_else(|| refused("it has no name"))?;
        if self.directory.is_some() {
            return Err(refused("there is a runtime directory"));
        }
        let made = acting_in(&self.base, self.driver, || {
            RuntimeDir::create(&self.base, name)
        })
        .map_err(|errno| not_the_driver(&self.base, errno))??;
        let failed = |error: io::Error| {
            Failure::new(FailureKind::Host, "cannot hand over the runtime directory")
                .at(self.base.display().to_string())
                .because(error)
        };
        if let Some(driver) = self.driver {
            made.give_to(driver.user, driver.group).map_err(failed)?;
        }
        self.opened = Some(made.lock().try_clone_to_owned().map_err(failed)?);
        self.directory = Some(made);
        Ok(())
    }

    fn next_file(&mut self, number: u32) -> Result<(), Failure> {
        let capture = self.capture.as_mut();
        let (files, last) = capture.ok_or_else(|| refused("no capture in several files runs"))?;
        if last.checked_add(1) != Some(number) {
            return Err(refused("it is not the next file"));
        }
        *last = number;
        let file = files.open(number as usize).map_err(|error| {
            Failure::new(FailureKind::Host, "cannot begin another file").because(error)
        })?;
        self.opened = Some(file.as_fd().try_clone_to_owned().map_err(|error| {
            Failure::new(FailureKind::Host, "cannot hand over a file").because(error)
        })?);
        Ok(())
    }
}

/// Removes the runtime directory, and those whose owners were killed before.
impl Drop for Files {
    fn drop(&mut self) {
        let directory = self.directory.take();
        let swept = acting_in(&self.base, self.driver, || {
            drop(directory);
            runtime::sweep(&self.base);
        });
        if let Err(errno) = swept {
            tracing::warn!("{}", not_the_driver(&self.base, errno));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files(base: &std::path::Path) -> Files {
        Files {
            pin: Secret::new("4711"),
            passwords: vec![Secret::default(), Secret::new("swordfish")],
            pins: None,
            layouts: None,
            usage: None,
            base: base.to_owned(),
            driver: None,
            directory: None,
            capture: None,
            opened: None,
        }
    }

    fn told(files: &mut Files, wanted: Wanted) -> Option<String> {
        files.answer(&Request::Secret(wanted)).ok()?;
        let mut text = String::new();
        let pipe = io::PipeReader::from(files.take_opened().unwrap());
        { pipe }.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn only_secrets_that_were_named_are_handed_over() {
        let base = tempfile::tempdir().unwrap();
        let mut files = files(base.path());
        assert_eq!(told(&mut files, Wanted::Pin).as_deref(), Some("4711"));
        for (session, expected) in [(0, None), (1, Some("swordfish")), (2, None)] {
            let wanted = Wanted::Password { session };
            assert_eq!(told(&mut files, wanted).as_deref(), expected, "{session}");
        }
        files.pin = Secret::default();
        assert_eq!(told(&mut files, Wanted::Pin), None);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let mut files = files(base.path());
        let pins = PinMemory::default();
        let port = Name::new("1-4").unwrap();
        for request in [
            Request::Remember { pins },
            Request::File { number: 2 },
            Request::Link { port },
            Request::State,
        ] {
            assert!(files.answer(&request).is_err(), "{request:?}");
        }
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_directory_goes_with_all_that_is_left_in_it() {
        let base = tempfile::tempdir().unwrap();
        let mut files = files(base.path());
        let name = Name::new("../modem").unwrap();
        files.answer(&Request::Directory { name }).unwrap();
        assert!(files.take_opened().is_some());
        assert!(files.answer(&Request::Directory { name }).is_err());
        let port = Name::new("1-4").unwrap();
        files.answer(&Request::Link { port }).unwrap();
        let made = base.path().join("_.._modem");
        std::fs::write(made.join("control"), "").unwrap();
        std::fs::write(made.join("at.socket"), "").unwrap();
        assert!(base.path().join("1-4/control").exists());
        drop(files);
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_of_a_capture_come_in_their_order() {
        let base = tempfile::tempdir().unwrap();
        let ring = capture::Ring { bytes: 1, files: 2 };
        let path = base.path().join("trace.pcapng");
        let destination = capture::Destination::ring(&path, ring, false).unwrap();
        let mut files = files(base.path());
        files.capture = Some((destination.files().unwrap().clone(), 1));
        for (number, works) in [(3, false), (1, false), (2, true), (2, false), (3, true)] {
            let answer = files.answer(&Request::File { number });
            assert_eq!(answer.is_ok(), works, "{number}");
            assert_eq!(files.take_opened().is_some(), works, "{number}");
        }
        let names = |n: u32| base.path().join(format!("trace_0000{n}.pcapng")).exists();
        assert_eq!([names(1), names(2), names(3)], [false, true, true]);
    }
}
