//! `up --net userspace` on the emulated modem: proxies and forwarded ports, as programs use them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use crate::forms;
use crate::running::{PATIENCE, PROGRAM, Up, alone, succeeds, text};

/// A host of the emulated modem's network, which serves HTTP.
const SERVER: &str = "192.0.2.7";
/// The emulated modem's name server.
const NAME_SERVER: &str = "193.213.112.4:53";
/// A DNS query for the A record of ipv4.test.uwwan (RFC 1035, 4.1), with the id 0x1234.
const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
    \x04ipv4\x04test\x05uwwan\x00\x00\x01\x00\x01";

/// An `up` that is online, with the addresses of its listeners.
struct Userspace {
    up: Up,
    told: Vec<String>,
}

impl Userspace {
    fn start(options: &[&str]) -> Self {
        let base = tempfile::tempdir().unwrap();
        // Without network namespace, the program touches nothing of this machine.
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--", PROGRAM, "up"]);
        alone(&mut command);
        command
            .args(["--device", "emulator", "--settle", "0.2"])
            .args(["--proxy", "private", "--net", "userspace"])
            .args(options)
            .env("UWWAN_RUNTIME_DIR", base.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let up = Up::spawn(base, command);
        let status = up.until("online", |status| status["online"] == true);
        let told = status["interface"]["applied"].as_array().unwrap();
        let told = told.iter().map(|line| line.as_str().unwrap().to_owned());
        let told = told.collect();
        Self { up, told }
    }

    /// Returns the address in the line that has these words around it.
    fn at(&self, before: &str, after: &str) -> SocketAddr {
        let found = self.told.iter().find_map(|line| {
            let rest = line.strip_prefix(before)?;
            rest.strip_suffix(after)?.parse().ok()
        });
        found.unwrap_or_else(|| panic!("{before}…{after}: {:?}", self.told))
    }

    fn socks(&self) -> SocketAddr {
        self.at("SOCKS5 proxy at ", "")
    }

    fn http(&self) -> SocketAddr {
        self.at("HTTP proxy at ", "")
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a SOCKS5 proxy a request for a name, without a login. Returns the answer's code.
fn ask_socks(stream: &mut TcpStream, command: u8, name: &str, port: u16) -> (u8, [u8; 6]) {
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).unwrap();
    assert_eq!(chosen, [5, 0]);
    request(stream, command, name, port)
}

/// Sends a SOCKS5 proxy that has agreed on a method a request for a name. Returns the answer's code.
fn request(stream: &mut TcpStream, command: u8, name: &str, port: u16) -> (u8, [u8; 6]) {
    let length = name.len().try_into().unwrap();
    let request = [
        &[5, command, 0, 3, length],
        name.as_bytes(),
        &port.to_be_bytes(),
    ];
    stream.write_all(&request.concat()).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[3]), (5, 1));
    (answer[1], answer[4..].try_into().unwrap())
}

/// Downloads over a flow, and returns the length of the body.
fn download(stream: &mut TcpStream, host: &str, bytes: usize) -> usize {
    let request = format!("GET /bytes/{bytes} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    // A flow with one direction closed continues in the other.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"), "{}", text(&all[..head]));
    all.len() - head - 4
}

/// Checks that a datagram is the answer to [`QUERY`] with one address.
fn is_answer(datagram: &[u8]) {
    assert_eq!(datagram[..2], QUERY[..2], "{datagram:?}");
    assert_eq!(datagram[6..8], [0, 1], "one answer");
}

