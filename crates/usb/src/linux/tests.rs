//! Tests of listing and opening with both backends, from a sysfs made by the test. Transfers need
//! the kernel: see `examples/exercise`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::backend::{BackendKind, Machine};
use crate::descriptors::vectors;
use crate::device::{Backend, Speed};
use crate::error::Error;
use crate::linux::sysfs::Sysfs;

/// Returns both backends over the same folders.
fn both(devices: &Path, nodes: &Path) -> [Box<dyn Backend>; 2] {
    [BackendKind::Libusb, BackendKind::Nusb].map(|kind| {
        let sysfs = Sysfs::new(devices.into(), nodes.into());
        Box::new(Machine::with_sysfs(kind, sysfs)) as Box<dyn Backend>
    })
}

/// Returns a machine with one lt4132 at port 1-4 behind root hub 1, in configuration `active`.
fn machine(active: &str) -> (tempfile::TempDir, [Box<dyn Backend>; 2]) {
    let root = tempfile::tempdir().unwrap();
    let devices = root.path().join("devices");
    let nodes = root.path().join("nodes");
    fs::create_dir_all(nodes.join("001")).unwrap();
    for (name, text) in [
        ("1-4/idVendor", "03f0\n"),
        ("1-4/idProduct", "a31d\n"),
        ("1-4/busnum", "1\n"),
        ("1-4/devnum", "7\n"),
        ("1-4/speed", "480\n"),
        ("1-4/manufacturer", "HP\n"),
        ("1-4/product", "HP lt4132 LTE/HSPA+ 4G Module\n"),
        ("1-4/serial", "0123456789ABCDEF\n"),
        ("1-4/bConfigurationValue", active),
        ("usb1/idVendor", "1d6b\n"),
        ("usb1/busnum", "1\n"),
        ("usb1/devnum", "1\n"),
        ("1-5/idVendor", "zzzz\n"),
    ] {
        put(&devices.join(name), text.as_bytes());
    }
    put(&devices.join("1-4/descriptors"), &vectors::sysfs());
    for (interface, driver) in [("1-4:2.0", "cdc_ether"), ("1-4:2.2", "usbfs")] {
        fs::create_dir_all(devices.join(interface)).unwrap();
        symlink(
            format!("../../drivers/{driver}"),
            devices.join(interface).join("driver"),
        )
        .unwrap();
    }
    let backends = both(&devices, &nodes);
    (root, backends)
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_device_is_described_without_being_opened() {
    let (_root, backends) = machine("2\n");
    for backend in backends {
        let found = backend.devices().unwrap();
        assert_eq!(found.len(), 1, "root hubs and broken devices are left out");
        let found = &found[0];
        assert_eq!(found.identity.to_string(), "03f0:a31d at 1-4");
        assert_eq!((found.identity.bus, found.identity.address), (1, 7));
        assert_eq!(found.identity.speed, Speed::High);
        assert_eq!(found.identity.manufacturer.as_deref(), Some("HP"));
        assert_eq!(found.active_configuration, Some(2));
        assert_eq!(
            found.kernel_drivers,
            [(0, "cdc_ether".to_owned()), (2, "usbfs".to_owned())]
        );
        assert_eq!(found.descriptors.configurations.len(), 3);
    }
}

#[test]
fn unconfigured_shows_as_0() {
    let (_root, backends) = machine("\n");
    for backend in backends {
        let found = &backend.devices().unwrap()[0];
        assert_eq!(found.active_configuration, Some(0));
        assert!(found.kernel_drivers.is_empty());
    }
}

#[test]
fn a_machine_without_usb_has_no_devices_and_says_why() {
    let root = tempfile::tempdir().unwrap();
    let (devices, nodes) = (root.path().join("none"), root.path().join("none either"));
    let (_other, [with_device, _]) = machine("2\n");
    let found = &with_device.devices().unwrap()[0];
    for backend in both(&devices, &nodes) {
        assert!(backend.devices().unwrap().is_empty());
        let reason = backend.unavailable().unwrap();
        assert!(reason.contains("no USB host controller"), "{reason}");
        let error = backend.open(found).err().unwrap();
        assert!(
            error.to_string().contains("no USB host controller"),
            "{error}"
        );
    }
}

#[test]
fn what_went_away_since_it_was_listed_is_gone() {
    let (root, backends) = machine("2\n");
    let found = backends[0].devices().unwrap().remove(0);
    // The device has enumerated anew, with another address.
    put(&root.path().join("devices/1-4/devnum"), b"8\n");
    for backend in backends {
        assert!(matches!(backend.open(&found), Err(Error::Gone { .. })));
    }
}

#[test]
fn a_missing_or_impossible_node_is_named() {
    let (root, backends) = machine("2\n");
    let found = backends[0].devices().unwrap().remove(0);
    for backend in &backends {
        let error = backend.open(&found).err().unwrap();
        assert!(error.to_string().contains("001/007"), "{error}");
    }
    // The node is a file that is no device, which must be refused without a crash.
    put(&root.path().join("nodes/001/007"), b"");
    for backend in &backends {
        assert!(backend.open(&found).is_err());
    }
}
