//! Parses the notifications of a network function about its link and its responses (CDC 1.2, 6.3).
//!
//! A notification is a header of 8 bytes with the layout of a control request, and data of the
//! length that the header states. It may be longer than the packets of the endpoint, so that it
//! arrives in parts. All multi-byte fields are little endian.

/// `bmRequestType` of a class notification from an interface.
const NOTIFICATION: u8 = 0xa1;
const NETWORK_CONNECTION: u8 = 0x00;
const RESPONSE_AVAILABLE: u8 = 0x01;
const CONNECTION_SPEED_CHANGE: u8 = 0x2a;
/// Length of the header in bytes.
const HEADER: usize = 8;
/// Length in bytes of the longest notification that is read; those that are understood have 8 or
/// 16.
const LONGEST: usize = 64;

/// A notification of an Ethernet function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification {
    /// NETWORK_CONNECTION: the function is connected to its network, or not.
    Connected(bool),
    /// CONNECTION_SPEED_CHANGE: the link has these speeds.
    Speed {
        /// Speed towards the host in bit/s.
        downlink: u32,
        /// Speed towards the network in bit/s.
        uplink: u32,
    },
    /// RESPONSE_AVAILABLE: the function has a response to an encapsulated command.
    ResponseAvailable,
}

/// Reader that puts the parts of notifications together. It holds 64 bytes at most.
#[derive(Debug, Default)]
pub struct Reader {
    parts: Vec<u8>,
}

impl Reader {
    /// Takes the bytes of one interrupt transfer and returns the notifications that they complete.
    /// Other notifications, and bytes that are no notification, are dropped.
    pub fn push(&mut self, transfer: &[u8]) -> Vec<Notification> {
        // Where another notification begins in place of the rest that was due, the rest will not
        // come.
        let begins = matches!(
            transfer,
            [
                NOTIFICATION,
                NETWORK_CONNECTION | RESPONSE_AVAILABLE | CONNECTION_SPEED_CHANGE,
                _,
                _,
                _,
                _,
                _,
                _,
                ..
            ]
        );
        if begins {
            self.parts.clear();
        }
        if self.parts.len() + transfer.len() > LONGEST {
            self.parts.clear();
            return Vec::new();
        }
        self.parts.extend_from_slice(transfer);
        let mut notifications = Vec::new();
        while self.parts.len() >= HEADER {
            if self.parts[0] != NOTIFICATION {
                self.parts.clear();
                break;
            }
            let field = |at: usize| u16::from_le_bytes([self.parts[at], self.parts[at + 1]]);
            let length = HEADER + usize::from(field(6));
            if length > LONGEST {
                self.parts.clear();
                break;
            }
            let Some(data) = self.parts.get(HEADER..length) else {
                break;
            };
            match (self.parts[1], data) {
                (NETWORK_CONNECTION, _) => {
                    notifications.push(Notification::Connected(field(2) != 0));
                }
                (RESPONSE_AVAILABLE, _) => notifications.push(Notification::ResponseAvailable),
                (CONNECTION_SPEED_CHANGE, [a, b, c, d, e, f, g, h]) => {
                    notifications.push(Notification::Speed {
                        downlink: u32::from_le_bytes([*a, *b, *c, *d]),
                        uplink: u32::from_le_bytes([*e, *f, *g, *h]),
                    })
                }
                _ => {}
            }
            self.parts.drain(..length);
        }
        notifications
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: [u8; 8] = [0xa1, 0x00, 1, 0, 0, 0, 0, 0];
    /// Linux `f_ncm` sends this at high speed: 425 Mbit/s, 13 packets of 512 bytes a microframe.
    const SPEED: [u8; 16] = [
        0xa1, 0x2a, 0, 0, 0, 0, 8, 0, 0x00, 0x00, 0x64, 0x19, 0x00, 0x00, 0x64, 0x19,
    ];
    const RATE: u32 = 13 * 512 * 8 * 1000 * 8;

    #[test]
    fn link_and_speed() {
        let mut reader = Reader::default();
        assert_eq!(reader.push(&UP), [Notification::Connected(true)]);
        let mut down = UP;
        down[2] = 0;
        assert_eq!(reader.push(&down), [Notification::Connected(false)]);
        let speed = Notification::Speed {
            downlink: RATE,
            uplink: RATE,
        };
        assert_eq!(reader.push(&SPEED), [speed]);
        // The notification comes in packets of 8 bytes, with another one behind it.
        assert_eq!(reader.push(&SPEED[..8]), []);
        assert_eq!(reader.push(&SPEED[8..]), [speed]);
        assert_eq!(
            reader.push(&[&SPEED[..], &UP].concat()),
            [speed, Notification::Connected(true)]
        );
    }

    #[test]
    fn nonsense_is_left_out_and_blocks_nothing() {
        let mut reader = Reader::default();
        assert_eq!(reader.push(&[]), []);
        assert_eq!(reader.push(&[0xff; 64]), []);
        assert_eq!(reader.push(&[0xa1; 200]), []);
        assert_eq!(reader.push(&UP), [Notification::Connected(true)]);
        // The rest of the stated length never comes, and the next bytes are another notification.
        assert_eq!(reader.push(&SPEED[..8]), []);
        assert_eq!(reader.push(&UP), [Notification::Connected(true)]);
        let mut endless = UP;
        endless[6..].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(reader.push(&endless), []);
        assert_eq!(reader.push(&UP), [Notification::Connected(true)]);
        // The first notification is unknown, and the second states a wrong length for a speed.
        assert_eq!(reader.push(&[0xa1, 0x0f, 0, 0, 0, 0, 0, 0]), []);
        assert_eq!(reader.push(&[0xa1, 0x2a, 0, 0, 0, 0, 0, 0]), []);
        assert_eq!(reader.push(&UP[..3]), []);
        assert_eq!(reader.push(&UP), [Notification::Connected(true)]);
    }

    proptest::proptest! {
        #[test]
        fn anything_may_come(transfers: Vec<Vec<u8>>) {
            let mut reader = Reader::default();
            for transfer in &transfers {
                reader.push(transfer);
                proptest::prop_assert!(reader.parts.len() <= LONGEST);
            }
        }
    }
}