#[test]
fn socks_clients_reach_what_is_beyond_the_modem() {
    let up = Userspace::start(&["--socks", "0", "--knob", "ipv6=on", "--ip-type", "ipv4v6"]);
    for name in ["ipv4.test.uwwan", "ipv6.test.uwwan", "test.uwwan", SERVER] {
        let mut stream = connect(up.socks());
        assert_eq!(ask_socks(&mut stream, 1, name, 80).0, 0, "{name}");
        assert_eq!(download(&mut stream, name, 3_000_000), 3_000_000);
    }
    // The answer's code is that of the kind of failure.
    for (name, port, code) in [
        ("nowhere.test", 80, 4),
        (SERVER, 81, 5),
        // This machine is not reachable beyond the modem.
        ("127.0.0.1", 80, 3),
        ("bad name", 80, 8),
    ] {
        let mut stream = connect(up.socks());
        assert_eq!(ask_socks(&mut stream, 1, name, port).0, code, "{name}");
    }
    let mut stream = connect(up.socks());
    assert_eq!(ask_socks(&mut stream, 2, SERVER, 80).0, 7, "BIND");
    up.up.down();
}

#[test]
fn socks_clients_send_datagrams() {
    let up = Userspace::start(&["--socks", "0"]);
    let mut stream = connect(up.socks());
    let (code, at) = ask_socks(&mut stream, 3, "0.0.0.0", 0);
    assert_eq!((code, &at[..4]), (0, &[127, 0, 0, 1][..]));
    let relay = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([at[4], at[5]])));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let to: SocketAddr = NAME_SERVER.parse().unwrap();
    let SocketAddr::V4(to) = to else { panic!() };
    let header = [
        &[0, 0, 0, 1][..],
        &to.ip().octets(),
        &to.port().to_be_bytes(),
    ]
    .concat();
    // Bytes that are no such datagram, or a fragment of one, are dropped, and the next datagram is
    // not.
    for broken in [&b""[..], b"\0\0", b"\0\0\x01\x01", b"\0\0\0\x09abc"] {
        socket.send_to(broken, relay).unwrap();
    }
    socket.send_to(&[&header, QUERY].concat(), relay).unwrap();
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((from, &buffer[..10]), (relay, &header[..]));
    is_answer(&buffer[10..length]);
    // The association ends with its connection: nothing comes any more then, and another one works.
    drop(stream);
    let mut stream = connect(up.socks());
    let (code, _) = ask_socks(&mut stream, 3, "0.0.0.0", 0);
    assert_eq!(code, 0);
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    other.send_to(&[&header, QUERY].concat(), relay).unwrap();
    let (length, _) = other.recv_from(&mut buffer).unwrap();
    is_answer(&buffer[10..length]);
    up.up.down();
}

#[test]
fn http_clients_reach_what_is_beyond_the_modem() {
    let up = Userspace::start(&["--http-proxy", "0"]);
    // curl supports proxies.
    let curl = |further: &[&str], url: &str| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--proxy"])
            .arg(format!("http://{}", up.http()))
            .args(further)
            .arg(url)
            .output()
            .expect("curl runs (tools/setup)");
        (output.status.code(), output.stdout.len())
    };
    for further in [&[][..], &["--proxytunnel"]] {
        let told = curl(further, "http://ipv4.test.uwwan/bytes/3000000");
        assert_eq!(told, (Some(0), 3_000_000), "{further:?}");
    }
    let refused = |request: &str, status: &str| {
        let mut stream = connect(up.http());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(status), "{request:?}: {answer}");
    };
    refused("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400");
    refused("\x16\x03\x01\r\n\r\n", "HTTP/1.1 400");
    refused("GET http://nowhere.test/ HTTP/1.1\r\n\r\n", "HTTP/1.1 502");
    let long = format!(
        "GET http://{SERVER}/ HTTP/1.1\r\nX: {}",
        "x".repeat(64 << 10)
    );
    let mut stream = connect(up.http());
    // The proxy answers before it has read everything, and may have closed by then.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer) {
        Ok(()) => assert_eq!(&answer, b"HTTP/1.1 431"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    up.up.down();
}

#[test]
fn a_browser_shows_a_page_through_both_proxies() {
    let up = Userspace::start(&["--socks", "0", "--http-proxy", "0"]);
    for proxy in [
        format!("socks5://{}", up.socks()),
        format!("http://{}", up.http()),
    ] {
        let profile = tempfile::tempdir().unwrap();
        // Chromium's sandbox needs a user other than root. The name is known beyond the modem
        // alone.
        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--proxy-server={proxy}"))
            .args(["--dump-dom", "http://ipv4.test.uwwan/"])
            .env("HOME", profile.path())
            .output()
            .expect("chromium runs (tools/setup)");
        let page = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && page.contains("uwwan test network"),
            "{proxy}: {page:?}; {}",
            text(&output.stderr)
        );
    }
    up.up.down();
}

