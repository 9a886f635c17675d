//! Bytes that a command decodes: from a file, from standard input, or as hexadecimal digits on the
//! command line.

use std::io::{self, Read};

use uwwan_capture::read::is_capture;

use crate::failure::{Failure, FailureKind};
use crate::hex::from_hex;
use crate::story::Story;

/// Size of the longest input that is read, in bytes. The longest NTB of any device is 64 KiB.
const LONGEST: u64 = 16 << 20;

/// The input that a command decodes.
pub enum Input {
    /// A capture, which may be longer than memory.
    Capture(Box<Story<'static>>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Returns the input that `argument` names: a capture where the file, or standard input, begins as one,
/// and bytes otherwise, as [`read`] does.
///
/// # Errors
/// Those of [`read`], and of a capture that cannot be read.
pub fn open(argument: &str) -> Result<Input, Failure> {
    let begins = |input: &mut dyn Read| {
        let mut head = Vec::new();
        let _ = input.take(4).read_to_end(&mut head);
        head
    };
    if argument == "-" {
        let head = begins(&mut std::io::stdin().lock());
        let rest = std::io::Cursor::new(head.clone()).chain(std::io::stdin());
        return if is_capture(&head) {
            Ok(Input::Capture(Box::new(Story::new(
                rest,
                "standard input",
            )?)))
        } else {
            read_from(rest, argument).map(Input::Bytes)
        };
    }
    if let Ok(mut file) = std::fs::File::open(argument) {
        let head = begins(&mut file);
        if is_capture(&head) {
            let whole = std::io::Cursor::new(head).chain(file);
            return Ok(Input::Capture(Box::new(Story::new(whole, argument)?)));
        }
    }
    read(argument).map(Input::Bytes)
}

/// Returns the bytes that `argument` names: `-` is standard input, the name of an existing file is
/// that file, and anything else is hexadecimal digits. The content of a file or of standard input
/// may be hexadecimal text as well.
///
/// # Errors
/// [`FailureKind::Usage`] when `argument` is none of these, and when the input is empty, too long
/// or cannot be read.
pub fn read(argument: &str) -> Result<Vec<u8>, Failure> {
    if argument == "-" {
        return read_from(std::io::stdin().lock(), argument);
    }
    match std::fs::File::open(argument) {
        Ok(file) => read_from(file, argument),
        Err(error) => match from_hex(argument.as_bytes()) {
            Some(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(wrong(argument, &error)),
        },
    }
}

/// Returns the bytes of a file, which may be hexadecimal text; `-` is standard input.
///
/// # Errors
/// Those of [`read`].
pub fn read_file(name: &str) -> Result<Vec<u8>, Failure> {
    if name == "-" {
        return read(name);
    }
    let file = std::fs::File::open(name).map_err(|error| wrong(name, &error))?;
    read_from(file, name)
}

fn read_from(input: impl Read, argument: &str) -> Result<Vec<u8>, Failure> {
    let content = whole(input).map_err(|error| wrong(argument, &error))?;
    if content.is_empty() {
        return Err(wrong(argument, &"it is empty"));
    }
    Ok(from_hex(&content).unwrap_or(content))
}

/// Reads an input to its end.
///
/// # Errors
/// Those of reading, and one for input longer than 16 MiB.
pub fn whole(input: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LONGEST {
        let why = format!("it is longer than {LONGEST} bytes");
        return Err(io::Error::other(why));
    }
    Ok(content)
}

fn wrong(argument: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, "cannot read the input")
        // Digits may be a message with a PIN further behind, so only the first of them are
        // repeated.
        .at(argument.chars().take(80).collect::<String>())
        .because(why)
        .next("give a file, - for standard input, or hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_input_ends() {
        assert!(
            read("/dev/zero")
                .unwrap_err()
                .to_string()
                .contains("longer")
        );
        assert!(read("/dev/null").unwrap_err().to_string().contains("empty"));
        assert!(read("no such file").is_err());
        assert_eq!(read("4e 43 4d 48").unwrap(), b"NCMH");
    }
}
