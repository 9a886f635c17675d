//! A driver with several data sessions on an emulated modem. The host ends are datagram sockets,
//! which are told apart by the interface names that were asked for.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use uwwan_modem::Options;
use uwwan_modem::options::SessionOptions;
use uwwan_modem::status::SessionStatus;
use uwwan_tests::bench::{self, echo_reply};

pub use uwwan_tests::bench::PATIENCE;

/// A driver on an emulated modem, with several data sessions.
pub struct Bench(bench::Bench);

impl Deref for Bench {
    type Target = bench::Bench;

    fn deref(&self) -> &bench::Bench {
        &self.0
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut bench::Bench {
        &mut self.0
    }
}

/// Returns options for a session beside session 0, whose interface is named after it.
pub fn session(id: u8) -> SessionOptions {
    SessionOptions {
        id,
        apn: format!("apn{id}"),
        tun_name: Some(format!("s{id}")),
        ..SessionOptions::default()
    }
}

/// Returns options that keep tests short, with these sessions beside session 0.
pub fn options(others: Vec<SessionOptions>) -> Options {
    let first = SessionOptions {
        tun_name: Some("s0".into()),
        ..SessionOptions::default()
    };
    Options {
        settle: Some(Duration::from_millis(60)),
        probe: false,
        sessions: [vec![first], others].concat(),
        ..Options::default()
    }
}

impl Bench {
    pub fn start(knobs: &str, options: Options) -> Self {
        Self(bench::Bench::start(knobs, options))
    }

    /// Waits until session 0 and these sessions are online.
    pub fn online(&mut self, sessions: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.handle.status();
            let up = |id: &u8| {
                let found = status.sessions.iter().find(|one| one.session == *id);
                found.is_some_and(|one| one.online)
            };
            if status.online && sessions.iter().all(up) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn session(&self, id: u8) -> SessionStatus {
        let status = self.handle.status();
        let found = status.sessions.into_iter().find(|one| one.session == id);
        found.expect("no such session")
    }

    /// Sends an echo request from a session's address; returns its number.
    pub fn send_echo(&mut self, id: u8, length: usize) -> u16 {
        let from = uwwan_emulator::far_side::v4(id).address;
        let host = self.sockets.named(&format!("s{id}"));
        self.send_echo_from(from, &host, length)
    }

    /// The number of the next echo answered on a session, which has to be for its address.
    pub fn answer(&self, id: u8, timeout: Duration) -> Option<u16> {
        let to = uwwan_emulator::far_side::v4(id).address.octets();
        let host = self.sockets.named(&format!("s{id}"));
        let deadline = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            let left = left.max(Duration::from_millis(1));
            host.set_read_timeout(Some(left)).unwrap();
            let Ok(length) = host.recv(&mut buffer) else {
                continue;
            };
            if let Some(number) = echo_reply(&buffer[..length]) {
                assert_eq!(buffer[16..20], to, "a datagram of another session");
                return Some(number);
            }
        }
    }

    /// Pings until one is answered, because after a change the first may be lost.
    pub fn ping_through(&mut self, id: u8) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sent = self.send_echo(id, 100);
            if self.answer(id, Duration::from_secs(1)) == Some(sent) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "nothing comes back on session {id}"
            );
        }
    }

    pub fn stop(self) {
        self.0.stop();
    }
}
