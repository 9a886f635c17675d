//! The USB devices that are modems or plain network devices, and the obstacles between them and
//! `uwwan up`.

use std::path::{Path, PathBuf};

use uwwan_modem::composition::{is_storage_first, way_to_mbim};
use uwwan_modem::options::Mode;
use uwwan_modem::quirks::{self, Quirk};
use uwwan_modem::{Selector, usual_mode};
use uwwan_usb::device::{Backend, Found};
use uwwan_usb::functions::{
    self, AtLikelihood, DialledFunction, DialledKind, MbimFunction, NcmFunction, NetworkFunction,
};

use crate::failure::{Failure, FailureKind};
use crate::output::plain;

/// A device that is a modem, by its MBIM function or by its row in the quirk table, or a plain
/// network device, by its NCM function.
#[derive(Debug)]
pub struct Candidate {
    /// The device as the backend lists it.
    pub found: Found,
    /// Row of the quirk table that applies to the device.
    pub quirk: &'static Quirk,
    /// MBIM function of the device, if it has one.
    pub function: Option<MbimFunction>,
    /// NCM function of the device, if it has one and no MBIM function.
    pub ethernet: Option<NcmFunction>,
    /// Function of the device that is dialled by AT commands, if it is driven by that.
    pub dialled: Option<DialledFunction>,
}

/// Returns the modems and plain network devices present, in the order of their ports.
///
/// # Errors
/// [`FailureKind::Host`] when the bus cannot be listed.
pub fn all(backend: &dyn Backend) -> Result<Vec<Candidate>, Failure> {
    let devices = backend.devices().map_err(|error| {
        Failure::new(FailureKind::Host, "cannot list the USB devices")
            .because(error)
            .next("is /dev/bus/usb there? containers and chroots often lack it")
    })?;
    let mut candidates: Vec<Candidate> = devices
        .into_iter()
        .filter_map(|found| {
            let function = functions::network(&found.descriptors).into_iter().next();
            let (function, ethernet) = match function {
                Some(NetworkFunction::Mbim(mbim)) => (Some(mbim), None),
                Some(NetworkFunction::Ncm(ncm)) => (None, Some(ncm)),
                None => (None, None),
            };
            let dialled = functions::dialled(&found.descriptors);
            // Many boards have Ethernet beside a serial port; a function counts as a modem's where
            // its port is known as one.
            let is_modem = |one: &DialledFunction| {
                let ports =
                    functions::at_candidates(&found.descriptors, one.function.configuration);
                one.kind == DialledKind::HuaweiNcm
                    || ports.iter().any(|port| port.at == AtLikelihood::Known)
            };
            let is_dialled = dialled.iter().any(is_modem);
            let dialled = dialled
                .into_iter()
                .find(|one| one.kind == DialledKind::HuaweiNcm)
                .filter(|_| function.is_none() && ethernet.is_none());
            let (vendor, product) = (found.identity.vendor, found.identity.product);
            let quirk = match ethernet {
                Some(_) => quirks::find_ethernet(vendor, product),
                None => quirks::find(vendor, product),
            };
            // A row of its own makes a device a modem even where the descriptors cannot be read.
            // The vendors' default rows do not, because a keyboard of the same vendor would match.
            let known = function.is_some() || quirk.product.is_some() || is_dialled;
            let other = !functions::other_networks(&found.descriptors).is_empty()
                || is_storage_first(&found.descriptors);
            let named = ethernet.is_some() || other && way_to_mbim(&found.descriptors).is_some();
            let mut candidate = Candidate {
                found,
                quirk,
                function,
                ethernet,
                dialled,
            };
            if let Some(mode) = usual_mode(&candidate.found.descriptors) {
                candidate.take_mode(mode);
            }
            (known || named).then_some(candidate)
        })
        .collect();
    candidates.sort_by(|a, b| a.found.identity.port.cmp(&b.found.identity.port));
    Ok(candidates)
}

