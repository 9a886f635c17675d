//! Service that gives other programs the modem's control session, in the protocol of libmbim's
//! proxy: see [`proxy`](crate::proxy) for what its clients may expect.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    /// Abstract socket name; [`PUBLIC_NAME`] to take the place of mbim-proxy.
    pub public: Option<String>,
    /// Path of the symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
    /// Other paths that mean this modem when a client names them.
    pub aliases: Vec<PathBuf>,
    /// Rules and bounds for clients.
    pub rules: Config,
}

/// State of the entrances, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Returns which entrances could not be opened, and why, in words.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

impl Builder {
    /// Offers the control session. An entrance that cannot be opened is no error: a notice says so.
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
        let clients = Arc::new(AtomicUsize::new(0));
        let service = self.service(Box::new(Multiplexer::new(
            options.rules.clone(),
            Box::new(move |path| means(path, &ours)),
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

/// Returns whether a path that a client names means this modem: one of `ours`, or a path that leads
/// to one. Only symbolic links are resolved; nothing is opened.
fn means(path: &str, ours: &[PathBuf]) -> bool {
    let path = Path::new(path);
    if ours.iter().any(|own| own == path) {
        return true;
    }
    if path.as_os_str().as_bytes().len() > 4096 {
        return false;
    }
    let Ok(real) = path.canonicalize() else {
        return false;
    };
    ours.iter()
        .filter_map(|own| own.canonicalize().ok())
        .any(|own| own == real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_socket_mean_the_modem() {
        let folder = std::env::temp_dir().join(format!("uwwan-means-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("mbim");
        std::fs::write(&socket, "").unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let ours = [socket.clone()];
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        assert!(means(&text(&socket), &ours) && means(&text(&link), &ours));
        assert!(means(&text(&folder.join("./mbim")), &ours));
        for other in ["/dev/null", "", "mbim", "/nowhere", &text(&folder)] {
            assert!(!means(other, &ours), "{other}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
