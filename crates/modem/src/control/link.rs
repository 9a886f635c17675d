//! Link state of a plain network device, and the carrier of the host interface that follows it.

use uwwan_ncm::LinkHeader;
use uwwan_usb::notifications::Notification;
use uwwan_usb::requests;

use super::Control;
use crate::event::Event;
use crate::kind::{self, Kind};
use crate::neighbour;
use crate::status::EthernetStatus;

impl Control {
    /// Sets the carrier of a host interface that carries frames.
    pub(super) fn set_carrier(&mut self, up: bool) {
        if self.gives_frames()
            && let Some(host) = self.sessions.iter_mut().find_map(|one| one.host.as_mut())
        {
            host.control.set_carrier(up);
        }
    }

    /// Reads the Ethernet address that a device which carries frames gives to the host.
    pub(super) fn read_address(&mut self) {
        let Some(held) = self.device.as_mut() else {
            return;
        };
        let (Kind::Ethernet { mac_index } | Kind::Dialled { mac_index, .. }) = held.function.kind
        else {
            return;
        };
        let text = requests::get_string(&*held.device, mac_index);
        held.link.address = text.as_deref().ok().and_then(kind::mac);
        let notice = match (held.link.address, text) {
            (Some(_), _) => None,
            (None, Ok(_)) => Some("the device gives no usable Ethernet address".to_owned()),
            (None, Err(error)) => Some(error.to_string()),
        };
        if let Some(why) = notice {
            let text = match self.gives_frames() {
                true => format!("{why}; the kernel makes one up"),
                false => format!("{why}; using {}", in_words(neighbour::LINK_LAYER)),
            };
            self.tell(Event::Notice { text });
        }
    }

    /// Returns the link-layer address of the host.
    pub(super) fn link_layer(&self) -> [u8; 6] {
        let held = self.device.as_ref();
        held.and_then(|held| held.link.address)
            .unwrap_or(neighbour::LINK_LAYER)
    }

    /// Makes the NTB builder put Ethernet headers in front of datagrams, where the device carries frames
    /// and the host interface carries IP.
    pub(super) fn head_frames(&mut self) {
        let from = self.link_layer();
        let Some(held) = self.device.as_mut() else {
            return;
        };
        if held.function.dialled().is_some()
            && !held.function.gives_frames()
            && let Some(negotiated) = held.negotiated.as_mut()
        {
            negotiated.framing.link = Some(LinkHeader {
                to: LinkHeader::BROADCAST,
                from,
            });
        }
    }

    /// Handles a notification of a device that carries frames.
    pub(super) fn link_notification(&mut self, bytes: &[u8]) {
        let Some(held) = self.device.as_mut() else {
            return;
        };
        let mut changed = None;
        for news in held.link.reader.push(bytes) {
            match news {
                Notification::Connected(connected) => {
                    if held.link.connected != Some(connected) {
                        held.link.connected = Some(connected);
                        changed = Some(connected);
                    }
                }
                Notification::Speed { downlink, uplink } => {
                    (held.link.downlink_bits, held.link.uplink_bits) = (downlink, uplink);
                }
                Notification::ResponseAvailable => {
                    if let Some(at) = &held.at {
                        at.response_available();
                    }
                }
            }
        }
        if let Some(up) = changed {
            self.set_carrier(up);
            if let Some(dialled) = self.device.as_ref().and_then(|held| held.dialled.as_ref()) {
                // The modem itself says by AT commands what the link means for the connection.
                return dialled.link_changed();
            }
            let text = match up {
                true => "the device's link is up",
                false => "the device's link is down: nobody is connected to its other end",
            };
            // The status is published first, so that an observer of the event finds the link in it.
            self.publish();
            self.tell(Event::Notice { text: text.into() });
        }
    }

    /// Returns the link state for `status`.
    pub(super) fn ethernet_status(&self) -> Option<EthernetStatus> {
        let held = self.device.as_ref()?;
        let link = &held.link;
        held.function.gives_frames().then(|| EthernetStatus {
            address: link.address.map_or_else(String::new, in_words),
            link: link.connected,
            downlink_bits: link.downlink_bits,
            uplink_bits: link.uplink_bits,
            frame_size: held
                .negotiated
                .as_ref()
                .and_then(|negotiated| negotiated.frame)
                .unwrap_or(0),
        })
    }
}

/// Returns an Ethernet address in its usual notation, six pairs of digits with colons.
fn in_words(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