/// Returns the device that `selector` selects, usable or not. [`Selector::Any`] selects modems
/// only, so that no network device of the machine is taken by mistake, and one that is a storage device
/// first only where there is no other.
///
/// # Errors
/// [`FailureKind::Missing`] when there is none, or [`FailureKind::Several`], which names all of
/// them.
pub fn select(backend: &dyn Backend, selector: &Selector) -> Result<Candidate, Failure> {
    let mut matching = all(backend)?;
    let present: Vec<String> = matching.iter().map(Candidate::name).collect();
    matching.retain(|candidate| {
        let meant = *selector != Selector::Any || !candidate.is_ethernet();
        meant && selector.matches(&candidate.found.identity)
    });
    if *selector == Selector::Any && matching.iter().any(|one| !one.is_storage()) {
        matching.retain(|one| !one.is_storage());
    }
    if matching.len() > 1 {
        let names: Vec<String> = matching.iter().map(Candidate::name).collect();
        return Err(Failure::new(
            FailureKind::Several,
            format!("{} modems are present", names.len()),
        )
        .because(names.join("\n"))
        .next(format!(
            "choose one by its port: --device {}",
            matching[0].found.identity.port
        )));
    }
    matching.pop().ok_or_else(|| {
        if present.is_empty() {
            none_present()
        } else {
            let what = match selector {
                Selector::Any => "no modem is present".to_owned(),
                _ => format!("no modem is {selector}"),
            };
            Failure::new(FailureKind::Missing, what)
                .because(format!("present: {}", present.join("; ")))
                .next("uwwan list shows them with their ports")
        }
    })
}

/// Returns the device that `selector` selects, if no obstacle stops `up` in the mode that is
/// chosen. A missing permission to open the device is no obstacle if a monitor opens it.
///
/// # Errors
/// Those of [`select`], and the obstacle that stops `up`.
pub fn usable(
    backend: &dyn Backend,
    selector: &Selector,
    monitored: bool,
    mode: Option<Mode>,
) -> Result<Candidate, Failure> {
    let candidate = select(backend, selector)?;
    let candidate = match mode {
        Some(mode) if !candidate.is_storage() => candidate.choose_mode(mode)?,
        _ => candidate,
    };
    let stops = |obstacle: &Failure| {
        obstacle.fatal && !(monitored && obstacle.kind == FailureKind::Permission)
    };
    match candidate.obstacles().into_iter().find(stops) {
        Some(obstacle) => Err(Failure {
            what: "the modem cannot be used".to_owned(),
            why: vec![obstacle.what],
            ..obstacle
        }
        .at(candidate.name())),
        None => Ok(candidate),
    }
}

/// Returns the mode of `up` that drives a function of this kind.
pub fn mode(kind: DialledKind) -> Mode {
    match kind {
        DialledKind::HuaweiNcm | DialledKind::Ncm => Mode::Ncm,
        DialledKind::Ecm => Mode::Ecm,
    }
}

/// Returns the failure that there is no modem at all.
pub fn none_present() -> Failure {
    Failure::new(FailureKind::Missing, "no modem is present")
        .at("USB")
        .because("no device has an MBIM function, and none is in the table of known modems")
        .next("lsusb tells whether the kernel sees the device at all; if not: power, slot, rfkill, BIOS whitelist")
        .next("uwwan up --wait waits until it is plugged in; uwwan demo needs no modem")
}

impl Candidate {
    /// Chooses a network function by its number, from 1.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the device has fewer.
    pub fn choose(mut self, number: u8) -> Result<Self, Failure> {
        let all = functions::network(&self.found.descriptors);
        let count = all.len();
        match all.into_iter().nth(usize::from(number).wrapping_sub(1)) {
            Some(NetworkFunction::Mbim(mbim)) => {
                self.ethernet = None;
                self.dialled = None;
                self.function = Some(mbim);
            }
            Some(NetworkFunction::Ncm(ncm)) => {
                self.function = None;
                self.dialled = None;
                self.ethernet = Some(ncm);
            }
            None => {
                return Err(
                    Failure::new(FailureKind::Usage, "there is no such function")
                        .at(self.name())
                        .because(format!(
                            "it has {count} network functions, and --function is {number}"
                        ))
                        .next("uwwan list numbers them"),
                );
            }
        }
        Ok(self)
    }