#[test]
fn proxies_want_their_login() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("login");
    std::fs::write(&file, "aladdin:open sesame\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let up = Userspace::start(&[
        "--socks",
        "0",
        "--http-proxy",
        "0",
        "--proxy-login-file",
        file,
    ]);
    let curl = |proxy: String| {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "60", "--proxy", &proxy])
            .args(["--write-out", "%{http_code}", "--output", "/dev/null"])
            .arg(format!("http://{SERVER}/bytes/1000"))
            .output()
            .expect("curl runs (tools/setup)");
        text(&output.stdout)
    };
    let (socks, http) = (up.socks(), up.http());
    for (login, socks_answer, http_answer) in [
        ("aladdin:open%20sesame@", "200", "200"),
        ("aladdin:open%20sesam@", "000", "407"),
        ("", "000", "407"),
    ] {
        assert_eq!(
            curl(format!("socks5h://{login}{socks}")),
            socks_answer,
            "{login}"
        );
        assert_eq!(
            curl(format!("http://{login}{http}")),
            http_answer,
            "{login}"
        );
    }
    up.up.down();
}

#[test]
fn ports_are_forwarded() {
    let tcp = format!("0={SERVER}:80");
    let udp = format!("udp:0={NAME_SERVER}");
    let up = Userspace::start(&["--forward", &tcp, "--forward", &udp]);
    let mut stream = connect(up.at("forwarded: TCP ", &format!(" to {SERVER}:80")));
    assert_eq!(download(&mut stream, SERVER, 1_000_000), 1_000_000);
    let at = up.at("forwarded: UDP ", &format!(" to {NAME_SERVER}"));
    // Several programs run at a time, each with its own answers.
    let sockets: Vec<UdpSocket> = (0..5)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for socket in &sockets {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(QUERY, at).unwrap();
    }
    for socket in &sockets {
        let mut buffer = [0; 2048];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, at);
        is_answer(&buffer[..length]);
    }
    up.up.down();
}

