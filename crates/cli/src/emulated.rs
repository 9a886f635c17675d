//! The emulated modem of this process: its options, and how it is started.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uwwan_emulator::rules::MOST_RULES;
use uwwan_emulator::rules::file::{Content, LONGEST, parse};
use uwwan_emulator::{Controls, Emulator, FarSide, KnobError, Knobs, Setup};
use uwwan_modem::{Selector, usual_mode};
use uwwan_usb::device::{Backend, Device, Found};
use uwwan_usb::functions;
use uwwan_usb::observed::Observer;

use crate::descriptor_file;
use crate::failure::{Failure, FailureKind};
use crate::like::{self, Like};
use crate::output::{note, plain};

/// Options about the emulated modem.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EmulatedModem {
    /// What the emulated modem's firmware does, as name=value; may be repeated; `uwwan emulate
    /// knobs` lists them
    #[arg(long = "knob", value_name = "NAME=VALUE")]
    knobs: Vec<String>,
    /// The emulated modem presents the descriptors in this file in place of an HP lt4132's: a copy
    /// of /sys/bus/usb/devices/PORT/descriptors, hexadecimal text, or the output of lsusb -v
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// The emulated modem is the modem in this capture: its descriptors, strings, NTB parameters and
    /// layout, its answers to MBIM commands, class requests and AT lines, its indications and
    /// addresses. What the capture does not hold is told
    #[arg(long, value_name = "CAPTURE")]
    like: Option<PathBuf>,
    /// Knobs and rules of the emulated modem in a TOML file: what it answers to an AT line, an MBIM
    /// command or a class request, and what it does after so many NTBs, at a time, in a state. Knobs on
    /// the command line count before those in the file
    #[arg(long, value_name = "FILE.toml")]
    rules: Option<PathBuf>,
}

/// The emulated modem that is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The parts that it is made of.
    setup: Setup,
}

/// An emulated modem that runs in this process.
pub struct Started {
    /// The backend on which the modem is found. It keeps the modem running.
    pub backend: Arc<dyn Backend>,
    /// Orders to the modem while it runs.
    pub controls: Controls,
}

impl EmulatedModem {
    /// Returns whether no option was given.
    pub fn is_empty(&self) -> bool {
        let Self {
            knobs,
            descriptors,
            like,
            rules,
        } = self;
        knobs.is_empty() && descriptors.is_none() && like.is_none() && rules.is_none()
    }

    /// Refuses the options where a real modem is chosen.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names the option.
    pub fn refuse(&self) -> Result<(), Failure> {
        let (option, why) = match self {
            Self { knobs, .. } if !knobs.is_empty() => ("--knob", "real firmware has no knobs"),
            Self {
                descriptors: Some(_),
                ..
            } => ("--descriptors", "a real modem has its own"),
            Self { like: Some(_), .. } => ("--like", "a real modem is like itself"),
            Self { rules: Some(_), .. } => ("--rules", "real firmware has its own"),
            _ => return Ok(()),
        };
        Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at(option)
            .because(why)
            .next("add --device emulator"))
    }

    /// Reads the options.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names the knob and what it accepts, or what is wrong with the
    /// file.
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        let mut like = match &self.like {
            None => Like::default(),
            Some(file) => like::read(file)?,
        };
        let descriptors = match &self.descriptors {
            None => like.descriptors.take(),
            Some(file) => {
                let mut all = descriptor_file::read(file)?;
                if all.len() != 1 {
                    return Err(
                        Failure::new(FailureKind::Usage, "cannot present the descriptors")
                            .at(file.display().to_string())
                            .because(format!("they are of {} devices", all.len()))
                            .next("lsusb -v -d VENDOR:PRODUCT > FILE makes a file of one"),
                    );
                }
                all.pop()
            }
        };
        let mut knobs = descriptors.as_ref().map(Knobs::like).unwrap_or_default();
        for assignment in &like.knobs {
            if let Err(error) = knobs.assign(assignment) {
                like.notes.push(format!("the capture's {error}"));
            }
        }
        for text in &like.notes {
            note(plain(text));
        }
        let mut rules = Vec::new();
        if let Some(file) = &self.rules {
            let read = rule_file(file)?;
            for assignment in &read.knobs {
                // The assignments were checked where the file was read.
                let _ = knobs.assign(assignment);
            }
            rules = read.rules;
        }
        // Rules of the rule file come before those of the capture.
        rules.extend(like.rules);
        if rules.len() > MOST_RULES {
            note(format!(
                "{} answers of the capture are too many and left out",
                rules.len() - MOST_RULES
            ));
            rules.truncate(MOST_RULES);
        }
        let setup = Setup {
            knobs: turn(knobs, &self.knobs)?,
            descriptors,
            strings: like.strings,
            rules,
        };
        Ok(Wanted { setup })
    }
}