    /// Chooses the mode in which the modem carries packets.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the modem does not have the mode.
    pub fn choose_mode(mut self, mode: Mode) -> Result<Self, Failure> {
        self.take_mode(mode);
        if self.function.is_none() && self.dialled.is_none() {
            let mut failure = Failure::new(
                FailureKind::Usage,
                format!("it cannot carry packets by {mode}"),
            )
            .at(self.name())
            .next("uwwan list shows the modes it has");
            if let Some(fault) = self.found.descriptors.faults.first() {
                failure = failure.because(format!("its descriptors are broken: {}", plain(fault)));
            }
            return Err(failure);
        }
        Ok(self)
    }

    /// Takes the function by which the device carries packets in a mode, or none.
    fn take_mode(&mut self, mode: Mode) {
        let descriptors = &self.found.descriptors;
        let mut dialled = functions::dialled(descriptors).into_iter();
        (self.function, self.dialled) = match mode {
            Mode::Mbim => (functions::mbim(descriptors).into_iter().next(), None),
            Mode::Ncm => (None, dialled.find(|one| one.kind != DialledKind::Ecm)),
            Mode::Ecm => (None, dialled.find(|one| one.kind == DialledKind::Ecm)),
        };
        self.ethernet = None;
        let identity = &self.found.identity;
        self.quirk = quirks::find(identity.vendor, identity.product);
    }

    /// Returns whether the device is a storage device first, and a modem once it is told to switch.
    fn is_storage(&self) -> bool {
        is_storage_first(&self.found.descriptors)
    }

    /// Returns whether `up` would drive the device as a plain network device.
    pub fn is_ethernet(&self) -> bool {
        self.ethernet.is_some()
    }

    /// Returns the `bConfigurationValue` that `up` needs and the name of the function there: MBIM,
    /// NCM, or the kind of a function that is dialled by AT commands.
    pub fn wanted(&self) -> Option<(u8, &'static str)> {
        let mbim = self.function.as_ref().map(|f| (f.configuration, "MBIM"));
        let ncm = self.ethernet.as_ref().map(|f| (f.configuration, "NCM"));
        let dialled = self.dialled.as_ref();
        let dialled = dialled.map(|one| (one.function.configuration, one.kind.name()));
        mbim.or(ncm).or(dialled)
    }

    /// Returns vendor and product id, port and model, for an error or a list.
    pub fn name(&self) -> String {
        plain(&format!("{} ({})", self.found.identity, self.model()))
    }

    /// Returns the model: the quirk table's name, or the device's own strings where only a default
    /// row applies.
    pub fn model(&self) -> String {
        if self.quirk.product.is_some() {
            return self.quirk.name.to_owned();
        }
        let identity = &self.found.identity;
        match (&identity.manufacturer, &identity.product_name) {
            (Some(manufacturer), Some(product)) => plain(&format!("{manufacturer} {product}")),
            (None, Some(product)) => plain(product),
            _ => self.quirk.name.to_owned(),
        }
    }

    /// Returns the path of the device node.
    pub fn node(&self) -> PathBuf {
        let identity = &self.found.identity;
        node(identity.bus, identity.address)
    }

