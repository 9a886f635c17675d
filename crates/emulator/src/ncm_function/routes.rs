//! Routes: which packets belong to a data session that is up.

/// Returns the IP version of a packet; 0 for an empty one.
pub(super) fn version(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |byte| byte >> 4)
}

/// Data sessions that carry IPv4, and those that carry IPv6.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    v4: [bool; 256],
    v6: [bool; 256],
    sessions: usize,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            v4: [false; 256],
            v6: [false; 256],
            sessions: 0,
        }
    }
}

impl Routes {
    /// Sets which families a data session carries.
    pub fn set(&mut self, session: u8, v4: bool, v6: bool) {
        let at = usize::from(session);
        self.v4[at] = v4;
        self.v6[at] = v6;
        self.sessions = (0..256).filter(|at| self.v4[*at] || self.v6[*at]).count();
    }

    /// Forgets every data session.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns whether a data session carries packets of that IP version.
    pub fn carries(&self, session: u8, version: u8) -> bool {
        match version {
            4 => self.v4[usize::from(session)],
            6 => self.v6[usize::from(session)],
            _ => false,
        }
    }

    /// Returns whether data session 0 is the only one that carries anything.
    pub fn only_zero(&self) -> bool {
        self.sessions == 1 && (self.v4[0] || self.v6[0])
    }
}
