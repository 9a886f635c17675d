//! Time stamps of the message centre (3GPP TS 23.040 section 9.2.3.11).

use std::fmt;

/// Local time with its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Year, 1990 to 2089.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
    /// Offset ahead of UTC in quarters of an hour, -79 to 79.
    pub quarters: i8,
}

impl Timestamp {
    /// Reads a time from its seven octets. Returns `None` when they are no time.
    #[must_use]
    pub fn decode(octets: [u8; 7]) -> Option<Self> {
        let two = |octet: u8| {
            let (tens, ones) = (octet & 15, octet >> 4);
            (tens <= 9 && ones <= 9).then_some(tens * 10 + ones)
        };
        let [year, month, day, hour, minute, second, zone] = octets;
        let quarters = two(zone & !0x08)? as i8;
        let year = u16::from(two(year)?);
        let time = Self {
            year: if year < 90 { 2000 + year } else { 1900 + year },
            month: two(month)?,
            day: two(day)?,
            hour: two(hour)?,
            minute: two(minute)?,
            second: two(second)?,
            quarters: if zone & 0x08 != 0 {
                -quarters
            } else {
                quarters
            },
        };
        let good = (1..=12).contains(&time.month)
            && (1..=31).contains(&time.day)
            && time.hour < 24
            && time.minute < 60
            && time.second < 60;
        good.then_some(time)
    }

    /// Encodes the time as seven octets.
    #[must_use]
    pub fn encode(self) -> [u8; 7] {
        let two = |value: u8| (value / 10 % 10) | ((value % 10) << 4);
        let zone = two(self.quarters.unsigned_abs());
        [
            two((self.year % 100) as u8),
            two(self.month),
            two(self.day),
            two(self.hour),
            two(self.minute),
            two(self.second),
            if self.quarters < 0 { zone | 0x08 } else { zone },
        ]
    }
}

/// Writes the time in the form of RFC 3339, such as `2011-02-28T11:50:50-05:00`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = u16::from(self.quarters.unsigned_abs()) * 15;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{:02}:{:02}",
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
            if self.quarters < 0 { '-' } else { '+' },
            minutes / 60,
            minutes % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        let octets = [0x11, 0x20, 0x82, 0x11, 0x05, 0x05, 0x0a];
        let time = Timestamp::decode(octets).unwrap();
        assert_eq!(time.to_string(), "2011-02-28T11:50:50-05:00");
        assert_eq!(time.encode(), octets);
        let octets = [0x99, 0x30, 0x92, 0x51, 0x61, 0x95, 0x80];
        assert_eq!(
            Timestamp::decode(octets).unwrap().to_string(),
            "1999-03-29T15:16:59+02:00"
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for octets in [
            [0xff; 7],
            [0; 7],
            [0x11, 0x31, 0x10, 0, 0, 0, 0],
            [0x11, 0x10, 0x10, 0x42, 0, 0, 0],
        ] {
            assert_eq!(Timestamp::decode(octets), None, "{octets:x?}");
        }
    }
}
