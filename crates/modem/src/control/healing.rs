//! State of the healing in the control thread: which layout is in use, and what is known of the device.

use std::time::Instant;

use crate::heal::memory::LayoutMemory;
use crate::heal::{Healer, Layout};
use crate::options::Options;
use crate::state_file::StateFile;

/// State of the healing, and what is known of the device.
pub(super) struct Healing {
    pub(super) machine: Healer,
    pub(super) memory: Option<StateFile<LayoutMemory>>,
    /// `idVendor` and `idProduct` of the device that the rest is about.
    pub(super) device: Option<(u16, u16)>,
    /// Version of the device's firmware, once it is known.
    pub(super) firmware: Option<String>,
    /// Layout in use in place of what the quirk table says.
    pub(super) layout: Option<Layout>,
    /// Whether the layout in use is the memory's, and is not told yet.
    pub(super) remembered: bool,
    /// Whether anything has come back since the device was found.
    pub(super) carried: bool,
    /// Whether NTBs came with empty headers, as in the wrong format.
    pub(super) empty_headers: bool,
    /// Whether everything was tried in vain.
    pub(super) exhausted: bool,
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
            exhausted: false,
            paddings_tried: 0,
        }
    }

    /// Returns the options with the layout in use.
    pub(super) fn over(&self, options: &Options) -> Options {
        let mut options = options.clone();
        if let Some(layout) = self.layout {
            options.ndp = options.ndp.or(Some(layout.ndp));
            options.padding = options.padding.or(Some(layout.padding));
            options.ntb = options.ntb.or(Some(layout.ntb));
        }
        options
    }

    /// Notes that the device takes no NTBs of the format in which it answers.
    pub(super) fn empty_headers(&mut self) {
        self.empty_headers = true;
    }
}
