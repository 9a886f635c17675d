//! Order to send bytes as they are. The bytes follow the order on the connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::raw::{self, To};

/// Order to send bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Place to which the bytes are sent.
    pub to: To,
    /// Number of bytes of each transfer, in their order.
    pub lengths: Vec<u32>,
    /// Time in milliseconds for which transfers of the device are reported.
    pub wait_ms: u64,
}

impl Sending {
    /// Checks that there is neither nothing nor too much to send.
    pub(super) fn check(&self) -> Result<(), Failure> {
        raw::check(
            self.lengths.iter().map(|length| *length as usize),
            self.wait(),
        )
    }

    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    /// Returns the number of bytes that follow the order, whose lengths have been checked.
    pub(super) fn total(&self) -> usize {
        self.lengths.iter().map(|length| *length as usize).sum()
    }

    pub(super) fn is_whole(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.total()
    }

    /// Returns the transfers once all their bytes have come.
    pub(super) fn split(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let lengths = self.lengths.iter();
        lengths
            .map(|length| {
                let (transfer, others) = rest.split_at((*length as usize).min(rest.len()));
                rest = others;
                transfer.to_vec()
            })
            .collect()
    }
}
