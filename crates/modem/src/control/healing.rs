//! State of the healing in the control thread: the layout in use, and the facts known of the device.

use std::time::{Duration, Instant};

use crate::heal::memory::LayoutMemory;
use crate::heal::{Healer, Layout};
use crate::options::Options;
use crate::state_file::StateFile;

/// Time after which layouts that did not help are tried once more.
const REST: Duration = Duration::from_secs(3600);

/// State of the healing, and the facts known of the device.
pub(super) struct Healing {
    pub(super) machine: Healer,
    pub(super) memory: Option<StateFile<LayoutMemory>>,
    /// `idVendor` and `idProduct` of the device that the other fields are about.
    pub(super) device: Option<(u16, u16)>,
    /// Version of the device's firmware, once it is known.
    pub(super) firmware: Option<String>,
    /// Layout in use in place of the one in the quirk table.
    pub(super) layout: Option<Layout>,
    /// Whether the layout in use comes from the memory and has not been reported.
    pub(super) remembered: bool,
    /// Whether anything has come back since the device was found.
    pub(super) carried: bool,
    /// Whether NTBs came with empty headers, as devices send them that need the other format.
    pub(super) empty_headers: bool,
    /// Time at which the last layout had been tried in vain.
    pub(super) exhausted: Option<Instant>,
    pub(super) paddings_tried: u32,
}

impl Healing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            machine: Healer::new(now),
            memory: None,
            device: None,
            firmware: None,
            layout: None,
            remembered: false,
            carried: false,
            empty_headers: false,
            exhausted: None,
            paddings_tried: 0,
        }
    }

    /// Returns whether all layouts were tried in vain within the last [`REST`].
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        self.exhausted.is_some_and(|since| now < since + REST)
    }

    /// Returns the options with the layout in use in place of theirs.
    pub(super) fn over(&self, options: &Options) -> Options {
        let mut options = options.clone();
        if let Some(layout) = self.layout {
            options.ndp = options.ndp.or(Some(layout.ndp));
            options.padding = options.padding.or(Some(layout.padding));
            options.ntb = options.ntb.or(Some(layout.ntb));
        }
        options
    }

    /// Records that the device takes no NTBs of the format in which it sends its own.
    pub(super) fn empty_headers(&mut self) {
        self.empty_headers = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_in_vain_is_tried_again_an_hour_later() {
        let now = Instant::now();
        let mut healing = Healing::new(now);
        assert!(!healing.is_exhausted(now));
        healing.exhausted = Some(now);
        assert!(healing.is_exhausted(now + REST - Duration::from_secs(1)));
        assert!(!healing.is_exhausted(now + REST));
    }
}
