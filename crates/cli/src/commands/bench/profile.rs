//! Links like real ones, for the emulated modem.

use uwwan_emulator::Knobs;

/// A link to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Neither bus nor radio bounds the rate, so the driver's cost does.
    Wire,
    /// A high-speed bus alone bounds the rate.
    Bus,
    /// LTE of category 4 behind a high-speed bus.
    Lte,
    /// LTE of category 6, as the lt4132 has it, behind a high-speed bus.
    LteA,
}

impl Profile {
    /// All profiles, each with its word on the command line.
    pub const VALUES: &[(&'static str, Self)] = &[
        ("wire", Self::Wire),
        ("bus", Self::Bus),
        ("lte", Self::Lte),
        ("lte-a", Self::LteA),
    ];

    /// Returns the word on the command line.
    pub fn word(self) -> &'static str {
        let mut values = Self::VALUES.iter();
        values
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }

    /// Returns the knobs of an emulated modem with this link.
    pub fn knobs(self) -> Knobs {
        // USB 2.0, 5.8.4: 13 packets of 512 bytes in a microframe.
        let bus = Knobs {
            bus_mbit: 426,
            ..Knobs::default()
        };
        // 3GPP TS 36.306, 4.1 gives 150 and 50, 300 and 50 Mbit/s. The delays are those of a good
        // cell.
        let lte = Knobs {
            air_down_mbit: 150,
            air_up_mbit: 50,
            air_delay_ms: 15,
            air_jitter_ms: 3,
            ..bus.clone()
        };
        match self {
            Self::Wire => Knobs::default(),
            Self::Bus => bus,
            Self::Lte => lte,
            Self::LteA => Knobs {
                air_down_mbit: 300,
                air_delay_ms: 10,
                ..lte
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_a_link_of_its_own() {
        let knobs: Vec<_> = Profile::VALUES.iter().map(|(_, p)| p.knobs()).collect();
        for (at, one) in knobs.iter().enumerate() {
            assert!(!knobs[..at].contains(one), "{}", Profile::VALUES[at].0);
        }
        assert_eq!(Profile::LteA.word(), "lte-a");
        assert_eq!(knobs[0], Knobs::default());
    }

    /// The contest with the kernel has the links in a script.
    #[test]
    fn the_contest_has_the_same_links() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/bench-kernel");
        let script = std::fs::read_to_string(script).unwrap();
        for (word, profile) in &Profile::VALUES[1..] {
            let start = format!("  [{word}]='");
            let mut lines = script.lines();
            let line = lines.find_map(|line| line.strip_prefix(&start)).unwrap();
            let knobs = line.trim_end_matches('\'').replace(' ', ",");
            assert_eq!(knobs.parse(), Ok(profile.knobs()), "{word}");
        }
    }
}
