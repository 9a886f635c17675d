//! The parts of a command line: forms, arguments and answers.

use super::answers::{EquipmentError, Final};

/// Form of an extended command (V.250, 5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op<'a> {
    /// `+NAME`.
    Run,
    /// `+NAME?`.
    Read,
    /// `+NAME=?`.
    Test,
    /// `+NAME=…`, with the arguments.
    Set(Vec<&'a str>),
}

/// Information lines, or the final result that ends the command line.
pub(super) type Answer = Result<Vec<String>, Final>;

/// Splits arguments at their commas and removes their quotes.
pub(super) fn arguments(text: &str) -> Vec<&str> {
    let mut list = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                list.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    list.push(&text[start..]);
    list.into_iter()
        .map(|argument| argument.trim().trim_matches('"'))
        .collect()
}

/// Returns success without information.
pub(super) fn ok() -> Answer {
    Ok(Vec::new())
}

/// Returns success with one information line.
pub(super) fn line(text: impl Into<String>) -> Answer {
    Ok(vec![text.into()])
}

/// Reads a number.
///
/// # Errors
/// Returns an error when the argument is missing or no number from 0 to 255.
pub(super) fn number(text: Option<&&str>) -> Result<u8, Final> {
    text.and_then(|text| text.parse().ok())
        .ok_or(Final::Equipment(EquipmentError::WrongParameters))
}

/// Writes bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Reads hexadecimal digits; `None` when there is anything else.
pub(super) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| (*byte as char).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| {
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    })
}
