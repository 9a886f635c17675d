//! The contenders that a bench compares: every combination of the values that are given.

use uwwan_modem::Options;

use crate::failure::{Failure, FailureKind};
use crate::settings::Settings;

/// One combination of options of `uwwan up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Name in the figures, made of the options in which the contender differs from the others.
    pub name: String,
    /// Options, without dashes, with their values.
    choices: Vec<(&'static str, String)>,
}

impl Contender {
    /// Returns the options as they stand on the command line of `uwwan up`.
    pub fn arguments(&self) -> Vec<String> {
        let words = |(option, value): &(&str, String)| format!("--{option}={value}");
        self.choices.iter().map(words).collect()
    }

    /// Returns whether no option is chosen.
    pub fn is_plain(&self) -> bool {
        self.choices.is_empty()
    }

    /// Returns whether the data session ends in the built-in stack.
    pub fn is_userspace(&self) -> bool {
        let mut choices = self.choices.iter();
        choices.any(|(option, value)| *option == "net" && value == "userspace")
    }

    /// Refuses a TUN interface of another mode than the one chosen, as a kernel without offload
    /// gives: its figures would stand under the wrong name. `mode` has the form of
    /// [`Interface::mode`](uwwan_modem::status::Interface::mode).
    ///
    /// # Errors
    /// Fails with [`FailureKind::Other`], which names the actual mode.
    pub fn check_mode(&self, mode: &str) -> Result<(), Failure> {
        let mut choices = self.choices.iter();
        let Some((_, chosen)) = choices.find(|(option, _)| *option == "tun-mode") else {
            return Ok(());
        };
        if mode.split(':').next() == Some(chosen) {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Other,
            "the interface is not of the mode to measure",
        )
        .at(format!("--tun-mode {chosen}"))
        .because(format!("it is {mode}"))
        .next("leave --tun-mode out: what there is is measured"))
    }

    /// Returns the options in the form in which the driver takes them.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Usage`], which names the option and what it accepts.
    pub fn options(&self) -> Result<Options, Failure> {
        Settings::from_words(&self.arguments())?.options()
    }
}

/// Returns every combination of the options' values, with the last option changing fastest. An
/// option without values is left to the driver.
pub fn combine(options: &[(&'static str, Vec<String>)]) -> Vec<Contender> {
    let mut all: Vec<Contender> = vec![Contender {
        name: String::new(),
        choices: Vec::new(),
    }];
    for (option, values) in options.iter().filter(|(_, values)| !values.is_empty()) {
        let mut seen: Vec<&String> = Vec::new();
        let mut next = Vec::new();
        for value in values {
            if !seen.contains(&value) {
                seen.push(value);
            }
        }
        for contender in &all {
            for value in &seen {
                let mut further = contender.clone();
                if seen.len() > 1 {
                    let comma = if further.name.is_empty() { "" } else { ", " };
                    further.name.push_str(&format!("{comma}{option} {value}"));
                }
                further.choices.push((option, (*value).clone()));
                next.push(further);
            }
        }
        all = next;
    }
    for contender in &mut all {
        if contender.name.is_empty() {
            contender.name = "uwwan".to_owned();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::options::Placement;

    fn values(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_combination_has_its_name() {
        let all = combine(&[
            ("ndp", values(&["end"])),
            ("ntb", Vec::new()),
            ("block-size", values(&["4096", "16384", "4096"])),
            ("in-flight", values(&["1", "4"])),
        ]);
        let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "block-size 4096, in-flight 1",
                "block-size 4096, in-flight 4",
                "block-size 16384, in-flight 1",
                "block-size 16384, in-flight 4",
            ]
        );
        let options = all[3].options().unwrap();
        assert_eq!(options.ndp, Some(Placement::End));
        assert_eq!(
            (options.block_size, options.in_flight),
            (Some(16384), Some(4))
        );
    }

    #[test]
    fn nothing_to_compare_is_one_contender() {
        let all = combine(&[("ndp", Vec::new())]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].name, "uwwan");
        assert!(all[0].is_plain() && all[0].arguments().is_empty());
    }

    #[test]
    fn another_mode_than_the_chosen_one_is_refused() {
        let all = combine(&[("tun-mode", values(&["offload", "plain"]))]);
        let (offload, plain) = ("offload: TCP, UDP", "plain: no IFF_VNET_HDR");
        for (contender, good, bad) in [(&all[0], offload, plain), (&all[1], plain, offload)] {
            contender.check_mode(good).unwrap();
            let failure = contender.check_mode(bad).expect_err(&contender.name);
            assert_eq!(failure.kind, FailureKind::Other);
            assert!(failure.one_line().contains(bad), "{failure}");
            contender.check_mode("").expect_err(&contender.name);
        }
        all[1].check_mode("plain").unwrap();
        // Where no mode is chosen, every mode is accepted.
        let all = combine(&[]);
        for mode in [offload, plain, ""] {
            all[0].check_mode(mode).unwrap();
        }
    }

    #[test]
    fn what_up_refuses_is_refused() {
        for (option, value) in [("block-size", "7"), ("in-flight", "0"), ("ndp", "middle")] {
            let all = combine(&[(option, values(&[value]))]);
            let failure = all[0].options().expect_err(option);
            assert_eq!(failure.kind, FailureKind::Usage, "{option}");
        }
    }
}
