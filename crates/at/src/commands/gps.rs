//! Commands that start and stop GPS. The modem answers with NMEA sentences on the same port
//! ([`crate::dialogue::Event::Nmea`]).

use crate::dialogue::{Command, InvalidCommand};

/// Returns the commands that start GPS, in order: standalone mode, tracking, a fix every `seconds`
/// for an unlimited time, and the start itself. `AT^WPDST` fails harmlessly when GPS runs already.
///
/// # Errors
/// None occur: every `seconds` makes a valid command line.
pub fn start(seconds: u16) -> Result<[Command; 4], InvalidCommand> {
    Ok([
        Command::new("AT^WPDOM=0")?,
        Command::new("AT^WPDST=1")?,
        Command::new(format!("AT^WPDFR=65535,{}", seconds.max(1)))?,
        Command::new("AT^WPDGP")?,
    ])
}

/// Returns the command that stops GPS.
///
/// # Errors
/// None occur: the command line is valid.
pub fn stop() -> Result<Command, InvalidCommand> {
    Command::new("AT^WPEND")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands are those with which ModemManager starts GPS on Huawei modems.
    #[test]
    fn the_usual_sequence() {
        let lines: Vec<_> = start(30)
            .unwrap()
            .iter()
            .map(|command| command.line().to_owned())
            .collect();
        assert_eq!(
            lines,
            ["AT^WPDOM=0", "AT^WPDST=1", "AT^WPDFR=65535,30", "AT^WPDGP"]
        );
        assert_eq!(stop().unwrap().line(), "AT^WPEND");
    }
}
