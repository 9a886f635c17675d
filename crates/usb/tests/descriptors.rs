//! The functions of devices that people own, and of variants derived from them, are found as Linux
//! finds them. `vectors/descriptors/index.json` says where each set of descriptors is from and what
//! is expected of it.

use std::path::Path;

use serde::Deserialize;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

#[derive(Deserialize)]
struct Set {
    file: String,
    device: String,
    expect: Expected,
}

#[derive(Deserialize)]
struct Expected {
    /// Kind of the function: `mbim`, `ncm` or `none`.
    kind: String,
    configuration: Option<u8>,
    control: Option<u8>,
    data: Option<u8>,
    data_alternate: Option<u8>,
    /// Interfaces of that configuration that may answer to AT commands, the likeliest first.
    at: Option<Vec<u8>>,
}

/// A function as the index describes it.
#[derive(Debug, PartialEq)]
struct Found {
    kind: &'static str,
    configuration: u8,
    control: u8,
    data: u8,
    data_alternate: u8,
}

/// Returns the function that is driven: the first MBIM function, or else the first NCM function.
fn taken(descriptors: &Descriptors) -> Option<Found> {
    let mbim = functions::mbim(descriptors).into_iter().map(|f| Found {
        kind: "mbim",
        configuration: f.configuration,
        control: f.control_interface,
        data: f.data_interface,
        data_alternate: f.data_alternate,
    });
    let ncm = functions::ncm(descriptors).into_iter().map(|f| Found {
        kind: "ncm",
        configuration: f.configuration,
        control: f.control_interface,
        data: f.data_interface,
        data_alternate: f.data_alternate,
    });
    mbim.chain(ncm).next()
}

#[test]
fn every_set_has_the_function_that_linux_finds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/descriptors");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let sets: Vec<Set> = serde_json::from_slice(&index).unwrap();
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, sets.len() + 1, "every file is in the index");
    let mut wrong = Vec::new();
    for set in &sets {
        let descriptors = Descriptors::from_sysfs(&std::fs::read(folder.join(&set.file)).unwrap());
        let (found, expected) = (taken(&descriptors), &set.expect);
        let agrees = match &found {
            None => expected.kind == "none",
            Some(found) => {
                let same = |want: Option<u8>, got| want.is_none_or(|want| want == got);
                expected.kind == found.kind
                    && same(expected.configuration, found.configuration)
                    && same(expected.control, found.control)
                    && same(expected.data, found.data)
                    && same(expected.data_alternate, found.data_alternate)
            }
        };
        if !agrees {
            wrong.push(format!("{} ({}): {found:?}", set.file, set.device));
        }
        let first = descriptors.configurations.first().map(|c| c.value);
        let configuration = found.map(|f| f.configuration).or(first).unwrap_or(1);
        let at: Vec<u8> = functions::at_candidates(&descriptors, configuration)
            .iter()
            .map(|f| f.interface)
            .collect();
        if expected.at.as_ref().is_some_and(|want| *want != at) {
            wrong.push(format!("{} ({}): AT at {at:?}", set.file, set.device));
        }
        if !descriptors.faults.is_empty() && !set.file.starts_with("variant_") {
            wrong.push(format!("{}: {:?}", set.file, descriptors.faults));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_list_of_devices_has_every_set() {
    let list = include_str!("../DEVICES.md");
    let index = include_bytes!("vectors/descriptors/index.json");
    let sets: Vec<Set> = serde_json::from_slice(index).unwrap();
    let listed = |set: &&Set| {
        let name = set.file.trim_end_matches(".bin");
        name.starts_with("variant_") || list.contains(&format!("| `{name}` |"))
    };
    let rest: Vec<&str> = sets
        .iter()
        .filter(|set| !listed(set))
        .map(|set| &*set.file)
        .collect();
    assert!(rest.is_empty(), "{rest:?}");
    let devices = list.lines().filter(|line| line.starts_with("| `")).count();
    assert!(
        list.contains(&format!("**As descriptors: {devices} sets**")),
        "{devices}"
    );
}
