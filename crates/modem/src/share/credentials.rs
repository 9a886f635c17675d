//! The one policy of who may use the entrances, judged by the credentials of a connection's peer.

use std::os::fd::AsFd;

use rustix::process::{Gid, Uid};

/// Users and groups that are served beside root and the user who runs this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// User ids.
    pub users: Vec<u32>,
    /// Group ids. Only a process's effective group counts, not its supplementary groups.
    pub groups: Vec<u32>,
}

/// Standing of the peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Root, or the user who runs this process.
    Owner,
    /// A user who is served beside these.
    Guest,
}

impl Allow {
    /// Returns whether only root and the user who runs this process are served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Returns the standing of the peer by the kernel's credentials (SO_PEERCRED), or `None` for
    /// one that is not served.
    pub(super) fn admits(&self, stream: &impl AsFd) -> Option<Standing> {
        let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
        let standing = self.standing(peer.uid, peer.gid, rustix::process::geteuid());
        if standing.is_none() {
            tracing::warn!(
                "user {} (group {}) asked for the modem and may not have it",
                peer.uid.as_raw(),
                peer.gid.as_raw()
            );
        }
        standing
    }

    fn standing(&self, user: Uid, group: Gid, ours: Uid) -> Option<Standing> {
        if user.is_root() || user == ours {
            return Some(Standing::Owner);
        }
        let guest = self.users.contains(&user.as_raw()) || self.groups.contains(&group.as_raw());
        guest.then_some(Standing::Guest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_user_is_let_in() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(Allow::default().admits(&one), Some(Standing::Owner));
    }

    #[test]
    fn guests_are_no_owners() {
        let allow = Allow {
            users: vec![7],
            groups: vec![9],
        };
        let standing = |user, group| {
            allow.standing(Uid::from_raw(user), Gid::from_raw(group), Uid::from_raw(5))
        };
        for (user, group, expected) in [
            (0, 1, Some(Standing::Owner)),
            (5, 1, Some(Standing::Owner)),
            (7, 1, Some(Standing::Guest)),
            (8, 9, Some(Standing::Guest)),
            (8, 1, None),
            (9, 7, None),
        ] {
            assert_eq!(standing(user, group), expected, "{user} {group}");
        }
    }
}
