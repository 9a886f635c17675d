//! The account of the replacements and of the content that was not understood, or the reason why a
//! capture cannot be scrubbed.

use std::collections::BTreeMap;
use std::io;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_capture::read::ReadError;

use super::identities::{Identities, Kind};

/// Largest number of kinds of content not understood that are named.
const MOST: usize = 64;
/// Name under which all kinds beyond are counted.
const OTHERS: &str = "others";

/// Reason why a capture cannot be scrubbed.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The capture cannot be read at all.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The capture cannot be opened, or the result cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The control and serial transfers do not fit into memory.
    #[error("its control transfers and AT dialogues are longer than {0} bytes")]
    TooLong(usize),
}

/// Account of a scrubbed capture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// Number of packets written.
    pub packets: u64,
    /// Number of records left out, because they cannot be read as packets.
    pub left_out: u64,
    /// The number of replacements, by kind.
    pub replaced: BTreeMap<Kind, Replaced>,
    /// Content that was not understood and therefore blanked, with the number of times it came.
    pub blanked: BTreeMap<String, u64>,
    /// Number of datagrams whose checksum could not be computed anew, and is 0.
    pub without_checksum: u64,
    /// Reason why the capture could not be read to its end, if so.
    pub broken: Option<String>,
}

/// Number of things of one kind that were replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replaced {
    /// Number of places in which something was replaced.
    pub places: u64,
    /// Number of different identities in these places, for kinds that are told apart; otherwise 0.
    pub different: u64,
}

impl Report {
    pub(super) fn replaced(&mut self, kind: Kind) {
        self.replaced_often(kind, 1);
    }

    pub(super) fn replaced_often(&mut self, kind: Kind, places: u64) {
        if places > 0 {
            self.replaced.entry(kind).or_default().places += places;
        }
    }

    pub(super) fn blanked(&mut self, what: &str, times: u64) {
        if self.blanked.len() >= MOST && !self.blanked.contains_key(what) {
            *self.blanked.entry(OTHERS.to_owned()).or_default() += times;
        } else {
            *self.blanked.entry(what.to_owned()).or_default() += times;
        }
    }

    pub(super) fn checksum_left(&mut self) {
        self.without_checksum += 1;
    }

    pub(super) fn finish(&mut self, identities: &Identities) {
        for (kind, replaced) in &mut self.replaced {
            replaced.different = identities.told_apart(*kind) as u64;
        }
    }
}
