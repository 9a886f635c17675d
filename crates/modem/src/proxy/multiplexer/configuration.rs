//! Commands of libmbim for its proxy itself, by which a client names the modem that it wants.

use std::time::{Duration, Instant};

use uwwan_mbim::CommandKind;
use uwwan_mbim::services::proxy_control::{self, ConfigurationSet};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;

use super::Multiplexer;
use crate::share::service::ClientId;

impl Multiplexer {
    /// Handles CONFIGURATION and the other commands for the proxy itself, and returns the status of
    /// the answer. `None` means that the client is to be disconnected, which is how mbim-proxy
    /// refuses: libmbim does not read the status.
    pub(super) fn proxy_control(
        &mut self,
        now: Instant,
        client: ClientId,
        command: &Command,
    ) -> Option<Status> {
        let peer = self.clients.get_mut(&client)?;
        if command.id != proxy_control::CONFIGURATION {
            return Some(Status::NO_DEVICE_SUPPORT);
        }
        if command.kind != CommandKind::SET {
            return Some(Status::INVALID_PARAMETERS);
        }
        let Ok(set) = ConfigurationSet::decode(&command.info) else {
            return Some(Status::INVALID_PARAMETERS);
        };
        if let Some(path) = &peer.path {
            return Some(if *path == set.device_path {
                Status::NONE
            } else {
                Status::FAILURE
            });
        }
        if !(self.ours)(&set.device_path) {
            tracing::info!("a client asks for {:?}, another modem", set.device_path);
            peer.end = Some(now);
            return None;
        }
        // The answer has to arrive before the client's timeout.
        let patience = Duration::from_secs(set.timeout.saturating_sub(2).into());
        peer.patience = patience.min(self.config.open_patience);
        peer.path = Some(set.device_path);
        Some(Status::NONE)
    }
}
