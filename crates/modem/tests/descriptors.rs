//! The modems and network devices that people own, one after the other: the emulator presents their
//! descriptors, and the driver brings each online, moves a datagram each way and sends a command to
//! its AT port.
//!
//! Every set in the folder is tried, even one that the index beside them does not mention. The
//! functions of a set are recognised as Linux recognises them (`uwwan_usb::functions`).

mod memory_host;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use memory_host::{MemoryHost, SHORT};
use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::at_port::open::Choice;
use uwwan_modem::client::AtClient;
use uwwan_modem::{Modem, Options, Selector};
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

/// Time for any step, long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The descriptors of one device.
struct Set {
    name: String,
    descriptors: Descriptors,
}

impl Set {
    /// Switches on a modem that presents the set.
    fn emulator(&self) -> Emulator {
        let knobs = Knobs {
            settle_ms: 0,
            ..Knobs::like(&self.descriptors)
        };
        Emulator::presenting(self.descriptors.clone(), knobs, FarSide::BuiltIn).unwrap()
    }

    fn selector(&self) -> Selector {
        Selector::Id(self.descriptors.vendor(), self.descriptors.product())
    }

    /// Brings the device up and moves a datagram each way.
    ///
    /// # Errors
    /// The step that failed, in words.
    fn carries_packets(&self) -> Result<(), String> {
        self.carries_by(None).map(drop)
    }

    /// Does as [`Set::carries_packets`] with the function of this number, and returns
    /// `bConfigurationValue` of the configuration that was selected.
    fn carries_by(&self, function: Option<u8>) -> Result<u8, String> {
        let emulator = self.emulator();
        let (provider, mut host) = MemoryHost::new();
        let options = Options {
            settle: Some(Duration::from_millis(10)),
            function,
            ..Options::default()
        };
        let handle = Modem::start(
            emulator.backend(),
            self.selector(),
            options,
            Box::new(provider),
            Box::new(|_| {}),
        )
        .map_err(|failure| failure.to_string())?;
        let online = handle.wait_online(PATIENCE);
        let outcome = match online {
            Err(failure) => Err(match failure {
                Some(failure) => failure.to_string(),
                None => format!("not online: {:#?}", handle.status()),
            }),
            Ok(()) => host.echo(SHORT, Instant::now() + PATIENCE),
        };
        let selected = handle.status().configuration;
        handle.stop();
        let ended = handle.wait().map_err(|failure| failure.to_string());
        outcome.and(ended)?;
        let report = emulator.report();
        match report.total_violations() {
            0 => Ok(selected.map_or(0, |change| change.after)),
            _ => Err(format!("the driver broke rules: {:?}", report.violations)),
        }
    }

    /// Sends a command to the AT port.
    ///
    /// # Errors
    /// The step that failed, in words.
    fn answers_at(&self) -> Result<(), String> {
        let emulator = self.emulator();
        let backend = emulator.backend();
        let found = backend.devices().unwrap().remove(0);
        let choice = Choice {
            patience: PATIENCE,
            ..Choice::default()
        };
        let mut client =
            AtClient::direct(backend, found, &choice).map_err(|failure| failure.to_string())?;
        let answer = client.ask("AT+CGSN", None, None);
        let answer = answer.map_err(|failure| failure.to_string())?;
        match answer.lines.first().map(String::as_str) {
            Some("001000000000016") => Ok(()),
            other => Err(format!("AT+CGSN: {other:?}")),
        }
    }
}

/// Returns every set of the folder, in the order of their names.
fn sets() -> Vec<Set> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../usb/tests/vectors/descriptors");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
        .collect();
    files.sort();
    assert!(files.len() >= 50);
    let read = |path: PathBuf| Set {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        descriptors: Descriptors::from_sysfs(&std::fs::read(&path).unwrap()),
    };
    files.into_iter().map(read).collect()
}

/// Tries the sets for which `fits` returns `true`, and fails with the errors of all that failed.
/// Returns the number of sets tried.
fn try_all(fits: impl Fn(&Set) -> bool, attempt: impl Fn(&Set) -> Result<(), String>) -> usize {
    let sets: Vec<Set> = sets().into_iter().filter(fits).collect();
    let wrong: Vec<String> = sets
        .iter()
        .filter_map(|set| {
            let outcome = attempt(set);
            eprintln!("{}: {outcome:?}", set.name);
            outcome.err().map(|why| format!("{}: {why}", set.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    sets.len()
}

fn is_mbim(set: &Set) -> bool {
    !functions::mbim(&set.descriptors).is_empty()
}

fn is_ethernet(set: &Set) -> bool {
    !is_mbim(set) && !functions::ncm(&set.descriptors).is_empty()
}

fn has_at(set: &Set) -> bool {
    let all = functions::serial(&set.descriptors);
    all.iter().any(|f| f.at != functions::AtLikelihood::Never)
}

#[test]
fn every_mbim_modem_comes_online_and_carries_packets() {
    assert!(try_all(is_mbim, Set::carries_packets) > 30);
}

#[test]
fn every_ncm_device_comes_up_and_carries_frames() {
    assert!(try_all(is_ethernet, Set::carries_packets) > 7);
}

#[test]
fn at_is_answered_wherever_there_is_an_at_port() {
    assert!(try_all(has_at, Set::answers_at) > 20);
}

/// The modem has the same MBIM function in two configurations: the one that is selected is driven,
/// and there is no third.
#[test]
fn the_function_that_is_asked_for_is_driven() {
    const DEVICE: usize = 18;
    let one: &[u8] =
        include_bytes!("../../usb/tests/vectors/descriptors/lsusb_1bc7_1081_908638_1.bin");
    let (device, configuration) = one.split_at(DEVICE);
    let mut both = [device, configuration, configuration].concat();
    // The bytes are bNumConfigurations, and bConfigurationValue of each configuration (USB 2.0,
    // tables 9-8 and 9-10).
    both[17] = 2;
    both[DEVICE + 5] = 1;
    both[DEVICE + configuration.len() + 5] = 2;
    let set = Set {
        name: "two functions".into(),
        descriptors: Descriptors::from_sysfs(&both),
    };
    assert_eq!(functions::mbim(&set.descriptors).len(), 2);
    assert_eq!(set.carries_by(None), Ok(1));
    assert_eq!(set.carries_by(Some(1)), Ok(1));
    assert_eq!(set.carries_by(Some(2)), Ok(2));
    let missing = set.carries_by(Some(3)).unwrap_err();
    assert!(missing.contains("function number 3"), "{missing}");
}
