//! Pseudo-terminals behind one symbolic link, one for each opener.
//!
//! Programs that open the same terminal read each other's answers, so the link always leads to a
//! fresh terminal. When a program opens it (which inotify reports, or otherwise the first byte that
//! is read), the link moves on to the next terminal. A spare one lies ready, so that moving on is
//! one rename. Two programs that open within the time this takes get the same terminal; a
//! pseudo-terminal cannot tell them apart.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, inotify};
use rustix::io::ioctl_fionread;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Terminal that no program has opened yet.
#[derive(Debug)]
struct Fresh {
    master: OwnedFd,
    /// Descriptor of this process on the terminal, so that it keeps its settings and does not count
    /// as hung up.
    _slave: OwnedFd,
    watch: Option<i32>,
}

/// Symbolic link and the terminals it leads to.
#[derive(Debug)]
pub(super) struct Terminals {
    link: PathBuf,
    inotify: Option<OwnedFd>,
    /// Terminal that the link leads to.
    fresh: Option<Fresh>,
    /// Terminal that the link leads to next; a second link beside the first leads to it.
    spare: Option<Fresh>,
    /// Whether the last attempt to make a terminal failed, which is logged once.
    short: bool,
}

impl Terminals {
    /// Makes the first terminal and the link to it.
    ///
    /// # Errors
    /// The system's error, when no terminal can be made or the link cannot be created.
    pub(super) fn new(link: &Path) -> io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let inotify = inotify::init(flags)
            .inspect_err(|error| tracing::debug!("no inotify: {error}"))
            .ok();
        let mut terminals = Self {
            link: link.to_owned(),
            inotify,
            fresh: None,
            spare: None,
            short: false,
        };
        terminals.move_on()?;
        Ok(terminals)
    }

    /// Returns a descriptor that is readable when a program may have opened the fresh terminal.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Returns a descriptor that is readable when a program has written to the fresh terminal.
    pub(super) fn fresh(&self) -> Option<BorrowedFd<'_>> {
        self.fresh.as_ref().map(|fresh| fresh.master.as_fd())
    }

    /// Returns whether the fresh terminal has been opened, as far as inotify reports it.
    pub(super) fn was_opened(&self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let mut opened = false;
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let watched = self.fresh.as_ref().and_then(|fresh| fresh.watch);
            opened |=
                watched == Some(event.wd()) && event.events().contains(inotify::ReadFlags::OPEN);
        }
        opened
    }

    /// Hands over the controlling side of the fresh terminal, and moves the link on if `more`
    /// openers may come.
    pub(super) fn take(&mut self, more: bool) -> Option<OwnedFd> {
        let fresh = self.fresh.take()?;
        if more {
            self.replenish();
        } else {
            let _ = std::fs::remove_file(&self.link);
        }
        if let (Some(inotify), Some(watch)) = (&self.inotify, fresh.watch) {
            let _ = inotify::remove_watch(inotify, watch);
        }
        Some(fresh.master)
    }

    /// Makes sure that the link leads to a fresh terminal. Returns `false` when none can be made.
    pub(super) fn replenish(&mut self) -> bool {
        if self.fresh.is_some() {
            return true;
        }
        match self.move_on() {
            Ok(()) => self.short = false,
            Err(error) => {
                let _ = std::fs::remove_file(&self.link);
                if !self.short {
                    tracing::warn!("no terminal for {}: {error}", self.link.display());
                }
                self.short = true;
            }
        }
        !self.short
    }

    /// Makes the link lead to the spare terminal, and makes another spare.
    fn move_on(&mut self) -> io::Result<()> {
        let next = match self.spare.take() {
            Some(spare) => spare,
            None => self.make()?,
        };
        std::fs::rename(self.beside(), &self.link)?;
        self.fresh = Some(next);
        // Without a spare, the next terminal is made when it is needed.
        self.spare = self
            .make()
            .inspect_err(|error| tracing::debug!("no spare terminal: {error}"))
            .ok();
        Ok(())
    }

    /// Returns the path of the link to the spare terminal.
    fn beside(&self) -> PathBuf {
        let mut beside = self.link.clone().into_os_string();
        beside.push(".next");
        PathBuf::from(beside)
    }

    /// Makes a terminal in raw mode, and the second link to it.
    fn make(&self) -> io::Result<Fresh> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = Path::new(OsStr::from_bytes(name.as_bytes()));
        let slave = rustix::fs::open(
            path,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        // The group tty may not write into it, because no person sits at this terminal.
        rustix::fs::fchmod(&slave, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let watch = self.inotify.as_ref().and_then(|inotify| {
            inotify::add_watch(inotify, path, inotify::WatchFlags::OPEN)
                .inspect_err(|error| tracing::debug!("watching {}: {error}", path.display()))
                .ok()
        });
        // The second link is renamed into place later, so that the name always leads to a terminal.
        let beside = self.beside();
        let _ = std::fs::remove_file(&beside);
        symlink(path, &beside)?;
        Ok(Fresh {
            master,
            _slave: slave,
            watch,
        })
    }
}

/// Returns the number of bytes written to a terminal that no program has read. `master` is its
/// controlling side.
///
/// Makes the system calls `ioctl` (TIOCGPTPEER, FIONREAD) and `close`.
pub(super) fn unread(master: &OwnedFd) -> u64 {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    ioctl_tiocgptpeer(master, flags)
        .and_then(ioctl_fionread)
        .unwrap_or(0)
}

impl Drop for Terminals {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.beside());
        let _ = std::fs::remove_file(&self.link);
    }
}