/// Reads a file of knobs and rules.
fn rule_file(file: &Path) -> Result<Content, Failure> {
    let name = file.display().to_string();
    let wrong = |place: String| {
        Failure::new(FailureKind::Usage, "cannot use a file of knobs and rules").at(place)
    };
    let mut text = Vec::new();
    File::open(file)
        .and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut text))
        .map_err(|error| wrong(name.clone()).because(error))?;
    let text = String::from_utf8(text).map_err(|error| wrong(name.clone()).because(error))?;
    parse(&text).map_err(|error| {
        wrong(format!("{name}:{}:{}", error.line, error.column))
            .because(plain(&error.what))
            .next(
                "the README of crates/emulator shows the form; uwwan emulate knobs lists the knobs",
            )
    })
}

/// Returns knobs with some of them turned. An assignment has the form `name=value`.
///
/// # Errors
/// [`FailureKind::Usage`], which names the knob and what it accepts.
pub fn turn(mut knobs: Knobs, assignments: &[String]) -> Result<Knobs, Failure> {
    for assignment in assignments {
        knobs.assign(assignment).map_err(|error| {
            Failure::new(FailureKind::Usage, "a knob makes no sense")
                .at(format!("--knob {}", plain(assignment)))
                .because(error)
                .next("uwwan emulate knobs lists them with their defaults")
        })?;
    }
    for (name, missing) in knobs.without_effect() {
        note(format!("knob {name} has no effect without {missing}"));
    }
    Ok(knobs)
}

impl Wanted {
    /// Starts the emulated modem with that network behind it.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when a thread or a file descriptor cannot be made.
    pub fn start(&self, far_side: FarSide) -> Result<Emulator, Failure> {
        Emulator::start(self.setup.clone(), far_side).map_err(|error| {
            Failure::new(FailureKind::Host, "cannot switch the emulated modem on").because(error)
        })
    }

    /// Starts the emulated modem in this process with the built-in network behind it.
    ///
    /// # Errors
    /// Those of [`Wanted::start`].
    pub fn start_in_process(&self) -> Result<Started, Failure> {
        let emulator = self.start(FarSide::BuiltIn)?;
        Ok(Started {
            controls: emulator.controls(),
            backend: Arc::new(Kept {
                backend: emulator.backend(),
                _emulator: emulator,
            }),
        })
    }

    /// Returns the name of the modem that is emulated.
    pub fn name(&self) -> String {
        match &self.setup.descriptors {
            None => "HP lt4132".to_owned(),
            Some(own) => format!(
                "modem with the descriptors of {:04x}:{:04x}",
                own.vendor(),
                own.product()
            ),
        }
    }

    /// Returns whether the modem is a plain network device where no mode is chosen.
    pub fn is_ethernet(&self) -> bool {
        self.setup.descriptors.as_ref().is_some_and(|descriptors| {
            functions::mbim(descriptors).is_empty()
                && !functions::ncm(descriptors).is_empty()
                && usual_mode(descriptors).is_none()
        })
    }

    /// Returns the selector that finds the modem on its backend. A plain network device is taken
    /// only where it is named.
    pub fn selector(&self) -> Selector {
        match &self.setup.descriptors {
            Some(own) if self.is_ethernet() => Selector::Id(own.vendor(), own.product()),
            _ => Selector::Any,
        }
    }
}

