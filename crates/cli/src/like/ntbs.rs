//! The layout of NTBs in both directions.

use uwwan_ncm::{DropCounters, Format, Limits, Ntb};

use super::modem::Like;

/// Number of NTBs of the modem after which the largest number of datagrams in one is meaningful.
const ENOUGH: u64 = 64;
/// Number of NTBs with the largest number of datagrams from which on that number is taken for a
/// limit.
const OFTEN: u64 = 16;

/// The facts about the NTBs of one direction.
#[derive(Debug, Default)]
struct Direction {
    /// Number of NTBs whose NDP stands in front of the datagrams, and of those whose NDP follows
    /// them.
    front: u64,
    end: u64,
    ntb32: u64,
    /// Largest number of datagrams in an NTB, and the number of NTBs that have as many.
    most: (usize, u64),
}

/// The facts about the NTBs.
#[derive(Debug, Default)]
pub(super) struct Ntbs {
    output: Direction,
    input: Direction,
}

impl Ntbs {
    /// Adds a transfer of `length` bytes that begins as an NTB.
    pub fn take(&mut self, bytes: &[u8], length: usize, out: bool) {
        let direction = if out {
            &mut self.output
        } else {
            &mut self.input
        };
        let limits = Limits {
            max_ntb: bytes.len(),
            max_datagrams: usize::from(u16::MAX),
            ..Limits::default()
        };
        // A transfer that the capture has cut holds no whole NTB.
        if bytes.len() < length {
            return;
        }
        let Ok(ntb) = Ntb::parse(bytes, &limits) else {
            return;
        };
        let mut drops = DropCounters::default();
        let (mut count, mut first) = (0, usize::MAX);
        for datagram in ntb.datagrams(&mut drops) {
            count += 1;
            first = first.min(datagram.range.start);
        }
        direction.ntb32 += u64::from(ntb.format() == Format::Ntb32);
        if count == 0 {
            return;
        }
        if ntb.ndp_index() < first {
            direction.front += 1;
        } else {
            direction.end += 1;
        }
        direction.most = match direction.most {
            (most, times) if count == most => (most, times + 1),
            (most, times) if count < most => (most, times),
            _ => (count, 1),
        };
    }

    /// Returns the number of NTBs, in hundreds.
    pub fn count(&self) -> usize {
        let both = [&self.output, &self.input];
        let all = both
            .map(|direction| direction.front + direction.end)
            .iter()
            .sum::<u64>();
        usize::try_from(all).unwrap_or(usize::MAX) / 100
    }

    /// Puts findings into `like`, and gaps into `missing`.
    pub fn finish(self, like: &mut Like, missing: &mut Vec<String>) {
        let Self { output, input } = self;
        let all = input.front + input.end;
        if all == 0 {
            missing.push("NTBs of the modem (where its NDPs stand)".to_owned());
            return;
        }
        let place = if input.front > input.end {
            "front"
        } else {
            "end"
        };
        like.knobs.push(format!("ndp_place={place}"));
        if input.front > 0 && input.end > 0 {
            like.notes.push(format!(
                "the modem's NDPs stand in front in {} of {all} NTBs; here they stand {place} in all",
                input.front
            ));
        }
        if output.front > 0 && output.end == 0 {
            like.knobs.push("black_hole_ndp_front=off".to_owned());
        }
        if all >= ENOUGH && input.most.1 >= OFTEN && input.most.0 > 1 {
            like.knobs
                .push(format!("ntb_in_datagrams={}", input.most.0));
        }
        if input.ntb32 > 0 && output.ntb32 == 0 && output.front + output.end > 0 {
            like.knobs.push("ntb32_after_alternate=on".to_owned());
        }
    }
}
