//! Purposes of the modem's ports, and commands for its unsolicited result codes and its restart.

use super::{AnswerError, MOST_ITEMS, Query, first};
use crate::dialogue::{Command, InvalidCommand};

/// Answer to `AT^SETPORT?`: the functions of the mode before and of the mode after a mode switch,
/// as Huawei's codes: 12 the PC UI port, 10 the modem port, 13 diagnostics, 14 GPS, 16 NCM, A1
/// CD-ROM, A2 SD card.
///
/// A setting without 12 leaves the modem without a port on which the setting could be changed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSetting {
    /// Functions before a mode switch, as codes.
    pub first: Vec<String>,
    /// Functions after the mode switch, as codes.
    pub second: Vec<String>,
}

impl Query for PortSetting {
    const COMMAND: &'static str = "AT^SETPORT?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let text = lines
            .iter()
            .find_map(|line| crate::values::after(line, "^SETPORT"))
            .ok_or(AnswerError::Missing("^SETPORT"))?;
        let codes = |text: &str| {
            text.split(',')
                .map(|code| code.trim().to_owned())
                .filter(|code| !code.is_empty())
                .take(MOST_ITEMS)
                .collect()
        };
        let (before, after) = text
            .trim_matches('"')
            .split_once(';')
            .ok_or(AnswerError::Unreadable("^SETPORT"))?;
        Ok(Self {
            first: codes(before),
            second: codes(after),
        })
    }
}

/// Answer to `AT^GETPORTMODE`: the ports' names with their numbers, as far as the modem tells. The
/// command must not be sent to an MU609, whose firmware crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortModes(pub Vec<(String, u8)>);

impl Query for PortModes {
    const COMMAND: &'static str = "AT^GETPORTMODE";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let modes = first(lines, "^GETPORTMODE")?
            .take(MOST_ITEMS)
            .filter_map(|value| {
                let (name, number) = value.raw().rsplit_once(':')?;
                Some((name.trim().to_owned(), number.trim().parse().ok()?))
            })
            .collect();
        Ok(Self(modes))
    }
}

/// Returns the command that switches Huawei's unsolicited result codes on or off (`AT^CURC`).
///
/// # Errors
/// None occur: the command line is valid.
pub fn unsolicited(on: bool) -> Result<Command, InvalidCommand> {
    Command::new(if on { "AT^CURC=1" } else { "AT^CURC=0" })
}

/// Returns the command that restarts the modem. The modem answers `OK`, leaves the bus, and is back
/// some 20 s later in its default configuration.
///
/// # Errors
/// None occur: the command line is valid.
pub fn restart() -> Result<Command, InvalidCommand> {
    Command::new("AT^RESET")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    #[test]
    fn port_setting() {
        let setting: PortSetting = parse("^SETPORT:A1,A2;12,10,16,A1,A2\nOK");
        assert_eq!(setting.first, ["A1", "A2"]);
        assert_eq!(setting.second, ["12", "10", "16", "A1", "A2"]);
        refuses::<PortSetting>("^SETPORT: A1");
    }

    #[test]
    fn port_modes() {
        let modes: PortModes = parse(
            "^GETPORTMODE: TYPE: WCDMA: huawei,,pcui:0,3g_modem:1,ncm:2,mass:3,mass_two:4\nOK",
        );
        assert_eq!(modes.0.len(), 5);
        assert_eq!(modes.0[0], ("pcui".to_owned(), 0));
        assert_eq!(modes.0[1], ("3g_modem".to_owned(), 1));
    }

    #[test]
    fn plain_commands() {
        assert_eq!(unsolicited(false).unwrap().line(), "AT^CURC=0");
        assert_eq!(unsolicited(true).unwrap().line(), "AT^CURC=1");
        assert_eq!(restart().unwrap().line(), "AT^RESET");
    }
}
