//! An HTTP proxy (RFC 9110, 9112): CONNECT for everything, and requests with an absolute URI for plain
//! HTTP.
//!
//! The head of a plain request is rewritten as a server expects it, with a request to close: a
//! connection carries one request, because the next one could be for another server. Bodies and
//! responses pass unchanged.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;

use httparse::Status;
use uwwan_netstack::Error;

use super::flow::{self, Place};
use super::login::Login;
use super::target::{Host, Target};
use crate::head::Client;
use uwwan_modem::host::Userspace;

/// Size of the longest head of a request in bytes.
const LONGEST: usize = 32 << 10;
/// Number of the fields that a head may have.
const FIELDS: usize = 100;

/// Fields between a client and its proxy that are not passed to the server (RFC 9110, 7.6.1 and
/// 11.7).
const NOT_PASSED: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "upgrade",
];

/// A proxy.
pub struct Http {
    pub network: Userspace,
    pub login: Option<Arc<Login>>,
}

/// The request of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    target: Target,
    /// The bytes that are sent to the server first, or `None` where the client has to be told that
    /// it is connected.
    head: Option<Vec<u8>>,
}

/// Answer that refuses a request: the status with its reason, and a further field with its value.
pub(super) type Refusal = (&'static str, &'static str);

impl Http {
    /// Serves a client to its end.
    ///
    /// # Errors
    /// The reason why it ended before its flow began.
    pub fn serve(&self, stream: &TcpStream, place: &Place) -> io::Result<()> {
        let mut client = Client::new(stream, flow::TIME);
        let found = client.head(LONGEST, |bytes| self.read(bytes).transpose())?;
        let (wanted, rest) = match found {
            Some((Ok((wanted, length)), mut bytes)) => (wanted, bytes.split_off(length)),
            Some((Err((refusal, why)), _)) => return refuse(&mut client, refusal, why),
            None => {
                let status = "431 Request Header Fields Too Large";
                let why = "the head of the request is too long";
                return refuse(&mut client, (status, ""), why);
            }
        };
        place.keep()?;
        let Ok(network) = self.network.client() else {
            return refuse(
                &mut client,
                ("503 Service Unavailable", ""),
                "the modem is not online",
            );
        };
        let remote = match wanted.target.connect(&network) {
            Ok(remote) => remote,
            Err(error) => {
                let status = match error {
                    Error::Timeout { .. } => "504 Gateway Timeout",
                    Error::Stopped => "503 Service Unavailable",
                    _ => "502 Bad Gateway",
                };
                return refuse(&mut client, (status, ""), &error.to_string());
            }
        };
        match &wanted.head {
            Some(head) => io::Write::write_all(&mut &remote, head)?,
            None => client.answer(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
        }
        io::Write::write_all(&mut &remote, &rest)?;
        flow::relay(stream, remote)
    }

    /// Reads the head of a request. Returns the request and the head's length in bytes, or `None`
    /// when it is incomplete.
    pub(super) fn read(
        &self,
        bytes: &[u8],
    ) -> Result<Option<(Wanted, usize)>, (Refusal, &'static str)> {
        let bad = |why| (("400 Bad Request", ""), why);
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let length = match request.parse(bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(bad("this is no request of HTTP")),
        };
        let (Some(method), Some(uri)) = (request.method, request.path) else {
            return Err(bad("this is no request of HTTP"));
        };
        if let Some(login) = &self.login {
            let named = |field: &&httparse::Header<'_>| {
                field.name.eq_ignore_ascii_case("proxy-authorization")
            };
            let given = request.headers.iter().find(named);
            if !given.is_some_and(|field| login.is_in(field.value)) {
                let refusal = (
                    "407 Proxy Authentication Required",
                    "Proxy-Authenticate: Basic realm=\"uwwan\"\r\n",
                );
                return Err((refusal, "the proxy wants a name and a password"));
            }
        }
        if method == "CONNECT" {
            let target = uri
                .parse()
                .map_err(|_| bad("CONNECT wants a host and a port"))?;
            return Ok(Some((Wanted { target, head: None }, length)));
        }
        let (authority, path) = parts(uri).ok_or(bad(
            "this is a proxy: it wants CONNECT, or http:// and a host",
        ))?;
        let target = target(authority).ok_or(bad("the URI has no host"))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        for field in request.headers.iter() {
            let passed = |name: &str| !field.name.eq_ignore_ascii_case(name);
            if passed("host") && NOT_PASSED.into_iter().all(passed) {
                head.extend([field.name.as_bytes(), b": ", field.value, b"\r\n"].concat());
            }
        }
        head.extend(b"Connection: close\r\n\r\n");
        let head = Some(head);
        Ok(Some((Wanted { target, head }, length)))
    }
}

/// Returns authority and path of an absolute URI without user information (RFC 9112, 3.2.2).
fn parts(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let path = if path.is_empty() { "/" } else { path };
    // Text before an "@" is no host, and would hide the host.
    (!authority.contains('@') && path.starts_with('/')).then_some((authority, path))
}

fn target(authority: &str) -> Option<Target> {
    if let Ok(target) = authority.parse() {
        return Some(target);
    }
    let host = Host::parse(authority)?;
    Some(Target { host, port: 80 })
}

fn refuse(
    client: &mut Client<'_, TcpStream>,
    (status, field): Refusal,
    why: &str,
) -> io::Result<()> {
    let body = format!("{why}\n");
    let length = body.len();
    client.answer(
        format!(
            "HTTP/1.1 {status}\r\n{field}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )?;
    Err(io::Error::new(ErrorKind::InvalidInput, why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<(Wanted, usize)>, (Refusal, &'static str)> {
        let http = Http {
            network: Userspace::default(),
            login: None,
        };
        http.read(text.as_bytes())
    }

    #[test]
    fn connect_names_a_host_and_a_port() {
        let text = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\nmore";
        let (wanted, length) = read(text).unwrap().unwrap();
        assert_eq!(
            (wanted.target.to_string().as_str(), wanted.head),
            ("example.com:443", None)
        );
        assert_eq!(&text[length..], "more");
        assert_eq!(
            read("CONNECT example.com HTTP/1.1\r\n\r\n")
                .unwrap_err()
                .0
                .0,
            "400 Bad Request"
        );
        assert_eq!(read("CONNECT example.com:443 HT").unwrap(), None);
    }

    #[test]
    fn a_plain_request_is_rewritten_for_the_server() {
        let text = "GET http://192.0.2.1:8080/a?b HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n\
                    Proxy-Authorization: Basic eA==\r\nX: y\r\n\r\n";
        let (wanted, _) = read(text).unwrap().unwrap();
        assert_eq!(wanted.target.to_string(), "192.0.2.1:8080");
        assert_eq!(
            String::from_utf8(wanted.head.unwrap()).unwrap(),
            "GET /a?b HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nX: y\r\nConnection: close\r\n\r\n"
        );
        let (wanted, _) = read("GET http://[2001:db8::1] HTTP/1.1\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(wanted.target.to_string(), "[2001:db8::1]:80");
        for wrong in [
            "/index",
            "ftp://host/",
            "http://a@b/",
            "http:///",
            "http://a b/",
        ] {
            assert!(
                read(&format!("GET {wrong} HTTP/1.1\r\n\r\n")).is_err(),
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(text: String) {
            let _ = read(&text);
        }
    }
}
