//! Codes and passwords, read from files so that they never show in a process list.
//!
//! They stand in buffers that are overwritten when they are dropped. Other memory that has held a
//! piece of one on its way, from the message's encoder to the transfer, is overwritten by the
//! program's allocator when it is freed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uwwan_modem::options::Secret;
use uwwan_modem::state_file::regular;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::locked::Locked;

/// Length of the longest secret, in bytes (MBIM limits a PIN to 16 characters, a password to 255).
pub const LONGEST: usize = 255;

/// Function that reads a secret from a file that was opened, or not, at a path.
type Reading = fn(io::Result<File>, &Path) -> Result<Zeroizing<String>, Failure>;

/// Returns the secret in a file. The file is read here, so that a mistake is reported at once, and
/// again each time the secret is needed; in between the secret is not in memory. A secret from a file
/// that cannot be read again, such as a pipe, stays in locked memory, once: the SIM asks for its PIN at
/// each replug. Of two processes the monitor keeps it.
///
/// # Errors
/// Those of `read`.
pub fn from_file(path: &Path, read: Reading) -> Result<Secret, Failure> {
    let text = read(File::open(path), path)?;
    if let Some(path) = readable_again(path) {
        return Ok(Secret::asked_for(move || {
            // What has taken its place meanwhile is not waited for.
            let file = regular(&path).map_err(|error| {
                Failure::new(FailureKind::Host, "a secret can no longer be read")
                    .at(path.display().to_string())
                    .because(error)
            })?;
            read(Ok(file), &path)
        }));
    }
    let kept = Locked::new(text);
    Ok(Secret::asked_for(move || Ok(kept.text())))
}

/// Returns the path under which a file can be read once more. The name of a descriptor of this
/// process, such as `/dev/stdin`, becomes that of the file behind it.
pub fn readable_again(path: &Path) -> Option<PathBuf> {
    if !path.metadata().is_ok_and(|about| about.is_file()) {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return path.canonicalize().ok().filter(|path| path.is_file());
    }
    Some(path)
}

/// Returns the SIM's PIN from a file: 4 to 8 digits, alone on the first line.
///
/// # Errors
/// [`FailureKind::Usage`] when the file cannot be read or does not hold a PIN. Its content is never
/// repeated.
pub fn pin(file: io::Result<File>, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read(file, path, "PIN", "--pin-file")?;
    if !(4..=8).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::new(FailureKind::Usage, "the PIN file does not hold a PIN")
            .at(format!("{} (--pin-file)", path.display()))
            .because(format!(
                "a PIN is 4 to 8 digits alone on the first line; found {} characters{}",
                text.chars().count(),
                if text.bytes().all(|b| b.is_ascii_digit()) {
                    ""
                } else {
                    ", not all digits"
                }
            ))
            .next("nothing was sent to the SIM, no attempt was used up; correct the file and run again"));
    }
    Ok(text)
}

