//! The transfers of the demo: a verified download and a verified upload over HTTP, over the
//! kernel's network stack or the built-in one.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use uwwan_netstack::pattern;
use uwwan_netstack::server::HTTP_PORT;

use crate::commands::network::{Network, Stream};

/// Number of bytes that are read or written at once.
const CHUNK: usize = 64 * 1024;
/// Greatest length of a response head in bytes.
const LONGEST_HEAD: usize = 8 * 1024;

/// The reason why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The connection failed.
    #[error("after {bytes} bytes: {source}")]
    Io {
        /// Number of payload bytes that had gone through.
        bytes: u64,
        /// Error of the network stack.
        source: io::Error,
    },
    /// The answer is not one that the far side sends.
    #[error("the far side answered {0:?}")]
    Answer(String),
    /// Data was lost, doubled or changed on the way.
    #[error("the data differs from what was sent, first at byte {0}")]
    Corrupt(u64),
    /// The far side's count or checksum differs.
    #[error("sent {sent} with CRC-32 {sent_crc:08x}, but the far side received {answer}")]
    Checksum {
        /// Number of payload bytes that were sent.
        sent: u64,
        /// CRC-32 of the bytes that were sent.
        sent_crc: u32,
        /// Answer of the far side.
        answer: String,
    },
    /// The user has interrupted the transfer.
    #[error("interrupted")]
    Interrupted,
}

/// A function that is called with the length in bytes of each piece of payload that has gone
/// through, and ends the transfer when it returns `false`.
pub type Progress<'a> = &'a mut dyn FnMut(u64) -> bool;

/// Downloads `bytes` of the far side's pattern and verifies every one. Returns the time from the
/// request to the last byte.
///
/// # Errors
/// Fails with a [`TransferError`], which says what went wrong.
pub fn download(
    network: &mut dyn Network,
    target: IpAddr,
    bytes: u64,
    progress: Progress<'_>,
) -> Result<Duration, TransferError> {
    let at = |bytes: u64| move |source: io::Error| TransferError::Io { bytes, source };
    let mut stream = network
        .connect(SocketAddr::new(target, HTTP_PORT))
        .map_err(at(0))?;
    let begun = Instant::now();
    stream
        .write_all(request("GET", &format!("/bytes/{bytes}"), target, "").as_bytes())
        .map_err(at(0))?;
    let mut head = read_head(stream.as_mut())?;
    if head.length as u64 != bytes {
        return Err(TransferError::Answer(format!(
            "{} bytes instead of {bytes}",
            head.length
        )));
    }
    let mut buffer = vec![0; CHUNK];
    let mut received = 0u64;
    loop {
        let count = if head.body.is_empty() {
            let room = CHUNK.min(usize::try_from(bytes - received).unwrap_or(CHUNK));
            if room == 0 {
                break;
            }
            match stream.read(&mut buffer[..room]) {
                Ok(0) => {
                    return Err(at(received)(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the far side closed the connection early",
                    )));
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(at(received)(error)),
            }
        } else {
            let early = std::mem::take(&mut head.body);
            buffer[..early.len()].copy_from_slice(&early);
            early.len()
        };
        if received + count as u64 > bytes {
            return Err(TransferError::Corrupt(bytes));
        }
        if let Some(offset) = pattern::mismatch(received, &buffer[..count]) {
            return Err(TransferError::Corrupt(received + offset as u64));
        }
        received += count as u64;
        if !progress(count as u64) {
            return Err(TransferError::Interrupted);
        }
    }
    Ok(begun.elapsed())
}

/// Uploads `bytes` of the pattern and compares the far side's count and checksum. Returns the time
/// from the request to the far side's answer.
///
/// # Errors
/// Fails with a [`TransferError`], which says what went wrong.
pub fn upload(
    network: &mut dyn Network,
    target: IpAddr,
    bytes: u64,
    progress: Progress<'_>,
) -> Result<Duration, TransferError> {
    let at = |bytes: u64| move |source: io::Error| TransferError::Io { bytes, source };
    let mut stream = network
        .connect(SocketAddr::new(target, HTTP_PORT))
        .map_err(at(0))?;
    let begun = Instant::now();
    let length = format!("Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n");
    stream
        .write_all(request("POST", "/upload", target, &length).as_bytes())
        .map_err(at(0))?;
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut sent = 0u64;
    while sent < bytes {
        let count = CHUNK.min(usize::try_from(bytes - sent).unwrap_or(CHUNK));
        pattern::fill(sent, &mut buffer[..count]);
        crc.update(&buffer[..count]);
        stream.write_all(&buffer[..count]).map_err(at(sent))?;
        sent += count as u64;
        if !progress(count as u64) {
            return Err(TransferError::Interrupted);
        }
    }
    stream.flush().map_err(at(sent))?;
    let head = read_head(stream.as_mut())?;
    let mut body = head.body;
    let mut chunk = [0; 256];
    while body.len() < head.length.min(LONGEST_HEAD) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => body.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at(sent)(error)),
        }
    }
    let time = begun.elapsed();
    let sent_crc = crc.finalize();
    let answer = String::from_utf8_lossy(&body).trim().to_owned();
    let agreed = serde_json::from_str::<serde_json::Value>(&answer).is_ok_and(|value| {
        value["bytes"].as_u64() == Some(bytes)
            && value["crc32"].as_str() == Some(&format!("{sent_crc:08x}"))
    });
    if agreed {
        Ok(time)
    } else {
        Err(TransferError::Checksum {
            sent,
            sent_crc,
            answer,
        })
    }
}

