//! NMEA 0183 sentences of a receiver without a fix.

use std::time::Duration;

/// Returns the sentences of one second. The receiver's clock starts with the firmware.
pub(super) fn group(since_boot: Duration) -> String {
    let seconds = since_boot.as_secs();
    let time = format!(
        "{:02}{:02}{:02}.0",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    [
        format!("GPGGA,{time},,,,,0,,,,,,,,"),
        "GPGSA,A,1,,,,,,,,,,,,,,,".to_owned(),
        format!("GPRMC,{time},V,,,,,,,,,,N"),
    ]
    .iter()
    .map(|body| {
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        let group = group(Duration::from_secs(3661));
        let lines: Vec<&str> = group.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("$GPGGA,010101.0,"));
        // The sentence is a published one with its checksum: the GSA of a receiver without a fix.
        assert_eq!(lines[1], "$GPGSA,A,1,,,,,,,,,,,,,,,*1E");
    }
}