/// Returns a code of digits from the file that `option` names: a PIN, a PUK, an unlock code. The
/// code stands alone on the first line.
///
/// # Errors
/// [`FailureKind::Usage`] when the file cannot be read or does not hold a code. Its content is
/// never repeated.
pub fn code(
    path: &Path,
    subject: &str,
    option: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<Zeroizing<String>, Failure> {
    let text = read(File::open(path), path, subject, option)?;
    check_code(&text, subject, lengths)
        .map_err(|failure| failure.at(format!("{} ({option})", path.display())))?;
    Ok(text)
}

/// Checks that a code consists of digits only, of a number that `lengths` contains.
///
/// # Errors
/// [`FailureKind::Usage`] when it does not. The code is never repeated.
pub fn check_code(
    text: &str,
    subject: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<(), Failure> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    if digits && lengths.contains(&text.len()) {
        return Ok(());
    }
    let (least, most) = lengths.into_inner();
    let count = if least == most {
        format!("{least} digits")
    } else {
        format!("{least} to {most} digits")
    };
    Err(
        Failure::new(FailureKind::Usage, format!("this is no {subject}"))
            .because(format!(
                "a {subject} is {count}; this has {} characters{}",
                text.chars().count(),
                if digits { "" } else { ", not all digits" }
            ))
            .next("nothing was sent, no attempt was used up"),
    )
}

/// Returns the access point's password from a file.
///
/// # Errors
/// [`FailureKind::Usage`] when the file cannot be read or does not hold that. Its content is never
/// repeated.
pub fn password(file: io::Result<File>, path: &Path) -> Result<Zeroizing<String>, Failure> {
    read(file, path, "password", "--password-file")
}

/// Returns the text for a field of a message from a file.
///
/// # Errors
/// Those of [`password`].
pub fn field(path: &Path, name: &str) -> Result<Zeroizing<String>, Failure> {
    read(File::open(path), path, name, "--field-file")
}

/// Returns what stands alone on the first line of the file that `option` names and that was opened, or
/// not, at a path. `subject` says what it is.
///
/// # Errors
/// [`FailureKind::Usage`] when the file cannot be read or holds something else. Its content is never
/// repeated.
pub fn read(
    file: io::Result<File>,
    path: &Path,
    subject: &str,
    option: &str,
) -> Result<Zeroizing<String>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(
            FailureKind::Usage,
            format!("cannot read the {subject} file"),
        )
        .at(format!("{} ({option})", path.display()))
        .because(why)
        .next(format!(
            "put the {subject} alone on the first line of a file only you can read:\n\
                 install -m 600 /dev/null FILE, then write it there with an editor"
        ))
    };
    let file = file.map_err(|error| wrong(&error))?;
    let meta = file.metadata().map_err(|error| wrong(&error))?;
    if meta.is_dir() {
        return Err(wrong(&"it is a directory"));
    }
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        tracing::warn!(
            file = %path.display(),
            mode = format!("{:o}", meta.mode() & 0o777),
            "other users may read the {subject} file; chmod 600 keeps it yours",
        );
    }
    // With room to spare the content is never copied to another buffer while it is read.
    let mut content = Zeroizing::new(Vec::with_capacity(2 * LONGEST));
    file.take(LONGEST as u64 + 3)
        .read_to_end(&mut content)
        .map_err(|error| wrong(&error))?;
    let text = std::str::from_utf8(&content).map_err(|_| wrong(&"it is not text (UTF-8)"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(wrong(&"it is empty"));
    }
    if line.len() > LONGEST {
        return Err(wrong(&format_args!("it is longer than {LONGEST} bytes")));
    }
    if line.chars().any(char::is_control) {
        return Err(wrong(&"it has more than one line or control characters"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn pin_in(path: &Path) -> Result<Zeroizing<String>, Failure> {
        pin(File::open(path), path)
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        std::fs::write(&path, "1234\n").unwrap();
        let secret = from_file(&path, pin).unwrap();
        assert_eq!(secret.reveal().unwrap().as_str(), "1234");
        std::fs::remove_file(&path).unwrap();
        let (here, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(here, &path, kind, mode, 0).unwrap();
        let (done, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(secret.reveal().map(drop)));
        let found = result.recv_timeout(std::time::Duration::from_secs(30));
        let failure = found.unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Host);
    }

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_pin_is_taken_with_or_without_a_line_end() {
        for content in [&b"1234"[..], b"1234\n", b"1234\r\n"] {
            assert_eq!(*pin_in(file(content).path()).unwrap(), "1234");
        }
    }

    #[test]
    fn what_is_no_pin_is_refused_and_not_repeated() {
        for content in [
            &b""[..],
            b"\n",
            b"123",
            b"123456789",
            b"secret",
            b"1234\n5678\n",
            b" 1234",
            b"\xff\xfe\x00",
            &[b'7'; 10_000],
        ] {
            let failure = pin_in(file(content).path()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            let text = failure.to_string();
            assert!(!text.contains("secret") && !text.contains("777"), "{text}");
        }
    }

    #[test]
    fn endless_and_missing_files_end_at_once() {
        assert!(pin_in(Path::new("/dev/zero")).is_err());
        assert!(
            pin_in(Path::new("/"))
                .unwrap_err()
                .to_string()
                .contains("directory")
        );
        let missing = pin_in(Path::new("/nonexistent/pin"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn a_password_may_hold_anything_printable() {
        let kept = file("pä ss\"\n".as_bytes());
        assert_eq!(
            *password(File::open(kept.path()), kept.path()).unwrap(),
            "pä ss\""
        );
    }

    #[test]
    fn a_file_is_read_again_each_time() {
        let mut kept = file(b"1234\n");
        let secret = from_file(kept.path(), pin).unwrap();
        kept.as_file_mut().set_len(0).unwrap();
        std::io::Seek::rewind(&mut kept).unwrap();
        kept.write_all(b"4321\n").unwrap();
        assert_eq!(*secret.reveal().unwrap(), "4321");
        let path = kept.path().to_owned();
        drop(kept);
        let failure = secret.reveal().unwrap_err();
        assert!(failure.to_string().contains(&path.display().to_string()));
        assert!(from_file(&path, pin).is_err());
    }

    #[test]
    fn a_pipe_is_read_once_and_kept() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"1234\n").unwrap();
        drop(writer);
        let number = std::os::fd::AsRawFd::as_raw_fd(&reader);
        let path = PathBuf::from(format!("/proc/self/fd/{number}"));
        let secret = from_file(&path, pin).unwrap();
        for _ in 0..2 {
            assert_eq!(*secret.reveal().unwrap(), "1234");
        }
        let named = file(b"1234\n");
        let number = std::os::fd::AsRawFd::as_raw_fd(named.as_file());
        let path = PathBuf::from(format!("/proc/self/fd/{number}"));
        assert_eq!(
            readable_again(&path).unwrap(),
            named.path().canonicalize().unwrap()
        );
    }
}
