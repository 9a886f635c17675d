//! `exec` where an `up` runs the modem: it gets one more data session of that `up`.

use std::io::{BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Output, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use uwwan_mbim::services::basic_connect::{ActivationCommand, CONNECT, ConnectSet, context_type};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;
use uwwan_modem::client::Client;

use crate::forms;
use crate::running::{PATIENCE, Up, succeeds, text};

/// Runs a shell script by `exec`, with further options.
fn script(up: &Up, options: &[&str], script: &str) -> Output {
    let words = [&["exec"], options, &["--", "sh", "-c", script]].concat();
    up.ask(&words)
}

/// A shell script that runs by `exec`. It is ended when this value is dropped, also where `exec` was
/// killed.
struct Started {
    child: Child,
    program: Pid,
    lines: BufReader<ChildStdout>,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = kill_process(self.program, Signal::KILL);
    }
}

/// Starts a shell script by `exec`, and waits until it runs.
fn start(up: &Up, script: &str) -> Started {
    let script = &format!("echo $$; {script}");
    let mut command = up.command(&["exec", "--", "sh", "-c", script]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    if line.is_empty() {
        let mut told = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut told).unwrap();
        panic!("it said nothing: {told}");
    }
    Started {
        child,
        program: Pid::from_raw(line.trim().parse().unwrap()).unwrap(),
        lines,
    }
}

fn alone(status: &Value) -> bool {
    status["online"] == true && status["sessions"].as_array().is_none_or(Vec::is_empty)
}

const LOOK: &str = "ip -br addr show dev uwwan0; ip route; cat /etc/resolv.conf; \
    curl -sS -m 30 -o /dev/null -w 'fetched %{size_download}\\n' http://ipv4.test.uwwan/bytes/3000000; exit 7";

#[test]
fn a_program_has_a_data_session_of_its_own_as_long_as_it_runs() {
    let up = Up::online(&["--knob", "ipv6=on"]);
    let output = script(&up, &[], LOOK);
    let (seen, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{seen}\n{told}");
    assert_eq!(told, "");
    // The emulated network gives session N the address 4 N above that of session 0.
    for part in [
        "10.169.198.105/30",
        "2a02:2121:",
        "default via 10.169.198.106 dev uwwan0",
        "nameserver 193.213.112.4\n",
        "fetched 3000000",
    ] {
        assert!(seen.contains(part), "{part:?} is not in:\n{seen}\n{told}");
    }
    up.until("the end of its session", alone);
    // The interface of `up` is unchanged.
    let own = up.inside(&["ip", "-br", "addr"]);
    assert!(own.contains("10.169.198.77/30"), "{own}");
    assert!(!own.contains("10.169.198.105"), "{own}");
}

#[test]
fn several_programs_have_a_session_each_and_one_that_vanishes_leaves_nothing() {
    let up = Up::online(&[]);
    let mut one = start(&up, "exec sleep 600");
    let mut two = start(&up, "exec sleep 600");
    let status = up.until("both sessions", |status| {
        let sessions = status["sessions"].as_array();
        sessions.is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["online"] == true))
    });
    assert_eq!(status["sessions"][0]["session"], 7, "{status:#}");
    assert_eq!(status["sessions"][1]["session"], 6, "{status:#}");
    two.child.kill().unwrap();
    two.child.wait().unwrap();
    up.until("the end of one session", |status| {
        status["sessions"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    });
    one.child.kill().unwrap();
    one.child.wait().unwrap();
    up.until("the end of the other", alone);
}

#[test]
fn a_program_and_a_client_of_the_proxy_keep_each_their_session() {
    let up = Up::online(&[]);
    let folder = up.base.path().join("emulator");
    let mut client = Client::through(&folder.join("mbim")).unwrap();
    let mut connect = |session_id, activation_command| {
        let content = ConnectSet {
            session_id,
            activation_command,
            access_string: "another".into(),
            context_type: context_type::INTERNET,
            ..ConnectSet::default()
        };
        let answer = client.command(Command::set(CONNECT, &content), PATIENCE);
        answer.unwrap().status
    };
    assert_eq!(connect(7, ActivationCommand::ACTIVATE), Status::NONE);
    let started = start(&up, "exec sleep 600");
    let status = up.until("its session", |status| {
        status["sessions"][0]["online"] == true
    });
    assert_eq!(status["sessions"][0]["session"], 6, "{status:#}");
    let refused = Status::OPERATION_NOT_ALLOWED;
    assert_eq!(connect(6, ActivationCommand::DEACTIVATE), refused);
    assert_eq!(connect(6, ActivationCommand::ACTIVATE), refused);
    let status = up.status();
    assert_eq!(status["sessions"][0]["online"], true, "{status:#}");
    drop(started);
    up.until("the end of its session", alone);
    // The other session is unchanged, and an id that became free is given to the next one.
    assert_eq!(connect(7, ActivationCommand::DEACTIVATE), Status::NONE);
    let _started = start(&up, "exec sleep 600");
    up.until("a session with the id", |status| {
        status["sessions"][0]["session"] == 7 && status["sessions"][0]["online"] == true
    });
}

