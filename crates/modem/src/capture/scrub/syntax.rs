//! The syntax of AT lines (ITU-T V.250, 5): the places of commands, names and arguments, and the blanking
//! of text.

use std::ops::Range;

use super::rules;

/// Length of the longest line in bytes. A longer one is blanked in pieces.
pub const LONGEST: usize = 8192;

/// Returns the offset of the text that follows AT at the start of a line. Spaces are ignored (V.250,
/// 5.2.2).
pub fn command_start(bytes: &[u8]) -> Option<usize> {
    let solid = |byte: &(usize, &u8)| !matches!(byte.1, b' ' | 0);
    let mut letters = bytes.iter().enumerate().filter(solid);
    let (_, first) = letters.next()?;
    let (at, second) = letters.next()?;
    (first.eq_ignore_ascii_case(&b'a') && second.eq_ignore_ascii_case(&b't')).then_some(at + 1)
}

/// Returns the offset of an AT that has other text in front, which modems skip.
pub fn later_command(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(3)
        .position(|three| three[..2].eq_ignore_ascii_case(b"at") && is_prefix(three[2]))
}

/// Returns whether the name of an extended command may begin with this byte.
pub fn is_prefix(byte: u8) -> bool {
    matches!(byte, b'+' | b'^' | b'$' | b'%' | b'*' | b'#' | b'!' | b'@')
}

/// Returns the name that an answer begins with, in capitals, and the range of its arguments.
pub fn named(bytes: &[u8]) -> Option<(String, Range<usize>)> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&bytes[..colon]).ok()?.trim();
    let well_formed = (1..=24).contains(&name.len())
        && name.bytes().enumerate().all(|(place, byte)| {
            byte.is_ascii_alphanumeric()
                || byte == b' '
                || byte == b'_'
                || place == 0 && byte.is_ascii_punctuation() && byte != b'>' && byte != b'"'
        });
    well_formed.then(|| (name.to_ascii_uppercase(), colon + 1..bytes.len()))
}

/// Returns whether a line is an extended command that is known.
pub fn is_known_command(bytes: &[u8]) -> bool {
    let Some(start) = command_start(bytes) else {
        return false;
    };
    bytes.get(start).is_some_and(u8::is_ascii_punctuation)
        && rules::of(&extended_name(bytes, start).0).is_some()
}

/// Returns the number that a line ends with, behind `=`, `:` or a comma.
pub fn last_number(bytes: &[u8]) -> Option<usize> {
    let start = bytes
        .iter()
        .rposition(|byte| matches!(byte, b'=' | b':' | b','))?;
    let text = std::str::from_utf8(&bytes[start + 1..]).ok()?;
    text.trim().parse().ok().filter(|length| *length < LONGEST)
}

pub fn extended_name(line: &[u8], start: usize) -> (String, usize) {
    let length = line[start + 1..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b' '))
        .count();
    let end = start + 1 + length;
    let name = String::from_utf8_lossy(&line[start..end]);
    (name.replace(' ', "").to_ascii_uppercase(), end)
}

/// Reads a basic command's name (V.250, 5.3.1): a letter, with `&` or `\` in front or, for registers,
/// digits behind.
pub fn basic_name(line: &[u8], start: usize) -> (String, usize) {
    let mut end = start + 1;
    if matches!(line[start], b'&' | b'\\') {
        end = (end + 1).min(line.len());
    } else if line[start].eq_ignore_ascii_case(&b's') {
        end += line[end..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
    }
    let name = String::from_utf8_lossy(&line[start..end]);
    (name.to_ascii_uppercase(), end)
}

pub fn is_basic(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'=' | b'?')
}

/// Returns the offset of the first byte `wanted` outside quotes.
pub fn unquoted(bytes: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    bytes.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == wanted && !quoted
    })
}

/// Returns the offset at which the first argument ends, if another one follows. Brackets have no
/// meaning here: they enclose ranges.
pub fn separator(bytes: &[u8]) -> Option<usize> {
    unquoted(bytes, b',')
}

pub fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    let Range { mut start, mut end } = range;
    while start < end && is_blank(&bytes[start]) {
        start += 1;
    }
    while start < end && is_blank(&bytes[end - 1]) {
        end -= 1;
    }
    start..end
}

pub fn hexadecimal(bytes: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let octet = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    pairs.iter().map(octet).collect()
}

/// Returns the UTF-16 units that hexadecimal digits stand for, if they are text in UCS-2.
pub fn ucs2(bytes: &[u8]) -> Option<Vec<u16>> {
    if bytes.len() < 8 || !bytes.len().is_multiple_of(4) {
        return None;
    }
    let octets = hexadecimal(bytes)?;
    let units: Vec<u16> = octets
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
        .collect();
    let is_text = |unit: &u16| {
        char::from_u32(u32::from(*unit))
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, ' '..='~'))
    };
    // Digits alone are more likely a number than ideographs.
    let latin = units.iter().any(|unit| *unit < 0x600);
    (latin && units.iter().all(is_text)).then_some(units)
}

pub fn blanked(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => b'0',
        b'a'..=b'z' | b'A'..=b'Z' => b'x',
        b' '..=b'~' | b'\t' => byte,
        _ => b'.',
    }
}

/// Blanks text: digits become 0, letters x, and of hexadecimal digits all become 0.
pub fn blank(bytes: &mut [u8]) {
    let hexadecimal = bytes.len() >= 4 && bytes.iter().all(u8::is_ascii_hexdigit);
    for byte in bytes {
        *byte = if hexadecimal { b'0' } else { blanked(*byte) };
    }
}
