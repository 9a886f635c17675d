//! Pseudo-terminals behind one name: each opener gets one of its own.
//!
//! Programs that open the same terminal read each other's answers, so the symbolic link always
//! leads to a fresh one. The moment somebody opens that (told by inotify; the first byte read says
//! the same), the link moves on to the next. That one lies ready, so that moving on is one rename:
//! two who open within the time this takes get the same terminal, which no pseudo-terminal can
//! tell.

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

/// A terminal nobody has opened yet.
#[derive(Debug)]
struct Fresh {
    master: OwnedFd,
    /// Ours, so that it keeps its settings and does not look hung up.
    _slave: OwnedFd,
    watch: Option<i32>,
}

/// The link and what it leads to.
#[derive(Debug)]
pub(super) struct Terminals {
    link: PathBuf,
    inotify: Option<OwnedFd>,
    /// Where the link leads.
    fresh: Option<Fresh>,
    /// Where it leads next: a link to it lies beside.
    spare: Option<Fresh>,
    /// There was none to be had, which is told once.
    short: bool,
}

impl Terminals {
    /// Makes the first terminal and the link to it.
    ///
    /// # Errors
    /// When there is no terminal to be had or the link cannot be made.
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

    /// Readable when somebody may have opened the fresh terminal.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Readable when somebody has written to the fresh terminal.
    pub(super) fn fresh(&self) -> Option<BorrowedFd<'_>> {
        self.fresh.as_ref().map(|fresh| fresh.master.as_fd())
    }

    /// Whether the fresh terminal has been opened, as far as inotify knows.
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

    /// Hands the fresh terminal over and moves the link on, if `more` may come.
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

    /// Makes sure that the link leads to a fresh terminal. `false` when there is none to be had.
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

    /// Has the link lead to the spare terminal, and makes another spare.
    fn move_on(&mut self) -> io::Result<()> {
        let next = match self.spare.take() {
            Some(spare) => spare,
            None => self.make()?,
        };
        std::fs::rename(self.beside(), &self.link)?;
        self.fresh = Some(next);
        // Without one, the next is made when it is needed.
        self.spare = self
            .make()
            .inspect_err(|error| tracing::debug!("no spare terminal: {error}"))
            .ok();
        Ok(())
    }

    /// The link to the spare terminal.
    fn beside(&self) -> PathBuf {
        let mut beside = self.link.clone().into_os_string();
        beside.push(".next");
        PathBuf::from(beside)
    }

    /// Makes a terminal and a link to it beside the link.
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
        // The group tty may not write into it: this is no terminal of a person.
        rustix::fs::fchmod(&slave, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let watch = self.inotify.as_ref().and_then(|inotify| {
            inotify::add_watch(inotify, path, inotify::WatchFlags::OPEN)
                .inspect_err(|error| tracing::debug!("watching {}: {error}", path.display()))
                .ok()
        });
        // To be renamed into place, so that the name never leads nowhere.
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

/// Returns the number of bytes written to a terminal that nobody has read, by its controlling side.
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