#[test]
fn a_modem_with_one_session_says_so_and_options_of_the_modem_are_refused() {
    let up = Up::online(&["--knob", "max_sessions=1"]);
    let output = script(&up, &[], "echo ran");
    let told = text(&output.stderr);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(6), String::new()),
        "{told}"
    );
    assert!(
        told.contains("one data session") && told.contains("uwwan down"),
        "{told}"
    );
    for options in [
        &["--settle", "0.2"][..],
        &["--knob", "ipv6=on"],
        &["--session", "3:apn=b"],
        &["--capture", "of-nothing.pcapng"],
        &["--apn", "a", "--auth", "chap", "--user", "me"],
    ] {
        let output = script(&up, options, "echo ran");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {told}");
        assert_eq!(text(&output.stdout), "");
    }
    up.until("still online", alone);
}

#[test]
fn the_end_of_up_does_not_end_the_program() {
    let mut up = Up::online(&[]);
    let go = up.base.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.02; done; exit 3", go.display());
    let mut started = start(&up, &wait);
    succeeds(&up.ask(&["down"]));
    assert!(up.end().success());
    std::fs::write(go, "").unwrap();
    let mut rest = String::new();
    started.lines.read_to_string(&mut rest).unwrap();
    assert_eq!(started.child.wait().unwrap().code(), Some(3), "{rest}");
}

#[test]
fn a_reset_of_the_modem_brings_the_programs_session_back() {
    let up = Up::online(&[]);
    let fetch = "until curl -sS -m 5 -o /dev/null -w '%{size_download}\\n' http://ipv4.test.uwwan/bytes/1000 2>/dev/null | grep 1000; \
        do sleep 0.1; done";
    let mut started = start(&up, "exec sleep 600");
    succeeds(&up.ask(&["reset", "--force"]));
    up.until("the session again", |status| {
        status["online"] == true
            && status["attempts"] == 2
            && status["sessions"][0]["online"] == true
    });
    kill_process(Pid::from_child(&started.child), Signal::TERM).unwrap();
    assert_eq!(started.child.wait().unwrap().signal(), Some(15));
    succeeds(&script(&up, &[], fetch));
}

#[test]
fn descriptors_of_anything_else_are_refused() {
    let up = Up::online(&[]);
    let socket = up.base.path().join("emulator/control");
    let ask = |line: &str, many: usize| {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let all = vec![null.as_fd(); many];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(all.is_empty() || beside.push(SendAncillaryMessage::ScmRights(&all)));
        let parts = [IoSlice::new(line.as_bytes())];
        rustix::net::sendmsg(&stream, &parts, &mut beside, SendFlags::NOSIGNAL).unwrap();
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).unwrap();
        forms::told_by_socket(&answer)
    };
    for carries in ["\"packet\"", "\"frame\"", "{\"large\":4294967295}"] {
        let line = format!("{{\"command\":\"join\",\"carries\":{carries}}}\n");
        for many in [0, 1, 3, 64] {
            let answer = ask(&line, many);
            assert_eq!(answer["ok"], false, "{carries}, {many}: {answer}");
            assert_eq!(answer["failure"]["kind"], "usage", "{answer}");
        }
    }
    // Descriptors beside another request are closed.
    let status = "{\"command\":\"status\"}\n";
    let pid = ask(status, 0)["pid"].as_u64().unwrap();
    let open = || {
        let listed = std::fs::read_dir(format!("/proc/{pid}/fd"));
        listed.unwrap().count()
    };
    let before = open();
    for _ in 0..200 {
        assert_eq!(ask(status, 33)["ok"], true);
    }
    // The server may not have closed the last of these clients yet.
    assert!(
        open() < before + 100,
        "{before} descriptors, then {}",
        open()
    );
    // A client that sends half a request keeps no other from being served.
    let mut half = UnixStream::connect(&socket).unwrap();
    half.write_all(b"{\"command\":\"join\",").unwrap();
    up.until("still online", alone);
}