fn request(method: &str, path: &str, target: IpAddr, fields: &str) -> String {
    let host = match target {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n")
}

struct Head {
    /// Length of the body in bytes, from `Content-Length`.
    length: usize,
    /// Bytes of the body that came with the head.
    body: Vec<u8>,
}

/// Reads a response head and insists on status 200.
fn read_head(stream: &mut dyn Stream) -> Result<Head, TransferError> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    let end = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if head.len() > LONGEST_HEAD {
            return Err(TransferError::Answer("an endless response head".into()));
        }
        match stream.read(&mut chunk) {
            Ok(0) => {
                return Err(TransferError::Answer(
                    String::from_utf8_lossy(&head).into_owned(),
                ));
            }
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(TransferError::Io { bytes: 0, source }),
        }
    };
    let body = head.split_off(end + 4);
    let text = String::from_utf8_lossy(&head);
    let status = text.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(TransferError::Answer(status.to_owned()));
    }
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    Ok(Head { length, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream with a recorded answer.
    struct Recorded {
        answer: io::Cursor<Vec<u8>>,
    }

    impl Read for Recorded {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let few = buffer.len().min(7);
            self.answer.read(&mut buffer[..few])
        }
    }

    impl Write for Recorded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Recorded {
        fn end(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Playback(Vec<u8>);

    impl Network for Playback {
        fn ping(&mut self, _: IpAddr, _: u16, _: Duration) -> io::Result<Option<Duration>> {
            Ok(None)
        }
        fn connect(&mut self, _: SocketAddr) -> io::Result<Box<dyn Stream>> {
            Ok(Box::new(Recorded {
                answer: io::Cursor::new(self.0.clone()),
            }))
        }
    }

    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn body(bytes: usize) -> Vec<u8> {
        let mut body = vec![0; bytes];
        pattern::fill(0, &mut body);
        body
    }

    fn answer(body: &[u8]) -> Playback {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body);
        Playback(answer)
    }

    #[test]
    fn a_good_download_passes() {
        let mut counted = 0;
        download(&mut answer(&body(1000)), TARGET, 1000, &mut |n| {
            counted += n;
            true
        })
        .unwrap();
        assert_eq!(counted, 1000);
    }

    #[test]
    fn bad_downloads_do_not_pass() {
        let mut wrong = body(1000);
        wrong[777] ^= 1;
        let error = download(&mut answer(&wrong), TARGET, 1000, &mut |_| true).unwrap_err();
        assert!(matches!(error, TransferError::Corrupt(777)), "{error}");

        let mut short = answer(&body(1000));
        short.0.pop();
        let error = download(&mut short, TARGET, 1000, &mut |_| true).unwrap_err();
        assert!(
            matches!(error, TransferError::Io { bytes: 999, .. }),
            "{error}"
        );

        let error = download(&mut answer(&body(9)), TARGET, 5, &mut |_| true).unwrap_err();
        assert!(matches!(error, TransferError::Answer(_)), "{error}");

        let mut refusing = Playback(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec());
        let error = download(&mut refusing, TARGET, 1000, &mut |_| true).unwrap_err();
        assert!(matches!(error, TransferError::Answer(_)), "{error}");

        let mut endless = Playback(vec![b'x'; 100_000]);
        let error = download(&mut endless, TARGET, 1000, &mut |_| true).unwrap_err();
        assert!(matches!(error, TransferError::Answer(_)), "{error}");
    }

    #[test]
    fn an_upload_is_compared() {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&body(1000));
        let good = format!("{{\"bytes\":1000,\"crc32\":\"{:08x}\"}}\n", crc.finalize());
        upload(&mut answer(good.as_bytes()), TARGET, 1000, &mut |_| true).unwrap();
        for bad in [
            "{\"bytes\":1000,\"crc32\":\"00000000\"}",
            &good.replace("1000", "999"),
            "thanks",
            "",
        ] {
            let error =
                upload(&mut answer(bad.as_bytes()), TARGET, 1000, &mut |_| true).unwrap_err();
            assert!(matches!(error, TransferError::Checksum { .. }), "{error}");
        }
    }

    #[test]
    fn the_user_can_end_it() {
        let error = download(&mut answer(&body(1000)), TARGET, 1000, &mut |_| false).unwrap_err();
        assert!(matches!(error, TransferError::Interrupted));
    }
}