    /// Returns the obstacles that stop `up` and those that it will have to remove, the worst first.
    /// [`Failure::fatal`] tells the two apart.
    pub fn obstacles(&self) -> Vec<Failure> {
        let mut obstacles: Vec<Failure> = self.without_function().into_iter().collect();
        let node = self.node();
        match access(&node) {
            Access::Granted => {}
            Access::Denied => obstacles.push(
                Failure::new(
                    FailureKind::Permission,
                    format!("{}: permission denied", node.display()),
                )
                .next(
                    "install the udev rule (packaging/70-uwwan.rules) and plug the modem in \
                     again, or use sudo",
                ),
            ),
            Access::Missing => obstacles.push(
                Failure::new(
                    FailureKind::Host,
                    format!("{}: there is no such device node", node.display()),
                )
                .next("a container needs /dev/bus/usb passed in"),
            ),
        }
        for holder in holders(&node) {
            obstacles.push(Failure {
                fatal: false,
                ..Failure::new(FailureKind::Busy, format!("{holder} has the device open"))
                    .next("up fails if that process has claimed the MBIM interfaces; stop it first")
            });
        }
        obstacles
    }

    /// Returns the obstacle that the device has neither an MBIM nor an NCM function, if so.
    pub fn without_function(&self) -> Option<Failure> {
        if self.wanted().is_some() {
            return None;
        }
        if self.is_storage() {
            let what = "it shows itself as a storage device, until it is told to switch";
            let failure = Failure::new(FailureKind::Missing, what);
            return Some(match way_to_mbim(&self.found.descriptors) {
                Some(way) => failure.next(format!("{} ({})", way.text, way.source)),
                None => failure,
            });
        }
        let mut what = "it has no MBIM function in any configuration".to_owned();
        if let Some(fault) = self.found.descriptors.faults.first() {
            what.push_str(&format!("; its descriptors are broken: {}", plain(fault)));
        }
        let failure = functions::other_networks(&self.found.descriptors)
            .iter()
            .fold(Failure::new(FailureKind::Other, what), |failure, other| {
                failure.because(format!(
                    "interface {} of configuration {} is {}, which uwwan does not drive",
                    other.interface, other.configuration, other.name
                ))
            });
        Some(match way_to_mbim(&self.found.descriptors) {
            Some(way) => failure.next(format!("{} ({})", way.text, way.source)),
            None => failure.next(
                "uwwan usb descriptors shows what it has; some modems must first be told \
                 to offer MBIM, by AT command or usb_modeswitch",
            ),
        })
    }
}

/// Returns the path of a device's node.
pub fn node(bus: u8, address: u8) -> PathBuf {
    PathBuf::from(format!("/dev/bus/usb/{bus:03}/{address:03}"))
}

#[derive(Debug, PartialEq, Eq)]
enum Access {
    Granted,
    Denied,
    Missing,
}

fn access(node: &Path) -> Access {
    use rustix::fs::Access as Want;
    match rustix::fs::access(node, Want::READ_OK | Want::WRITE_OK) {
        Ok(()) => Access::Granted,
        Err(rustix::io::Errno::NOENT) => Access::Missing,
        Err(_) => Access::Denied,
    }
}

