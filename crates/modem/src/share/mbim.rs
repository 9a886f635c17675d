//! Service that gives other programs the modem's control session, in the protocol of libmbim's
//! proxy. [`proxy`](crate::proxy) describes it for the writers of clients.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listener::{self, Listener};
use super::server::Builder;
use super::service::Entrance;
use super::terminals::Terminals;
use crate::modem::Handle;
use crate::permissions::Caller;
use crate::proxy::multiplexer::{Config, Multiplexer};

/// Abstract socket name to which every libmbim program connects (libmbim's `mbim-proxy`).
pub const PUBLIC_NAME: &str = "mbim-proxy";

/// Entrances by which other programs reach the control session, and their rules.
#[derive(Debug, Clone, Default)]
pub struct MbimOptions {
    /// Path of the socket in the runtime directory.
    pub socket: PathBuf,
    /// Abstract socket name; [`PUBLIC_NAME`] takes the place of mbim-proxy.
    pub public: Option<String>,
    /// Path of the symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
    /// Other paths by which clients may name this modem. Of symbolic links, only those beside the
    /// directory are followed.
    pub aliases: Vec<PathBuf>,
    /// Rules and bounds for clients.
    pub rules: Config,
}

/// State of the entrances, as part of the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MbimStatus {
    /// Path of the socket in the runtime directory.
    pub socket: Option<PathBuf>,
    /// Abstract socket name, if this process has it.
    pub public: Option<String>,
    /// Path of the symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
    /// Number of clients at present.
    pub clients: usize,
}

/// Entrances to the control session that could be opened.
#[derive(Debug, Clone)]
pub struct MbimEntrances {
    status: MbimStatus,
    notices: Vec<String>,
    clients: Arc<AtomicUsize>,
}

impl MbimEntrances {
    /// Returns the state of the entrances at present.
    #[must_use]
    pub fn status(&self) -> MbimStatus {
        MbimStatus {
            clients: self.clients.load(Ordering::Relaxed),
            ..self.status.clone()
        }
    }

    /// Returns the entrances that could not be opened, with the reasons, in words.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

impl Builder {
    /// Offers the control session. An entrance that cannot be opened is no error, but leads to a
    /// notice.
    pub fn mbim(&mut self, handle: &Handle, options: &MbimOptions) -> MbimEntrances {
        let mut status = MbimStatus::default();
        let mut notices = Vec::new();
        let private = Listener::at(&options.socket, self.mode(Caller::Everyone))
            .inspect(|_| status.socket = Some(options.socket.clone()))
            .inspect_err(|error| {
                notices.push(format!(
                    "no control socket for other commands at {}: {error}",
                    options.socket.display()
                ));
            });
        let terminals = options.terminal.as_ref().and_then(|link| {
            Terminals::new(link)
                .inspect(|_| status.terminal = Some(link.clone()))
                .inspect_err(|error| {
                    notices.push(format!("no MBIM terminal at {}: {error}", link.display()));
                })
                .ok()
        });
        let public = options.public.as_ref().and_then(|name| {
            Listener::named(name)
                .inspect(|_| status.public = Some(name.clone()))
                .inspect_err(|error| notices.push(taken(name, error, &status)))
                .ok()
        });
        let mut ours = options.aliases.clone();
        ours.push(options.socket.clone());
        ours.extend(options.terminal.clone());
        let ours = resolved(ours);
        let clients = Arc::new(AtomicUsize::new(0));
        let modem = handle.clone();
        let service = self.service(Box::new(Multiplexer::new(
            options.rules.clone(),
            Box::new(move |path| means(path, &ours)),
            Box::new(move || modem.basis()),
            handle.asker(Some(self.waker())),
            Arc::clone(&clients),
        )));
        if let Ok(private) = private {
            self.socket(service, private, Entrance::Private, Caller::Everyone);
        }
        if let Some(public) = public {
            self.socket(service, public, Entrance::Public, Caller::Guest);
        }
        if let Some(terminals) = terminals {
            self.terminals(service, terminals);
        }
        MbimEntrances {
            status,
            notices,
            clients,
        }
    }
}

fn taken(name: &str, error: &io::Error, status: &MbimStatus) -> String {
    let instead = status.terminal.as_ref().map_or(String::new(), |terminal| {
        format!("; `mbimcli -d {}` works without it", terminal.display())
    });
    if error.kind() == io::ErrorKind::AddrInUse {
        let owner = listener::owner(name).unwrap_or_else(|| "another process".into());
        format!("{owner} is the mbim-proxy here, so `mbimcli -p` reaches that one{instead}")
    } else {
        format!("no mbim-proxy socket: {error}{instead}")
    }
}

/// Returns paths of this modem, each also with the links to its directory resolved.
fn resolved(ours: Vec<PathBuf>) -> Vec<PathBuf> {
    let real = ours.iter().filter_map(|own| {
        let folder = own.parent()?.canonicalize().ok()?;
        Some(folder.join(own.file_name()?))
    });
    let real: Vec<_> = real.collect();
    ours.into_iter().chain(real).collect()
}

/// Returns whether a path that a client names is this modem's: one of `ours`, or the same name behind
/// a symbolic link that stands beside its directory, as the link named after the port does. No other
/// part of the path is looked up, because a client may name a file system of its own, whose answer
/// may take any time.
fn means(path: &str, ours: &[PathBuf]) -> bool {
    let path = Path::new(path);
    let leads_to = |own: &PathBuf| {
        let (folder, link) = (own.parent()?, path.parent()?);
        let beside = link.parent()? == folder.parent()? && path.file_name()? == own.file_name()?;
        let target = beside.then(|| std::fs::read_link(link).ok()).flatten()?;
        (target.as_os_str() == folder.file_name()?).then_some(())
    };
    ours.iter()
        .any(|own| own == path || leads_to(own).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_port_means_the_modem_and_no_other_file_is_looked_up() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("modem");
        std::fs::create_dir(&folder).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let way = elsewhere.path().join("way");
        symlink(base.path(), &way).unwrap();
        let ours = resolved(vec![way.join("modem/mbim")]);
        symlink("modem", base.path().join("1-4")).unwrap();
        symlink(folder.join("mbim"), elsewhere.path().join("link")).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        for own in [
            way.join("modem/mbim"),
            way.join("./modem/mbim"),
            way.join("1-4/mbim"),
            folder.join("mbim"),
            base.path().join("1-4/mbim"),
        ] {
            assert!(means(&text(&own), &ours), "{}", own.display());
        }
        for other in [
            "/dev/null",
            "",
            "mbim",
            "/",
            &text(&folder),
            &text(&base.path().join("1-4")),
            &text(&base.path().join("1-5/mbim")),
            &text(&base.path().join("1-4/control")),
            // The link leads to the modem, but only a look at a foreign directory would show that.
            &text(&elsewhere.path().join("link")),
        ] {
            assert!(!means(other, &ours), "{other}");
        }
    }
}
