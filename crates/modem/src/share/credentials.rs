//! The one policy that decides who may use the entrances, by the credentials of a connection's
//! peer.

use std::os::fd::{AsFd, AsRawFd};

use crate::permissions::Caller;

/// Users and groups that an option names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// User ids.
    pub users: Vec<u32>,
    /// Group ids.
    pub groups: Vec<u32>,
    /// The users and groups in words, for messages: `user me`, `group uwwan`.
    pub words: Vec<String>,
}

impl Allow {
    fn has(&self, peer: &Peer) -> bool {
        self.users.contains(&peer.user) || self.groups.iter().any(|of| peer.groups.contains(of))
    }
}

/// Policy that decides who may use a running `up`, and as which caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// User id of the user who started this process.
    pub owner: u32,
    /// Whether every user of the machine may read the status.
    pub everyone: bool,
    /// Users and groups that may use the modem as the owner does, without ending it.
    pub operators: Allow,
    /// Users and groups that are served at the control session.
    pub guests: Allow,
    /// Caller that a test has every peer be.
    #[cfg(test)]
    pub(crate) pretended: Option<Caller>,
}

impl Default for Policy {
    /// Returns the policy that serves root and the user who runs this process.
    fn default() -> Self {
        Self {
            owner: rustix::process::geteuid().as_raw(),
            everyone: false,
            operators: Allow::default(),
            guests: Allow::default(),
            #[cfg(test)]
            pretended: None,
        }
    }
}

/// Credentials of a connection's peer at the time it connected.
struct Peer {
    user: u32,
    /// Effective group and supplementary groups.
    groups: Vec<u32>,
}

impl Peer {
    /// Returns the credentials that the kernel has of the peer (SO_PEERCRED, SO_PEERGROUPS).
    fn of(stream: &impl AsFd) -> Option<Self> {
        let credentials = rustix::net::sockopt::socket_peercred(stream).ok()?;
        let mut groups = supplementary(stream);
        groups.push(credentials.gid.as_raw());
        Some(Self {
            user: credentials.uid.as_raw(),
            groups,
        })
    }
}

/// Returns the peer's supplementary groups; none if the kernel does not report them, as before
/// Linux 4.13.
///
/// Makes the system call `getsockopt`.
#[allow(unsafe_code)]
fn supplementary(stream: &impl AsFd) -> Vec<u32> {
    /// Largest number of groups of a process (NGROUPS_MAX).
    const MOST: usize = 65536;
    let mut groups = vec![0u32; 64];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: `groups` is an exclusive buffer of `bytes` bytes, of which the kernel writes no
        // more, and any bits are valid `u32`s; `bytes` is a live `socklen_t`. The descriptor is
        // borrowed for the call.
        let result = unsafe {
            libc::getsockopt(
                stream.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<u32>();
        match result {
            0 => {
                groups.truncate(count);
                return groups;
            }
            // ERANGE comes with the needed size.
            _ if count > groups.len() && count <= MOST => groups.resize(count, 0),
            _ => return Vec::new(),
        }
    }
}

impl Policy {
    /// Returns whether users beside root and the owner may reach an entrance that serves callers
    /// from `least` up.
    pub(super) fn admits_others(&self, least: Caller) -> bool {
        let named = |allow: &Allow, caller: Caller| {
            caller >= least && !(allow.users.is_empty() && allow.groups.is_empty())
        };
        self.everyone && least == Caller::Everyone
            || named(&self.guests, Caller::Guest)
            || named(&self.operators, Caller::Operator)
    }

    /// Returns whether users beside root and the owner may reach any entrance.
    #[must_use]
    pub fn serves_others(&self) -> bool {
        self.admits_others(Caller::Everyone)
    }

    /// Returns the caller that the peer of a connection is, or `None` if an entrance for callers
    /// from `least` up does not serve it; and the peer's user in words.
    pub(super) fn admit(&self, stream: &impl AsFd, least: Caller) -> (Option<Caller>, String) {
        let Some(peer) = Peer::of(stream) else {
            return (None, "an unknown user".to_owned());
        };
        let caller = self.caller(&peer).filter(|caller| *caller >= least);
        let Peer { user, groups } = peer;
        (caller, format!("user {user} (groups {groups:?})"))
    }

    fn caller(&self, peer: &Peer) -> Option<Caller> {
        #[cfg(test)]
        if self.pretended.is_some() {
            return self.pretended;
        }
        if peer.user == 0 || peer.user == self.owner {
            Some(Caller::Owner)
        } else if self.operators.has(peer) {
            Some(Caller::Operator)
        } else if self.guests.has(peer) {
            Some(Caller::Guest)
        } else {
            self.everyone.then_some(Caller::Everyone)
        }
    }

    /// Returns in words the users who are served from `least` up: `root, user 1000 (who started
    /// it), group uwwan (--operator)`.
    pub(super) fn who(&self, least: Caller) -> String {
        let mut who = vec!["root".to_owned()];
        if self.owner != 0 {
            who.push(format!("user {} (who started it)", self.owner));
        }
        let named = [
            (Caller::Operator, &self.operators, "--operator"),
            (Caller::Guest, &self.guests, "--proxy-allow"),
        ];
        for (caller, allow, option) in named {
            if caller >= least {
                who.extend(allow.words.iter().map(|word| format!("{word} ({option})")));
            }
        }
        who.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_user_is_let_in() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let policy = Policy::default();
        assert_eq!(policy.admit(&one, Caller::Owner).0, Some(Caller::Owner));
        assert!(!policy.serves_others());
    }

    #[test]
    fn the_kernel_tells_all_groups() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.user, rustix::process::geteuid().as_raw());
        for group in rustix::process::getgroups().unwrap() {
            assert!(peer.groups.contains(&group.as_raw()), "{group:?}");
        }
        assert!(peer.groups.contains(&rustix::process::getegid().as_raw()));
    }

    #[test]
    fn callers_are_told_apart() {
        let allow = |users: &[u32], groups: &[u32], word: &str| Allow {
            users: users.to_vec(),
            groups: groups.to_vec(),
            words: vec![word.to_owned()],
        };
        let mut policy = Policy {
            owner: 5,
            everyone: false,
            operators: allow(&[6], &[60], "group uwwan"),
            guests: allow(&[7], &[9, 60], "user seven"),
            pretended: None,
        };
        for (user, groups, expected) in [
            (0, &[1][..], Some(Caller::Owner)),
            (5, &[1], Some(Caller::Owner)),
            (6, &[1], Some(Caller::Operator)),
            (8, &[1, 60], Some(Caller::Operator)),
            (7, &[1], Some(Caller::Guest)),
            (8, &[1, 9], Some(Caller::Guest)),
            (8, &[1], None),
            (9, &[7], None),
        ] {
            let groups = groups.to_vec();
            assert_eq!(policy.caller(&Peer { user, groups }), expected, "{user}");
        }
        policy.everyone = true;
        let stranger = Peer {
            user: 8,
            groups: vec![1],
        };
        assert_eq!(policy.caller(&stranger), Some(Caller::Everyone));
        let operators = "root, user 5 (who started it), group uwwan (--operator)";
        assert_eq!(policy.who(Caller::Operator), operators);
        let guests = format!("{operators}, user seven (--proxy-allow)");
        assert_eq!(policy.who(Caller::Guest), guests);
        assert!(policy.admits_others(Caller::Operator) && !policy.admits_others(Caller::Owner));
    }
}
