//! Transcripts of a data session's commands and events with modems and networks that behave in
//! different ways.

use uwwan_mbim::services::basic_connect::{ConnectSet, Ipv4Element, Ipv6Element};
use uwwan_mbim::status::{NwError, Status};

use super::*;
use crate::failure::FailureKind;
use crate::options::IpType;
use crate::quirks;

mod addressing;
mod bench;
mod leading;
mod resting;

fn facts(begun: Instant) -> ModemFacts {
    ModemFacts {
        quirk: quirks::find(0x03f0, 0xa31d),
        sizes: Sizes::default(),
        max_sessions: 8,
        ethernet: None,
        plain: false,
        begun,
    }
}

fn connect(session: u32, activation_state: ActivationState, cause: NwError) -> Vec<u8> {
    ConnectInfo {
        session_id: session,
        activation_state,
        nw_error: cause,
        ..ConnectInfo::default()
    }
    .encode()
}
