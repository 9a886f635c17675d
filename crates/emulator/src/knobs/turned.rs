//! Knobs that suit the descriptors of a device, knobs that are turned while a modem runs, and knobs
//! that have no effect.

use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

use super::{DhcpManner, Effect, KnobError, Knobs};

/// Vendor ids of HP and Huawei, whose modules have the misbehaviours of every lt4132.
const VENDORS_LIKE_LT4132: [u16; 2] = [0x03f0, 0x12d1];

impl Knobs {
    /// Returns the knobs of a well-behaved device with these descriptors. A device of another
    /// vendor has none of the misbehaviours that every lt4132 has.
    #[must_use]
    pub fn like(descriptors: &Descriptors) -> Self {
        let mut knobs = Self::default();
        let mbim = functions::mbim(descriptors);
        // Linux drives only MBIM functions of these vendors with the NDP at the end (`cdc_mbim`).
        if mbim.is_empty() || !VENDORS_LIKE_LT4132.contains(&descriptors.vendor()) {
            knobs.silent_after_direct_switch = false;
            knobs.black_hole_ndp_front = false;
        }
        if let Some(function) = mbim.first() {
            knobs.max_control_message = function.max_control_message;
            // A smaller value is wrong, because every IPv6 link carries at least this (RFC 8200,
            // 5).
            if function.max_segment_size >= 1280 {
                knobs.mtu = knobs.mtu.min(function.max_segment_size);
            }
        }
        knobs
    }

    /// Sets one knob of a running modem, from `name=value`, and returns when it takes effect.
    ///
    /// # Errors
    /// Returns the errors of [`Knobs::assign`], and [`KnobError::Fixed`] for a knob that may only
    /// be set at the start.
    pub fn turn(&mut self, assignment: &str) -> Result<(&'static str, Effect), KnobError> {
        self.assign(assignment)?;
        let (name, _) = assignment.split_once('=').unwrap_or((assignment, ""));
        let name = name.trim().replace('-', "_");
        match Self::catalogue().into_iter().find(|knob| knob.name == name) {
            Some(knob) if knob.effect == Effect::Start => Err(KnobError::Fixed(knob.name)),
            Some(knob) => Ok((knob.name, knob.effect)),
            None => Err(KnobError::Unknown(name)),
        }
    }

    /// Returns the firmware's version with its line breaks.
    pub(crate) fn firmware_text(&self) -> String {
        self.firmware_info.replace("\\n", "\n")
    }

    /// Returns the knobs that were changed and have no effect with the others as they are. Each is
    /// a name and a description of what is missing.
    #[must_use]
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let random = self.drop_out_ppm
            | self.drop_in_ppm
            | self.corrupt_in_ppm
            | self.garbage_in_ppm
            | self.short_in_ppm
            | self.empty_in_ppm
            | self.babble_in_ppm
            | self.fault_in_ppm
            | self.fault_out_ppm
            | self.stall_in_ppm
            | self.stall_out_ppm
            | self.reset_ppm
            | self.replug_ppm
            | u32::from(self.garbage_response_every)
            | u32::from(self.garbage);
        let needs = [
            ("connect_cause", self.connect_status != 0, "connect_status"),
            ("fcc_hides_sim", self.fcc_lock, "fcc_lock=on"),
            ("puk", !self.pin.is_empty(), "pin"),
            ("pin_attempts", !self.pin.is_empty(), "pin"),
            ("puk_attempts", !self.pin.is_empty(), "pin"),
            ("ipv4_prefix", self.ipv4_address.is_some(), "ipv4_address"),
            (
                "ntb_in_remainder",
                self.ntb_in_divisor != 0,
                "ntb_in_divisor",
            ),
            ("network_ipv6", self.ipv6, "ipv6=on"),
            ("ipv6_prefix", self.ipv6, "ipv6=on"),
            ("ipv6_link_local", self.ipv6, "ipv6=on"),
            ("neighbour_solicitation", self.ipv6, "ipv6=on"),
            (
                "settle_ms",
                self.silent_after_direct_switch,
                "silent_after_direct_switch=on",
            ),
            ("dhcp_ms", self.dhcp != DhcpManner::Silent, "a DHCP server"),
            ("seed", random != 0, "a knob of chance or garbage"),
        ];
        let turned = self.changed();
        needs
            .into_iter()
            .filter(|(name, met, _)| !met && turned.iter().any(|(changed, _)| changed == name))
            .map(|(name, _, missing)| (name, missing))
            .collect()
    }
}
