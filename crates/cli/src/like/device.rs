//! The facts that a capture shows of one device.

use uwwan_usb::functions;

use super::at::Lines;
use super::enumeration::Enumeration;
use super::mbim::Control;
use super::modem::Like;
use super::ntbs::Ntbs;
use super::requests::Requests;
use crate::story::{Entry, What};

/// The facts that a capture shows of one device.
#[derive(Debug, Default)]
pub(super) struct Observed {
    enumeration: Enumeration,
    control: Control,
    lines: Lines,
    requests: Requests,
    ntbs: Ntbs,
}

impl Observed {
    /// Adds an entry of the capture.
    pub fn take(&mut self, entry: Entry) {
        let (time, out, packet) = (entry.time, entry.out, entry.packet);
        match entry.what {
            What::Message { bytes, answers, .. } => {
                self.control.take(&bytes, packet, time, out, answers);
            }
            What::Ntb { bytes, length } => self.ntbs.take(&bytes, length, out),
            What::Serial { bytes, .. } => self.lines.take(&bytes, time, out),
            What::Control {
                setup,
                bytes,
                status,
            } => match setup[0] & 0x60 {
                0 => self.enumeration.take(setup, bytes, status),
                _ => self.requests.take(setup, &bytes, status),
            },
            What::Notification { .. } => {}
        }
    }

    /// Returns a measure of how much the device looks like a modem; 0 is not at all.
    pub fn weight(&self) -> usize {
        let described = self.enumeration.descriptors().is_some_and(|descriptors| {
            !functions::mbim(&descriptors).is_empty() || !functions::ncm(&descriptors).is_empty()
        });
        1000 * self.control.count()
            + 100 * self.requests.count()
            + self.ntbs.count()
            + usize::from(described)
    }

    /// Returns the modem.
    pub fn finish(self) -> Like {
        let mut like = Like::default();
        let mut found = Vec::new();
        let mut missing = Vec::new();
        self.enumeration.finish(&mut like, &mut missing);
        let name = like.descriptors.as_ref().map_or_else(
            || "a modem".to_owned(),
            |own| format!("{:04x}:{:04x}", own.vendor(), own.product()),
        );
        self.requests.finish(&mut like, &mut missing);
        self.ntbs.finish(&mut like, &mut missing);
        let opened = self.control.opened();
        self.control.finish(&mut like, &mut found, &mut missing);
        self.lines
            .finish(opened, &mut like, &mut found, &mut missing);
        let found = match found.as_slice() {
            [] => "nothing of what it answers".to_owned(),
            all => all.join(", "),
        };
        like.notes.insert(0, format!("like {name}: {found}"));
        if !missing.is_empty() {
            let missing = missing.join("; ");
            like.notes.push(format!(
                "not in the capture, so as the emulated modem has it: {missing}"
            ));
        }
        like
    }
}
