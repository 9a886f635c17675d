//! Universally unique identifiers as MBIM carries them: sixteen bytes in textual (network) order
//! (MBIM 1.0 section 9, "UUIDs are transferred in network byte order").

use std::fmt;
use std::str::FromStr;

/// UUID in the byte order of its textual form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Parses the hyphenated text form at compile time.
    ///
    /// # Panics
    /// Panics when the text is not a UUID. In a constant, for which this is meant, the panic is a
    /// compile error.
    #[must_use]
    pub const fn literal(text: &str) -> Self {
        match Self::parse_const(text.as_bytes()) {
            Some(uuid) => uuid,
            None => panic!("not a UUID"),
        }
    }

    const fn parse_const(text: &[u8]) -> Option<Self> {
        let mut bytes = [0u8; 16];
        let mut digits = 0;
        let mut at = 0;
        while at < text.len() {
            let digit = match text[at] {
                c @ b'0'..=b'9' => c - b'0',
                c @ b'a'..=b'f' => c - b'a' + 10,
                c @ b'A'..=b'F' => c - b'A' + 10,
                b'-' => {
                    at += 1;
                    continue;
                }
                _ => return None,
            };
            if digits == 32 {
                return None;
            }
            bytes[digits / 2] = (bytes[digits / 2] << 4) | digit;
            digits += 1;
            at += 1;
        }
        if digits == 32 {
            Some(Self(bytes))
        } else {
            None
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Error for a text that is not 32 hexadecimal digits, between which hyphens are allowed anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a UUID: expected 32 hexadecimal digits, such as a289cc33-bcbb-8b4f-b6b0-133ec2aae6df"
)]
pub struct ParseUuidError(String);

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse_const(text.as_bytes()).ok_or_else(|| ParseUuidError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let text = "a289cc33-bcbb-8b4f-b6b0-133ec2aae6df";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.0[..4], [0xa2, 0x89, 0xcc, 0x33]);
        assert_eq!(uuid.to_string(), text);
        assert_eq!(Uuid::literal(text), uuid);
        assert_eq!(text.replace('-', "").parse::<Uuid>().unwrap(), uuid);
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in [
            "",
            "a289",
            "a289cc33-bcbb-8b4f-b6b0-133ec2aae6dfff",
            "zz89cc33-bcbb-8b4f-b6b0-133ec2aae6df",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