#[test]
fn the_network_is_asked_through_a_running_up_and_without_one() {
    let up = Userspace::start(&[
        "--session",
        "3:apn=b",
        "--knob",
        "ipv6=on",
        "--ip-type",
        "ipv4v6",
    ]);
    up.up.until("session 3", |status| {
        status["sessions"][0]["online"] == true
    });
    let ask = |words: &[&str]| {
        let output = up.up.ask(words);
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let found = ask(&["resolve", "ipv4.test.uwwan"]);
    assert_eq!(
        (found.0, found.1.as_str()),
        (Some(0), "198.51.100.1\n"),
        "{}",
        found.2
    );
    let found = ask(&["resolve", "--json", "ipv6.test.uwwan"]);
    let value = forms::json("resolve", &found.1);
    let address = value["addresses"][0].as_str().unwrap();
    assert!(address.contains(':'), "{value}");
    let (status, _, told) = ask(&["resolve", "nowhere.test"]);
    assert_eq!(status, Some(7), "{told}");
    for words in [
        &["ping", "--interval", "0.01", SERVER][..],
        &["ping", "--interval", "0.01", "ipv4.test.uwwan"],
        &["ping", "--interval", "0.01", "-6", "ipv6.test.uwwan"],
        &["ping", "--interval", "0.01", "--over", "3", SERVER],
    ] {
        let (status, said, told) = ask(words);
        assert_eq!(status, Some(0), "{words:?}: {told}");
        assert!(said.contains("3 of 3 answered"), "{words:?}: {said}");
    }
    let (status, said, _) = ask(&["ping", "--json", "--count", "1", SERVER]);
    let all = forms::lines("ping", &said);
    let last = all.last().unwrap();
    assert_eq!(
        (status, &last["received"]),
        (Some(0), &serde_json::json!(1))
    );
    let (status, _, told) = ask(&["ping", "--over", "9", SERVER]);
    assert_eq!(status, Some(7), "{told}");
    // Options that contradict those of the running `up` are refused.
    for words in [
        &["ping", "--apn", "other", SERVER][..],
        &["resolve", "--ip-type", "ipv4", "test.uwwan"],
        &["ping", "--knob", "ipv6=off", SERVER],
    ] {
        let (status, said, told) = ask(words);
        assert_eq!((status, said.as_str()), (Some(2), ""), "{words:?}: {told}");
        assert!(told.contains("uwwan up runs the modem"), "{told}");
    }
    up.up.down();

    // Without a running `up`, a modem is brought up for the command, and released.
    let base = tempfile::tempdir().unwrap();
    let own = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        alone(&mut command);
        command
            .args(words)
            .args(["--device", "emulator", "--settle", "0.2"]);
        command.env("UWWAN_RUNTIME_DIR", base.path());
        command.env("UWWAN_STATE_DIR", base.path());
        let output = command.output().unwrap();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (status, said, told) = own(&["ping", "--interval", "0.01", SERVER]);
    assert_eq!(status, Some(0), "{told}");
    assert!(said.contains("3 of 3 answered"), "{said}");
    let (status, said, told) = own(&["resolve", "ipv4.test.uwwan"]);
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "198.51.100.1\n"),
        "{told}"
    );
    // A configuration for an interface of this machine works as well.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("modem.toml");
    std::fs::write(&file, "route = \"default\"\nmetrics = \"127.0.0.1:0\"\n").unwrap();
    let file = file.to_str().unwrap();
    let (status, said, told) = own(&["ping", "--interval", "0.01", "--config", file, SERVER]);
    assert_eq!(status, Some(0), "{told}");
    assert!(said.contains("3 of 3 answered"), "{said}");
    let (status, said, told) = own(&[
        "resolve",
        "test.uwwan",
        "--knob",
        "apn=right",
        "--apn",
        "wrong",
    ]);
    assert_eq!((status, said.as_str()), (Some(7), ""), "{told}");

    // A running `up` with an interface gives advice in its refusal.
    let up = Up::online(&[]);
    let output = up.ask(&["ping", SERVER]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("ping -I uwwan0"), "{told}");
}

#[test]
fn each_data_session_has_its_own_listeners() {
    let tcp = format!("0={SERVER}:80@3");
    let up = Userspace::start(&[
        "--session",
        "3:apn=b",
        "--socks",
        "0",
        "--socks",
        "0@3",
        "--forward",
        &tcp,
    ]);
    let status = up.up.until("session 3", |status| {
        status["sessions"][0]["online"] == true
    });
    let third = &status["sessions"][0];
    assert_eq!(third["addresses"]["ipv4"]["address"], "10.169.198.89");
    let told = third["interface"]["applied"].as_array().unwrap();
    let told = told.iter().map(|line| line.as_str().unwrap().to_owned());
    let behind = Userspace {
        told: told.collect(),
        up: up.up,
    };
    assert_eq!(behind.told.len(), 2, "{:?}", behind.told);
    let down = |status: &serde_json::Value, session: &str| {
        let traffic = status.pointer(session).unwrap();
        traffic["bytes"].as_u64().unwrap()
    };
    let mut first = connect(up.told[0]["SOCKS5 proxy at ".len()..].parse().unwrap());
    assert_eq!(ask_socks(&mut first, 1, SERVER, 80).0, 0);
    assert_eq!(download(&mut first, SERVER, 1_000_000), 1_000_000);
    let before = behind.up.status();
    assert!(
        down(&before, "/sessions/0/downlink") < 100_000,
        "{before:#}"
    );
    let mut stream = connect(behind.socks());
    assert_eq!(ask_socks(&mut stream, 1, "ipv4.test.uwwan", 80).0, 0);
    assert_eq!(download(&mut stream, SERVER, 1_000_000), 1_000_000);
    let mut stream = connect(behind.at("forwarded: TCP ", &format!(" to {SERVER}:80")));
    assert_eq!(download(&mut stream, SERVER, 1_000_000), 1_000_000);
    let after = behind.up.until("what session 3 has carried", |status| {
        down(status, "/sessions/0/downlink") > 2_000_000
    });
    assert!(down(&after, "/sessions/0/uplink") > 1_000, "{after:#}");
    behind.up.down();
}

