//! One HTTP/1.1 connection (RFC 9112), with what generated downloads and discarded uploads need.

use std::io::Write;

use smoltcp::socket::tcp;

use super::report::ServerReport;
use crate::pattern;

/// Length of the longest request head in bytes.
const MAX_HEAD: usize = 8192;
/// Largest number of header fields in a request.
const MAX_FIELDS: usize = 64;
/// Length in bytes of the longest line in the framing or the trailer of a chunked body.
const MAX_CHUNK_LINE: usize = 4096;

const HELP: &str = "uwwan test network\n\n\
    GET /bytes/N            N bytes of a generated pattern\n\
    GET /download?bytes=N   the same\n\
    POST or PUT /upload     counts the body, answers {\"bytes\":N,\"crc32\":\"xxxxxxxx\"}\n\n\
    The pattern: 64-bit words, little-endian; word n (from 0) is\n\
    (n + 1) * 0x9E3779B97F4A7C15 modulo 2^64.\n";

#[derive(Default)]
pub(super) struct Connection {
    state: State,
    /// Request head as far as it was received.
    head: Vec<u8>,
    /// Text that is to be sent.
    out: Vec<u8>,
    /// Number of bytes of the text that were sent.
    gone: usize,
    close_after: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Request,
    Generate {
        offset: u64,
        left: u64,
    },
    Upload(Upload),
    Done,
}

struct Upload {
    framing: Framing,
    bytes: u64,
    crc: crc32fast::Hasher,
}

enum Framing {
    Length(u64),
    Chunked(Chunks),
}

impl Connection {
    /// Reads what the socket has received, and writes as much as it has room for.
    pub(super) fn drive(&mut self, socket: &mut tcp::Socket<'_>, report: &mut ServerReport) {
        loop {
            if !self.flush(socket) {
                return;
            }
            match &mut self.state {
                State::Request => match self.read_head(socket) {
                    Some(end) => self.request(end, report),
                    None if socket.may_recv() => return,
                    None => self.state = State::Done,
                },
                State::Generate { offset, left } => {
                    while *left > 0 && socket.can_send() {
                        let Ok(length) = socket.send(|room| {
                            let length =
                                room.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                            pattern::fill(*offset, &mut room[..length]);
                            (length, length)
                        }) else {
                            break;
                        };
                        *offset += length as u64;
                        *left -= length as u64;
                        report.generated_bytes += length as u64;
                    }
                    if *left > 0 {
                        if !socket.may_send() {
                            self.state = State::Done;
                            continue;
                        }
                        return;
                    }
                    self.next();
                }
                State::Upload(upload) => {
                    let before = upload.bytes;
                    let progress = upload.read(socket);
                    report.uploaded_bytes += upload.bytes - before;
                    match progress {
                        Progress::Complete => {
                            let body = format!(
                                "{{\"bytes\":{},\"crc32\":\"{:08x}\"}}\n",
                                upload.bytes,
                                upload.crc.clone().finalize()
                            );
                            self.respond("200 OK", "application/json", &body, true);
                        }
                        Progress::Malformed => {
                            report.http_errors += 1;
                            self.refuse("400 Bad Request", "the chunked body is malformed");
                        }
                        Progress::More if socket.may_recv() => return,
                        Progress::More => self.state = State::Done,
                    }
                }
                State::Done => {
                    // Reading on to the end keeps the close from becoming a reset, with which the
                    // answer would be lost.
                    while socket.can_recv() && socket.recv(|data| (data.len(), ())).is_ok() {}
                    if socket.may_send() {
                        socket.close();
                    }
                    return;
                }
            }
        }
    }

    /// Sends the text that waits. Returns whether all of it is sent.
    fn flush(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        while self.gone < self.out.len() {
            match socket.send_slice(&self.out[self.gone..]) {
                Ok(0) => return false,
                Ok(sent) => self.gone += sent,
                Err(_) => {
                    self.state = State::Done;
                    break;
                }
            }
        }
        self.out.clear();
        self.gone = 0;
        true
    }

    /// Collects the request head. Returns its length in bytes once it is complete or too long.
    fn read_head(&mut self, socket: &mut tcp::Socket<'_>) -> Option<usize> {
        while socket.can_recv() {
            let head = &mut self.head;
            let end = socket
                .recv(|data| {
                    let before = head.len();
                    let room = MAX_HEAD - before;
                    head.extend_from_slice(&data[..data.len().min(room)]);
                    let from = before.saturating_sub(3);
                    match head[from..]
                        .windows(4)
                        .position(|window| window == b"\r\n\r\n")
                    {
                        Some(at) => {
                            let end = from + at + 4;
                            head.truncate(end);
                            (end - before, Some(end))
                        }
                        None => (
                            head.len() - before,
                            (head.len() == MAX_HEAD).then_some(MAX_HEAD),
                        ),
                    }
                })
                .ok()?;
            if end.is_some() {
                return end;
            }
        }
        None
    }

