//! The functions that fuzz targets (`fuzz/fuzz_targets`) reach of this crate. They are built for
//! the fuzz targets alone.

use std::path::Path;
use std::time::Duration;

use uwwan_emulator::fuzz::Plugged;
use uwwan_emulator::rules::Answer;
use uwwan_emulator::{Knobs, Setup};
use uwwan_ncm::{DropCounters, Limits, Ntb};
use uwwan_usb::functions;

use crate::commands::{lab, ntb};
use crate::settings::Settings;
use crate::{descriptor_file, like, userspace};

/// Parses a configuration file, with its sessions and routes. The files that it names are not read.
pub fn configuration(text: &str) {
    let Ok(mut settings) = Settings::parse(Path::new("modem.toml"), text) else {
        return;
    };
    settings.pin_file = None;
    settings.session_0.password_file = None;
    for session in settings.session.iter_mut().flatten() {
        session.settings.password_file = None;
    }
    let _ = settings.options();
    let _ = settings.userspace();
    let _ = settings.check_kind(true);
}

/// Parses a file of descriptors, and looks for functions in the descriptors.
pub fn descriptors(bytes: &[u8]) {
    for descriptors in descriptor_file::parse(bytes).into_iter().flatten() {
        let _ = functions::mbim(&descriptors);
        let _ = functions::ncm(&descriptors);
        let _ = functions::serial(&descriptors);
    }
}

/// Makes an emulated modem from a capture, and switches it on.
///
/// # Panics
/// When the modem holds more than the capture.
pub fn captured_modem(bytes: &[u8]) {
    let Ok(like) = like::from(bytes, "fuzz") else {
        return;
    };
    let held = |answer: &Answer| match answer {
        Answer::Mbim { info, .. } => info.len(),
        Answer::Bytes(bytes) => bytes.len(),
        Answer::At(text) => text.len(),
        _ => 0,
    };
    let answers = like.rules.iter().filter_map(|rule| rule.answer.as_ref());
    assert!(answers.map(held).sum::<usize>() <= bytes.len());
    let mut knobs = like
        .descriptors
        .as_ref()
        .map(Knobs::like)
        .unwrap_or_default();
    for assignment in &like.knobs {
        let _ = knobs.assign(assignment);
    }
    let setup = Setup {
        knobs,
        descriptors: like.descriptors,
        strings: like.strings,
        rules: like.rules,
    };
    let mut plugged = Plugged::of(setup, false);
    for _ in 0..4 {
        if !plugged.read(Duration::from_millis(100)) {
            return;
        }
    }
}

/// Builds an NTB from a description, and parses the NTB.
pub fn ntb_description(text: &str) {
    let Ok(bytes) = ntb::built(Path::new("ntb.toml"), text) else {
        return;
    };
    if let Ok(ntb) = Ntb::parse(&bytes, &Limits::default()) {
        let _ = ntb.datagrams(&mut DropCounters::default()).count();
    }
}

/// Parses a file of the laboratory's results.
///
/// # Panics
/// When its whole lines are parsed with another result.
pub fn results(bytes: &[u8]) {
    let Ok((plan, entries, whole)) = lab::results(bytes) else {
        return;
    };
    let whole = usize::try_from(whole).unwrap_or(usize::MAX);
    let again = lab::results(bytes.get(..whole).unwrap_or_default());
    let again = again.map(|(plan, entries, whole)| (plan, entries.len(), whole));
    assert_eq!(again.ok(), Some((plan, entries.len(), whole as u64)));
}

/// Parses the bytes that clients of the proxies of `up --net userspace` send.
pub fn proxy_clients(bytes: &[u8]) {
    userspace::read_client(bytes);
}
