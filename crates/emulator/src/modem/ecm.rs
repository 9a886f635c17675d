//! The ECM function, in configuration 2 of the lt4132, as owners meet it: it is there, and has no carrier until
//! `^NDISDUP` dials. Frames go nowhere.

use std::collections::VecDeque;

/// Class requests (CDC ECM 1.2, 6.2).
const SET_ETHERNET_MULTICAST_FILTERS: u8 = 0x40;
const SET_ETHERNET_PACKET_FILTER: u8 = 0x43;
const GET_ETHERNET_STATISTIC: u8 = 0x44;

/// Notifications of the link state that wait for the host.
#[derive(Debug, Default)]
pub(super) struct Ecm {
    /// `bInterfaceNumber` of the control interface.
    control: u8,
    notifications: VecDeque<[u8; 8]>,
}

impl Ecm {
    /// Makes a function with that control interface.
    pub fn new(control: u8) -> Self {
        Self {
            control,
            ..Self::default()
        }
    }

    /// Queues the notification that the link came up or went down (NETWORK_CONNECTION, CDC 1.2, 6.3.1).
    pub fn set_link(&mut self, up: bool) {
        if self.notifications.len() < 8 {
            self.notifications
                .push_back([0xa1, 0x00, u8::from(up), 0, self.control, 0, 0, 0]);
        }
    }

    /// Returns the oldest notification.
    pub fn take_notification(&mut self) -> Option<[u8; 8]> {
        self.notifications.pop_front()
    }

    /// Executes a class request that sets something. `false` is a STALL.
    pub fn control_out(request: u8) -> bool {
        matches!(
            request,
            SET_ETHERNET_MULTICAST_FILTERS | SET_ETHERNET_PACKET_FILTER
        )
    }

    /// Answers a class request for data in `room` and returns the length. `None` is a STALL.
    pub fn control_in(request: u8, room: &mut [u8]) -> Option<usize> {
        if request != GET_ETHERNET_STATISTIC {
            return None;
        }
        let length = room.len().min(4);
        room[..length].fill(0);
        Some(length)
    }
}