/// Number of clients that can be served at a time (`userspace::flow::MOST`).
const PLACES: usize = 128;

/// Returns the largest amount of memory in bytes that an `up` and the processes it has started have
/// held so far.
fn most_memory(up: &Up) -> usize {
    let number = |status: &str, field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse::<usize>().ok())
    };
    let mut family = vec![up.child.id() as usize];
    let mut kib = 0;
    let mut all: Vec<String> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("status")).ok())
        .collect();
    // A process has a higher number than the one that has started it, unless the numbers have wrapped.
    all.sort_by_key(|status| number(status, "Pid:"));
    for status in &all {
        let (own, parent) = (number(status, "Pid:"), number(status, "PPid:"));
        let (Some(own), Some(parent)) = (own, parent) else {
            continue;
        };
        if family.contains(&parent) || family.contains(&own) {
            family.push(own);
            kib += number(status, "VmHWM:").unwrap_or_default();
        }
    }
    assert!(
        kib > 1024,
        "the processes of {} are not found",
        up.child.id()
    );
    kib << 10
}

/// Returns another client of a SOCKS proxy if it is served.
fn served(at: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect(at);
    stream.write_all(&[5, 1, 0]).ok()?;
    matches!(stream.read(&mut [0; 2]), Ok(2)).then_some(stream)
}

#[test]
fn ten_thousand_silent_clients_keep_nobody_out() {
    let (now, most) = (rustix::process::Resource::Nofile, 10_000);
    let mut limit = rustix::process::getrlimit(now);
    limit.current = limit.maximum;
    rustix::process::setrlimit(now, limit).unwrap();
    let up = Userspace::start(&["--socks", "0"]);
    // A client with an open flow does not make room.
    let mut owner = connect(up.socks());
    assert_eq!(ask_socks(&mut owner, 1, SERVER, 80).0, 0);
    // Each hundredth client sends something, so that no more connect than are accepted: a connection
    // beyond the listener's queue is retried only after a second.
    let silent = (1..=most).map(|number| {
        let mut stream = connect(up.socks());
        if number % 100 == 0 {
            let _ = stream.write_all(&[5, 1, 0]);
            let _ = stream.read(&mut [0; 2]);
        }
        stream
    });
    let silent: Vec<TcpStream> = silent.collect();
    let deadline = Instant::now() + PATIENCE;
    let mut new = loop {
        if let Some(stream) = served(up.socks()) {
            break stream;
        }
        assert!(Instant::now() < deadline, "silent clients keep others out");
    };
    assert_eq!(request(&mut new, 1, SERVER, 80).0, 0);
    assert_eq!(download(&mut new, SERVER, 1_000_000), 1_000_000);
    assert_eq!(download(&mut owner, SERVER, 1_000_000), 1_000_000);
    // At most as many clients as there are places wait to be served, the others were sent away.
    let waits = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream = stream;
        matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    while silent.iter().filter(|stream| waits(stream)).count() > PLACES {
        assert!(Instant::now() < deadline, "{most} clients are served");
    }
    let most = most_memory(&up.up);
    assert!(most < 120 << 20, "{} MiB", most >> 20);
    up.up.down();
}