/// Turned knobs, and the values of all, as JSON.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Turned {
    /// Knobs that were turned.
    set: Vec<Turn>,
    /// Values of the knobs that differ from their defaults, by name.
    knobs: BTreeMap<&'static str, String>,
}

/// A knob that was turned.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
struct Turn {
    /// Name of the knob.
    name: String,
    /// Value of the knob.
    value: Option<String>,
    /// Time at which the change has its effect.
    effect: uwwan_emulator::Effect,
    /// `effect` in words.
    from: &'static str,
}

/// Turns knobs of a modem that runs, and returns the turned knobs and the values of all as JSON.
///
/// # Errors
/// [`FailureKind::Usage`], which names the knob and what it accepts.
pub fn tell(controls: &Controls, set: &[String]) -> Result<serde_json::Value, Failure> {
    let turned = controls.set(set).map_err(|error| {
        let failure = Failure::new(FailureKind::Usage, "the knobs are not turned").because(&error);
        match error {
            KnobError::Fixed(_) => failure.next("give it with --knob when the modem is started"),
            _ => failure.next("uwwan emulate knobs lists them with what they accept"),
        }
    })?;
    let knobs = controls
        .knobs()
        .ok_or_else(|| Failure::new(FailureKind::Gone, "the emulated modem is switched off"))?;
    let all: BTreeMap<&str, String> = knobs.all().into_iter().collect();
    let turned = turned.into_iter();
    let told = Turned {
        set: turned
            .map(|(name, effect)| Turn {
                name: name.to_string(),
                value: all.get(name).cloned(),
                effect,
                from: effect.words(),
            })
            .collect(),
        knobs: knobs.changed().into_iter().collect(),
    };
    serde_json::to_value(told).map_err(|error| {
        Failure::new(FailureKind::Host, "cannot write the answer as JSON").because(error)
    })
}

/// A backend that keeps the emulated modem behind it running.
struct Kept {
    backend: Arc<dyn Backend>,
    _emulator: Emulator,
}

impl Backend for Kept {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn devices(&self) -> Result<Vec<Found>, uwwan_usb::error::Error> {
        self.backend.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, uwwan_usb::error::Error> {
        self.backend.open(found)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.backend.observe(observer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_are_checked_with_a_way_out() {
        assert_eq!(
            turn(Knobs::default(), &["settle_ms=20".into()])
                .unwrap()
                .settle_ms,
            20
        );
        for wrong in ["settle", "colour=red", "settle_ms=soon"] {
            let failure = turn(Knobs::default(), &[wrong.to_owned()]).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            assert!(failure.to_string().contains("emulate knobs"), "{failure}");
        }
    }

    #[test]
    fn the_emulator_lives_as_long_as_its_backend() {
        let backend = Wanted::default().start_in_process().unwrap().backend;
        let found = backend.devices().unwrap();
        assert_eq!(found.len(), 1);
        assert!(
            backend
                .open(&found[0])
                .unwrap()
                .active_configuration()
                .is_ok()
        );
    }

    #[test]
    fn descriptors_of_a_file_are_presented() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../usb/tests/vectors/descriptors"
        );
        let given = |name: &str| EmulatedModem {
            descriptors: Some(format!("{folder}/{name}").into()),
            ..EmulatedModem::default()
        };
        let wanted = given("lsusb_1199_c081_82da32_1.bin").wanted().unwrap();
        assert_eq!(wanted.selector(), Selector::Any);
        let found = wanted
            .start_in_process()
            .unwrap()
            .backend
            .devices()
            .unwrap();
        assert_eq!(found[0].identity.vendor, 0x1199);
        let wanted = given("huawei_e5331_12d1_1c1f.bin").wanted().unwrap();
        assert_eq!(wanted.selector(), Selector::Id(0x12d1, 0x1c1f));
        for wrong in ["nothing.bin", "index.json"] {
            let failure = given(wrong).wanted().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
        }
        assert!(given("index.json").refuse().is_err());
        assert!(EmulatedModem::default().refuse().is_ok());
    }
}
