//! A stick that is a storage device first. It shows a drive with its drivers on it, and becomes a
//! modem once its host has told it to switch (usb_modeswitch, HuaweiNewMode).
//!
//! The content of the drive is not emulated: every other command fails (USB Mass Storage Bulk-Only
//! Transport 1.0).

use std::collections::VecDeque;

use crate::behaviour::InVerdict;

/// Class requests (Bulk-Only Transport 1.0, 3).
const RESET: u8 = 0xff;
const GET_MAX_LUN: u8 = 0xfe;
/// Length of a command block wrapper in bytes, and its signature (5.1).
const WRAPPER: usize = 31;
const SIGNATURE: &[u8] = b"USBC";
/// Offsets in the wrapper: the tag, the length of the data and the command (5.1).
const TAG: std::ops::Range<usize> = 4..8;
const LENGTH: std::ops::Range<usize> = 8..12;
const COMMAND: usize = 15;
/// First bytes of the command by which Huawei's sticks switch.
const SWITCH: [u8; 3] = [0x11, 0x06, 0x20];
/// Number of replies waiting for the host from which further commands are dropped.
const MAX_REPLIES: usize = 16;

/// State of the drive.
#[derive(Debug, Default)]
pub(super) struct Storage {
    replies: VecDeque<Vec<u8>>,
}

impl Storage {
    /// Takes a transfer from the host. Returns whether it tells the stick to switch.
    pub fn take(&mut self, data: &[u8]) -> bool {
        if data.len() != WRAPPER || !data.starts_with(SIGNATURE) {
            return false;
        }
        if data[COMMAND..].starts_with(&SWITCH) {
            return true;
        }
        if self.replies.len() + 2 <= MAX_REPLIES {
            let inward = data[12] & 0x80 != 0;
            if inward && data[LENGTH] != [0; 4] {
                self.replies.push_back(Vec::new());
            }
            // The status wrapper says that no data was moved and that the command failed (5.2).
            let mut status = b"USBS".to_vec();
            status.extend(&data[TAG]);
            status.extend(&data[LENGTH]);
            status.push(1);
            self.replies.push_back(status);
        }
        false
    }

    /// Answers IN tokens.
    pub fn give(&mut self, room: &mut [u8]) -> InVerdict {
        let Some(reply) = self.replies.pop_front() else {
            return InVerdict::Nak;
        };
        let Some(place) = room.get_mut(..reply.len()) else {
            return InVerdict::Overflow;
        };
        place.copy_from_slice(&reply);
        InVerdict::Data {
            length: reply.len(),
            short: true,
        }
    }

    /// Executes a class request without data. Returns `false` for a STALL.
    pub fn control_out(&mut self, request: u8) -> bool {
        self.replies.clear();
        request == RESET
    }

    /// Answers a class request for data in `room` and returns the length in bytes; `None` is a
    /// STALL.
    pub fn control_in(request: u8, room: &mut [u8]) -> Option<usize> {
        let place = room.first_mut()?;
        *place = 0;
        (request == GET_MAX_LUN).then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapper(command: &[u8], length: u32) -> Vec<u8> {
        let mut wrapper = b"USBC\x12\x34\x56\x78".to_vec();
        wrapper.extend(length.to_le_bytes());
        wrapper.extend([0x80, 0, 6]);
        wrapper.extend(command);
        wrapper.resize(WRAPPER, 0);
        wrapper
    }

    #[test]
    fn it_switches_when_told_and_fails_all_else() {
        let mut storage = Storage::default();
        assert!(storage.take(&wrapper(&[0x11, 6, 0x20, 0, 0, 1, 1, 0, 1], 0)));
        assert!(!storage.take(b"USBC"));
        // The command is INQUIRY.
        assert!(!storage.take(&wrapper(&[0x12, 0, 0, 0, 36], 36)));
        let mut room = [0; 64];
        let empty = InVerdict::Data {
            length: 0,
            short: true,
        };
        assert_eq!(storage.give(&mut room), empty);
        assert!(matches!(
            storage.give(&mut room),
            InVerdict::Data { length: 13, .. }
        ));
        assert_eq!(room[..13], *b"USBS\x12\x34\x56\x78\x24\x00\x00\x00\x01");
        assert_eq!(storage.give(&mut room), InVerdict::Nak);
        for _ in 0..100 {
            storage.take(&wrapper(&[0], 0));
        }
        assert!(storage.replies.len() <= MAX_REPLIES);
    }
}