/// Returns the processes that have the node open, as far as this user may see them: `name (process
/// id)`.
pub fn holders(node: &Path) -> Vec<String> {
    let own = std::process::id();
    let mut holders = Vec::new();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return holders;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if pid == own {
            continue;
        }
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == node));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            holders.push(plain(&format!("{} (process {pid})", name.trim())));
        }
    }
    holders.sort();
    holders
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn access_tells_missing_from_denied() {
        assert_eq!(access(Path::new("/dev/null")), Access::Granted);
        assert_eq!(access(Path::new("/dev/bus/usb/999/999")), Access::Missing);
    }

    /// A bus with one lt4132 at each of these ports.
    struct Bus(&'static [&'static str]);

    impl Backend for Bus {
        fn name(&self) -> &'static str {
            "test"
        }
        fn devices(&self) -> Result<Vec<Found>, uwwan_usb::error::Error> {
            let emulator = crate::emulated::Wanted::default()
                .start(uwwan_emulator::FarSide::BuiltIn)
                .expect("the emulated modem starts");
            let found = emulator.backend().devices()?.remove(0);
            Ok((self.0.iter())
                .map(|port| {
                    let mut found = found.clone();
                    found.identity.port = (*port).to_owned();
                    found
                })
                .collect())
        }
        fn open(
            &self,
            _: &Found,
        ) -> Result<Arc<dyn uwwan_usb::device::Device>, uwwan_usb::error::Error> {
            unreachable!("selecting opens nothing")
        }
    }

    #[test]
    fn no_device_is_told_with_a_way_out() {
        let failure = select(&Bus(&[]), &Selector::Any).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);
        let text = failure.to_string();
        assert!(
            text.starts_with("no modem is present\n  where: USB\n"),
            "{text}"
        );
        assert!(text.contains("next:  uwwan up --wait"), "{text}");

        let failure = select(&Bus(&["1-4"]), &"12d1:15c1".parse().unwrap()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);
        assert_eq!(
            failure.to_string(),
            "no modem is 12d1:15c1\n\
             \x20 why:   present: 03f0:a31d at 1-4 (HP lt4132 (Huawei ME906s-158))\n\
             \x20 next:  uwwan list shows them with their ports"
        );
    }

    #[test]
    fn two_devices_are_both_named() {
        let bus = Bus(&["2-1", "1-4.2"]);
        let failure = select(&bus, &Selector::Any).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Several);
        assert_eq!(
            failure.to_string(),
            "2 modems are present\n\
             \x20 why:   03f0:a31d at 1-4.2 (HP lt4132 (Huawei ME906s-158))\n\
             \x20        03f0:a31d at 2-1 (HP lt4132 (Huawei ME906s-158))\n\
             \x20 next:  choose one by its port: --device 1-4.2"
        );
        let chosen = select(&bus, &Selector::Port("2-1".into())).unwrap();
        assert_eq!(chosen.found.identity.port, "2-1");
        assert!(select(&bus, &Selector::Id(0x03f0, 0xa31d)).is_err());
    }

    /// A bus with another device at port 3-1 beside the modems of another bus: vendor id, product id and
    /// configuration descriptor.
    struct Beside(Bus, u16, u16, &'static [u8]);

    /// Configuration descriptor as Linux `f_ncm` sends it.
    #[rustfmt::skip]
    const ADAPTER: [u8; 94] = [
        0x09, 0x02, 0x5e, 0x00, 0x02, 0x01, 0x00, 0xc0, 0x01,
        0x08, 0x0b, 0x00, 0x02, 0x02, 0x0d, 0x00, 0x05,
        0x09, 0x04, 0x00, 0x00, 0x01, 0x02, 0x0d, 0x00, 0x00,
        0x05, 0x24, 0x00, 0x10, 0x01, 0x05, 0x24, 0x06, 0x00, 0x01,
        0x0d, 0x24, 0x0f, 0x05, 0x00, 0x00, 0x00, 0x00, 0xea, 0x05, 0x00, 0x00, 0x00,
        0x06, 0x24, 0x1a, 0x00, 0x01, 0x11,
        0x07, 0x05, 0x82, 0x03, 0x10, 0x00, 0x09,
        0x09, 0x04, 0x01, 0x00, 0x00, 0x0a, 0x00, 0x01, 0x00,
        0x09, 0x04, 0x01, 0x01, 0x02, 0x0a, 0x00, 0x01, 0x00,
        0x07, 0x05, 0x81, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x01, 0x02, 0x00, 0x02, 0x00,
    ];

    /// Configuration descriptor of a drive.
    const DRIVE: [u8; 18] = [
        9, 2, 18, 0, 1, 1, 0, 0x80, 250, 9, 4, 0, 0, 0, 8, 6, 0x50, 0,
    ];

    impl Backend for Beside {
        fn name(&self) -> &'static str {
            "test"
        }
        fn devices(&self) -> Result<Vec<Found>, uwwan_usb::error::Error> {
            let mut devices = self.0.devices()?;
            let mut other = match devices.first() {
                Some(modem) => modem.clone(),
                None => Bus(&["1-1"]).devices()?.remove(0),
            };
            let mut device = [
                0x12, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x40, 0, 0, 0, 0, 0x00, 0x30, 0x00, 0x00,
                0x00, 0x01,
            ];
            device[8..10].copy_from_slice(&self.1.to_le_bytes());
            device[10..12].copy_from_slice(&self.2.to_le_bytes());
            other.descriptors = uwwan_usb::descriptors::Descriptors::parse(&device, &[self.3]);
            other.identity.vendor = self.1;
            other.identity.product = self.2;
            other.identity.port = "3-1".to_owned();
            devices.push(other);
            Ok(devices)
        }
        fn open(
            &self,
            found: &Found,
        ) -> Result<Arc<dyn uwwan_usb::device::Device>, uwwan_usb::error::Error> {
            self.0.open(found)
        }
    }

    #[test]
    fn a_network_device_is_taken_only_when_named() {
        let bus = Beside(Bus(&["1-4"]), 0x0bda, 0x8156, &ADAPTER);
        let all = all(&bus).unwrap();
        let kinds: Vec<_> = all.iter().map(|c| (c.is_ethernet(), c.wanted())).collect();
        assert_eq!(
            kinds,
            [(false, Some((3, "MBIM"))), (true, Some((1, "NCM")))]
        );
        let modem = select(&bus, &Selector::Any).unwrap();
        assert_eq!(modem.found.identity.port, "1-4");
        for named in [Selector::Id(0x0bda, 0x8156), Selector::Port("3-1".into())] {
            assert!(select(&bus, &named).unwrap().is_ethernet());
        }
        let alone = Beside(Bus(&[]), 0x0bda, 0x8156, &ADAPTER);
        let failure = select(&alone, &Selector::Any).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);
        let told = failure.to_string();
        assert!(
            told.contains("no modem is present") && told.contains("0bda:8156"),
            "{told}"
        );
    }

    #[test]
    fn a_modem_that_is_a_drive_first_is_told_with_what_to_do() {
        let alone = Beside(Bus(&[]), 0x12d1, 0x1f01, &DRIVE);
        for mode in [None, Some(Mode::Ncm)] {
            // `up --wait` waits where the modem is missing.
            let failure = usable(&alone, &Selector::Any, true, mode).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Missing);
            let told = failure.to_string();
            assert!(told.contains("usb_modeswitch -v 12d1 -p 1f01 -J"), "{told}");
        }
        // Another modem is taken in its place, and drives of others are none.
        let bus = Beside(Bus(&["1-4"]), 0x12d1, 0x1f01, &DRIVE);
        let modem = select(&bus, &Selector::Any).unwrap();
        assert_eq!(modem.found.identity.port, "1-4");
        assert!(
            all(&Beside(Bus(&[]), 0x0781, 0x5567, &DRIVE))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_missing_device_node_stops_up() {
        // The emulated modem's bus 1, device 2 may exist on this machine; bus 255, device 255 does
        // not.
        let mut candidate = select(&Bus(&["1-4"]), &Selector::Any).unwrap();
        candidate.found.identity.bus = 255;
        candidate.found.identity.address = 255;
        let obstacles = candidate.obstacles();
        assert!(obstacles[0].fatal && obstacles[0].what.contains("/dev/bus/usb/255/255"));
        candidate.function = None;
        assert_eq!(candidate.ethernet, None);
        assert!(candidate.obstacles()[0].what.contains("no MBIM function"));
    }

    #[test]
    fn a_holder_is_found_by_its_open_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().canonicalize().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .stdin(std::fs::File::open(&path).unwrap())
            .spawn()
            .unwrap();
        let found = holders(&path);
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&child.id().to_string()), "{found:?}");
    }
}
