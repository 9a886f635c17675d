//! AT command dialogue (ITU-T V.250, 3GPP TS 27.005 and 27.007, Huawei's own commands), without
//! I/O: bytes and time go in, bytes and events come out.
//!
//! - [`dialogue`]: the host's side. Sends one command after another, finds its answer among echo,
//!   unsolicited lines and NMEA, and never waits for ever.
//! - [`commands`]: what known answers mean.
//! - [`failure`]: what refusals mean; [`codes`]: the numbers that modems give as reasons.
//! - [`values`]: parameters as they stand in answers.
//! - [`mod@line`]: command lines, split into their commands.
//!
//! Lines, answers and queues are bounded in length. Nothing here logs.
#![forbid(unsafe_code)]

pub mod codes;
pub mod commands;
pub mod dialogue;
pub mod failure;
pub mod line;
mod nmea;
mod timeouts;
pub mod values;
