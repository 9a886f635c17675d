//! The bytes that wait for a client of the AT port.

use std::collections::VecDeque;

/// Bytes that wait to be written to a client. Echoes and answers repeat commands, which may hold a PIN, so
/// their memory is freed when nothing waits.
#[derive(Debug, Default)]
pub(super) struct Output(VecDeque<u8>);

impl Output {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Drops everything, which nobody will read.
    pub fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    /// Returns bytes for the client, as many as one write takes at best.
    pub fn first(&self) -> &[u8] {
        self.0.as_slices().0
    }

    /// Removes `count` bytes, which have been written.
    pub fn wrote(&mut self, count: usize) {
        self.0.drain(..count.min(self.0.len()));
        if self.0.is_empty() {
            self.clear();
        }
    }
}