    fn request(&mut self, end: usize, report: &mut ServerReport) {
        let head = std::mem::take(&mut self.head);
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let (Ok(httparse::Status::Complete(_)), Some(method), Some(target)) =
            (request.parse(&head[..end]), request.method, request.path)
        else {
            report.http_errors += 1;
            return self.refuse(
                "400 Bad Request",
                "the request head is malformed or too long",
            );
        };
        report.http_requests += 1;
        let field = |name: &str| {
            request
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))
                .map(|f| f.value)
        };
        let has_token = |name: &str, token: &str| {
            field(name).is_some_and(|value| {
                value
                    .split(|&byte| byte == b',')
                    .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
            })
        };
        self.close_after = has_token("connection", "close")
            || (request.version == Some(0) && !has_token("connection", "keep-alive"));
        let framing = if has_token("transfer-encoding", "chunked") {
            Some(Framing::Chunked(Chunks::default()))
        } else {
            match field("content-length") {
                None => Some(Framing::Length(0)),
                Some(value) => number(value).map(Framing::Length),
            }
        };
        let Some(framing) = framing else {
            report.http_errors += 1;
            return self.refuse("400 Bad Request", "Content-Length is no number");
        };

        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let bytes = match path.strip_prefix("/bytes/") {
            Some(bytes) => Some(bytes),
            None if path == "/download" => Some(
                query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("bytes="))
                    .unwrap_or(""),
            ),
            None => None,
        };
        let upload = path == "/upload" || path.starts_with("/upload/");
        let has_body = !matches!(framing, Framing::Length(0));
        match method {
            "POST" | "PUT" if upload => {
                if has_token("expect", "100-continue") {
                    self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.state = State::Upload(Upload {
                    framing,
                    bytes: 0,
                    crc: crc32fast::Hasher::new(),
                });
            }
            "GET" | "HEAD" if !has_body => match bytes.map(|bytes| number(bytes.as_bytes())) {
                Some(Some(left)) => {
                    self.head_of("200 OK", "application/octet-stream", left);
                    self.state = State::Generate {
                        offset: 0,
                        left: if method == "GET" { left } else { 0 },
                    };
                }
                None if path == "/" => self.respond("200 OK", "text/plain", HELP, method == "GET"),
                Some(None) => {
                    report.http_errors += 1;
                    self.refuse("400 Bad Request", "N in /bytes/N must be a decimal number");
                }
                None => {
                    report.http_errors += 1;
                    self.refuse("404 Not Found", "see / for what there is");
                }
            },
            _ => {
                report.http_errors += 1;
                self.refuse("405 Method Not Allowed", "see / for what there is");
            }
        }
    }

    fn head_of(&mut self, status: &str, kind: &str, length: u64) {
        let connection = if self.close_after {
            "Connection: close\r\n"
        } else {
            ""
        };
        // Writing to a vector cannot fail.
        let _ = write!(
            self.out,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{connection}\r\n"
        );
    }

    fn respond(&mut self, status: &str, kind: &str, body: &str, with_body: bool) {
        self.head_of(status, kind, body.len() as u64);
        if with_body {
            self.out.extend_from_slice(body.as_bytes());
        }
        self.next();
    }

    /// Answers with an error and ends the connection, because it is not known where the next
    /// request begins.
    fn refuse(&mut self, status: &str, why: &str) {
        self.close_after = true;
        self.respond(status, "text/plain", &format!("{why}\n"), true);
    }

    fn next(&mut self) {
        self.state = if self.close_after {
            State::Done
        } else {
            State::Request
        };
    }
}

/// Parses a decimal number without sign, up to 2⁶⁴ − 1.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

enum Progress {
    More,
    Complete,
    Malformed,
}

impl Upload {
    fn read(&mut self, socket: &mut tcp::Socket<'_>) -> Progress {
        loop {
            match &self.framing {
                Framing::Length(0) => return Progress::Complete,
                Framing::Chunked(chunks) if chunks.state == ChunkState::Done => {
                    return Progress::Complete;
                }
                _ if !socket.can_recv() => return Progress::More,
                _ => {}
            }
            let taken = socket.recv(|data| {
                let mut body = |data: &[u8]| {
                    self.bytes += data.len() as u64;
                    self.crc.update(data);
                };
                match &mut self.framing {
                    Framing::Length(left) => {
                        let length = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                        body(&data[..length]);
                        *left -= length as u64;
                        (length, true)
                    }
                    Framing::Chunked(chunks) => match chunks.take(data, body) {
                        Some(length) => (length, true),
                        None => (data.len(), false),
                    },
                }
            });
            match taken {
                Ok(true) => {}
                Ok(false) => return Progress::Malformed,
                Err(_) => return Progress::More,
            }
        }
    }
}

