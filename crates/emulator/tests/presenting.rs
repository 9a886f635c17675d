//! The emulator presents the descriptors of devices that people own, byte for byte, to every kind
//! of host.

use std::path::PathBuf;

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::Speed;

/// Returns every set of the folder, with its name.
fn sets() -> Vec<(String, Descriptors)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../usb/tests/vectors/descriptors");
    let files = std::fs::read_dir(folder).unwrap();
    let mut sets: Vec<(String, Descriptors)> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, Descriptors::from_sysfs(&std::fs::read(path).unwrap()))
        })
        .collect();
    sets.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(sets.len() >= 50);
    sets
}

fn presenting(descriptors: &Descriptors) -> Emulator {
    let knobs = Knobs::like(descriptors);
    Emulator::presenting(descriptors.clone(), knobs, FarSide::BuiltIn).unwrap()
}

#[test]
fn a_host_reads_what_was_given() {
    for (name, given) in sets() {
        let emulator = presenting(&given);
        let found = emulator.backend().devices().unwrap().remove(0);
        let raw = |descriptors: &Descriptors| -> Vec<Vec<u8>> {
            let all = descriptors.configurations.iter();
            all.map(|configuration| configuration.raw.clone()).collect()
        };
        assert_eq!(found.descriptors.device, given.device, "{name}");
        assert_eq!(raw(&found.descriptors), raw(&given), "{name}");
        assert_eq!(found.identity.vendor, given.vendor(), "{name}");
        assert_eq!(found.identity.product, given.product(), "{name}");
        assert_eq!(emulator.report().total_violations(), 0, "{name}");
    }
}

/// The signalling rate follows from the packets of bulk endpoints, and the configuration is the one
/// that Linux selects by itself.
#[test]
fn speed_and_configuration_follow_from_the_descriptors() {
    let all = sets();
    for (name, speed, configuration) in [
        ("hp_lt4132_03f0_a31d", Speed::High, 2),
        ("lsusb_2cb7_01a2_531a60_1", Speed::Super, 1),
        ("lsusb_0bda_8156_835e1b_1", Speed::Super, 2),
        ("google_f_ncm_ssplus_18d1", Speed::Super, 1),
        ("ericsson_n5321_0bdb_1926_cfg4", Speed::High, 4),
    ] {
        let (_, given) = all.iter().find(|(found, _)| found == name).unwrap();
        let emulator = presenting(given);
        let found = emulator.backend().devices().unwrap().remove(0);
        assert_eq!(found.identity.speed, speed, "{name}");
        assert_eq!(found.active_configuration, Some(configuration), "{name}");
    }
}