#[test]
fn clients_that_read_nothing_hold_a_bounded_memory_and_nobody_up() {
    let up = Userspace::start(&["--socks", "0"]);
    let request = format!("GET /bytes/100000000000 HTTP/1.0\r\nHost: {SERVER}\r\n\r\n");
    let mut slow = Vec::new();
    for number in 0..12 {
        let mut stream = connect(up.socks());
        assert_eq!(ask_socks(&mut stream, 1, SERVER, 80).0, 0, "{number}");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        slow.push(stream);
    }
    let mut quick = connect(up.socks());
    assert_eq!(ask_socks(&mut quick, 1, SERVER, 80).0, 0);
    assert_eq!(download(&mut quick, SERVER, 3_000_000), 3_000_000);
    // Each flow has a buffer of a megabyte in the stack, and as much with the server, which is in this
    // process too.
    let most = most_memory(&up.up);
    assert!(most < 160 << 20, "{} MiB", most >> 20);
    // Half of the clients vanish without a word, half close their sending half. Neither delays the
    // end.
    for (number, stream) in slow.drain(..).enumerate() {
        if number % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
    }
    up.up.down();
}

/// Returns a flow over which more bytes come than a test waits for, after some have come.
fn endless(up: &Userspace) -> TcpStream {
    let mut flow = connect(up.socks());
    assert_eq!(ask_socks(&mut flow, 1, SERVER, 80).0, 0);
    let request = format!("GET /bytes/100000000000 HTTP/1.0\r\nHost: {SERVER}\r\n\r\n");
    flow.write_all(request.as_bytes()).unwrap();
    flow.read_exact(&mut [0; 100_000]).unwrap();
    flow
}

/// Checks that a further flow works at once.
fn new_flows_work(up: &Userspace) {
    let mut new = connect(up.socks());
    assert_eq!(ask_socks(&mut new, 1, SERVER, 80).0, 0);
    assert_eq!(download(&mut new, SERVER, 1_000_000), 1_000_000);
}

#[test]
fn after_a_reset_new_flows_work_and_old_ones_end() {
    let up = Userspace::start(&["--socks", "0"]);
    let mut old = endless(&up);
    succeeds(&up.up.ask(&["reset", "--force"]));
    up.up.until("the reset", |status| status["online"] == false);
    up.up
        .until("online again", |status| status["online"] == true);
    new_flows_work(&up);
    // The old flow continues, or ends with an error: the address may have stayed the same.
    let mut piece = [0; 65_536];
    match old.read(&mut piece) {
        Ok(length) => assert!(length > 0, "it looks as if all had come"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    up.up.down();
}

#[test]
fn an_old_flow_ends_clearly_where_the_address_has_changed() {
    let up = Userspace::start(&["--socks", "0"]);
    let mut old = endless(&up);
    succeeds(&up.up.ask(&[
        "emulate",
        "set",
        "ipv4_address=10.20.30.41",
        "ipv4_gateway=10.20.30.42",
    ]));
    succeeds(&up.up.ask(&["reset", "--force"]));
    up.up.until("online with another address", |status| {
        let address = &status["ip"]["ipv4"]["address"];
        status["online"] == true && address == "10.20.30.41"
    });
    new_flows_work(&up);
    let mut piece = [0; 65_536];
    let end = loop {
        match old.read(&mut piece) {
            Ok(0) => panic!("it looks as if all had come"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    up.up.down();
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (options, named) in [
        (&["--socks", "1080"][..], "--socks"),
        (&["--net", "userspace", "--route", "default"], "--route"),
        (
            &["--net", "userspace", "--session", "3:route=default"],
            "--route",
        ),
        (&["--net", "userspace", "--socks", "0@3"], "--session 3:apn"),
        (&["--net", "userspace", "--tun-name", "wwan0"], "--tun-name"),
    ] {
        let base = tempfile::tempdir().unwrap();
        let mut command = crate::running::emulated(base.path());
        let output = command.args(options).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {told}");
        assert!(told.contains(named), "{told}");
    }
    // The port is in use.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let base = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    alone(&mut command);
    let output = command
        .args([
            "up",
            "--device",
            "emulator",
            "--net",
            "userspace",
            "--socks",
            &at,
        ])
        .env("UWWAN_RUNTIME_DIR", base.path())
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{told}");
    assert!(
        told.contains(&at) && told.contains("another port"),
        "{told}"
    );
}
