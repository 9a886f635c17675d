//! Clients of the AT port that send too much, read too little or break the protocol.

use super::protocol::LONGEST_REQUEST;
use super::*;

fn said(lines: &mut JsonLines) -> String {
    let mut said = Vec::new();
    while !lines.output().is_empty() {
        said.extend_from_slice(lines.output());
        lines.wrote(lines.output().len());
    }
    String::from_utf8(said).unwrap()
}

/// Gives the lines as many bytes as they take, again and again until all are taken.
fn push(lines: &mut JsonLines, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = lines.room().min(bytes.len());
        assert!(room > 0, "{} bytes are not taken", bytes.len());
        lines.receive(&bytes[..room]);
        bytes = &bytes[room..];
        assert_eq!(lines.next(|| None), None);
    }
}

#[test]
fn many_requests_at_once_are_answered_one_by_one() {
    let mut lines = JsonLines::default();
    push(&mut lines, &b"{\"state\":{}}\n".repeat(1000));
    assert_eq!(
        said(&mut lines),
        "{\"state\":{\"port\":null}}\n".repeat(1000)
    );
    // Hundreds of requests on one line are longer than the longest request.
    push(&mut lines, &b"{\"state\":{}}".repeat(400));
    push(&mut lines, b"\n");
    assert!(said(&mut lines).contains("not a request") && lines.is_done());
}

#[test]
fn nesting_without_end_is_refused() {
    for open in ["[", "{\"command\":", "{\"state\":{\"a\":["] {
        let mut lines = JsonLines::default();
        let mut bytes = open.repeat(LONGEST_REQUEST / open.len() - 1).into_bytes();
        bytes.push(b'\n');
        push(&mut lines, &bytes);
        assert!(lines.is_done() && said(&mut lines).contains("not a request"));
    }
}

#[test]
fn one_who_does_not_read_is_answered_no_further() {
    let mut lines = JsonLines::default();
    let request = b"{\"state\":{}}\n";
    let mut taken = 0;
    while lines.room() >= request.len() {
        assert!(taken < 1 << 20, "taken without end");
        lines.receive(request);
        taken += request.len();
        assert_eq!(lines.next(|| Some("x".repeat(1000))), None);
    }
    let waiting = lines.output.len();
    assert!(waiting < 2 * MUCH_OUTPUT, "{waiting}");
    // It goes on where it was when the client reads.
    assert!(!said(&mut lines).is_empty());
    assert_eq!(lines.next(|| None), None);
    assert!(lines.room() > request.len() && !said(&mut lines).is_empty());
    assert!(!lines.is_done());
}

#[test]
fn an_endless_line_is_cut_off() {
    let mut lines = JsonLines::default();
    push(&mut lines, &vec![b'x'; LONGEST_REQUEST + 1]);
    assert!(said(&mut lines).contains("too long"));
    assert_eq!(lines.room(), 0);
}