/// Parser of the framing of a chunked body (RFC 9112 section 7.1), byte by byte outside the data.
#[derive(Default)]
struct Chunks {
    state: ChunkState,
    /// Size of the chunk in bytes as far as it was read, or the number of bytes of its data that
    /// are still to come.
    left: u64,
    /// Length of the current framing line in bytes.
    line: usize,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum ChunkState {
    #[default]
    Size,
    /// Behind the size, extensions are ignored up to the line feed.
    Extension,
    Data,
    DataEnd,
    /// Behind the last chunk, fields are ignored up to an empty line.
    Trailer,
    Done,
}

impl Chunks {
    /// Parses `data` and gives the bytes of the body to `body`. Returns how many bytes were used,
    /// which is all unless the body has ended; `None` when the framing is malformed.
    fn take(&mut self, data: &[u8], mut body: impl FnMut(&[u8])) -> Option<usize> {
        let mut at = 0;
        while at < data.len() && self.state != ChunkState::Done {
            if self.state == ChunkState::Data {
                let length =
                    (data.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                body(&data[at..at + length]);
                at += length;
                self.left -= length as u64;
                if self.left == 0 {
                    self.state = ChunkState::DataEnd;
                }
                continue;
            }
            let byte = data[at];
            at += 1;
            self.line += 1;
            if self.line > MAX_CHUNK_LINE {
                return None;
            }
            match self.state {
                ChunkState::Size => match (byte as char).to_digit(16) {
                    Some(digit) => {
                        self.left = self.left.checked_mul(16)?.checked_add(digit.into())?
                    }
                    None if self.line == 1 => return None,
                    None if byte == b'\n' => self.size_read(),
                    None if matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
                        self.state = ChunkState::Extension;
                    }
                    None => return None,
                },
                ChunkState::Extension => {
                    if byte == b'\n' {
                        self.size_read();
                    }
                }
                ChunkState::DataEnd => match byte {
                    b'\r' if self.line == 1 => {}
                    b'\n' => {
                        self.state = ChunkState::Size;
                        self.line = 0;
                    }
                    _ => return None,
                },
                ChunkState::Trailer => {
                    if byte == b'\n' {
                        if self.line <= 2 {
                            self.state = ChunkState::Done;
                        }
                        self.line = 0;
                    } else if self.line == 1 && byte != b'\r' {
                        // This is the line of a field, which must not be taken for the empty one
                        // however short it is.
                        self.line = 3;
                    }
                }
                ChunkState::Data | ChunkState::Done => {}
            }
        }
        Some(at)
    }

    fn size_read(&mut self) {
        self.state = if self.left == 0 {
            ChunkState::Trailer
        } else {
            ChunkState::Data
        };
        self.line = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize, bool)> {
        let mut chunks = Chunks::default();
        let mut body = Vec::new();
        let mut left_over = 0;
        for piece in pieces {
            let used = chunks.take(piece, |data| body.extend_from_slice(data))?;
            left_over += piece.len() - used;
        }
        Some((body, left_over, chunks.state == ChunkState::Done))
    }

    #[test]
    fn chunked_bodies_are_read_however_they_are_cut() {
        let whole =
            b"4\r\nWiki\r\n6;x=y\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nA: b\r\n\r\nGET";
        let want = b"Wikipedia in \r\n\r\nchunks.".to_vec();
        assert_eq!(decode(&[whole]), Some((want.clone(), 3, true)));
        let bytes: Vec<&[u8]> = whole[..whole.len() - 3].chunks(1).collect();
        assert_eq!(decode(&bytes), Some((want, 0, true)));
    }

    #[test]
    fn malformed_framing_is_refused() {
        assert_eq!(decode(&[b"x\r\n"]), None);
        assert_eq!(decode(&[b"\r\n"]), None);
        assert_eq!(decode(&[b"1\r\nab\r\n"]), None);
        assert_eq!(
            decode(&[b"11111111111111111\r\n"]),
            None,
            "more than 64 bits"
        );
        assert_eq!(decode(&[&[b'0'; MAX_CHUNK_LINE + 1]]), None);
    }

    #[test]
    fn numbers_are_decimal_and_bounded() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b"+1"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"0x10"), None);
    }

    proptest! {
        #[test]
        fn any_framing_ends_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut chunks = Chunks::default();
            let mut body = 0;
            if let Some(used) = chunks.take(&bytes, |data| body += data.len()) {
                prop_assert!(used <= bytes.len() && body <= used);
            }
        }
    }
}
