//! A session beside session 0: it rests after a failure, and tries again by itself.

use std::net::Ipv4Addr;

use super::*;

struct Bench {
    session: DataSession,
    now: Instant,
}

impl Bench {
    fn new(ip_type: IpType) -> Self {
        let options = SessionOptions {
            id: 3,
            apn: "mms".into(),
            ip_type,
            ..SessionOptions::default()
        };
        let now = Instant::now();
        Self {
            session: DataSession::new(options, LossPolicy::Rest, now),
            now,
        }
    }

    fn started(ip_type: IpType) -> Self {
        let mut bench = Self::new(ip_type);
        bench.start();
        assert_eq!(bench.asked(), SessionAsk::State);
        bench.done(
            SessionAsk::State,
            Status::NONE,
            &connect(ActivationState::DEACTIVATED, NwError::NONE),
        );
        bench
    }

    /// Returns a session 3 that is up.
    fn up() -> Self {
        let mut bench = Self::started(IpType::Ipv4);
        assert_eq!(bench.asked(), SessionAsk::Activate);
        bench.done(
            SessionAsk::Activate,
            Status::NONE,
            &connect(ActivationState::ACTIVATED, NwError::NONE),
        );
        assert_eq!(bench.asked(), SessionAsk::Addresses);
        bench.done(SessionAsk::Addresses, Status::NONE, &given().encode());
        assert!(matches!(bench.step(), Step::Host(_)));
        bench.session.host(bench.now, Ok(Interface::default()));
        assert!(matches!(bench.step(), Step::Data(_)));
        bench.session.data(bench.now, Ok(String::new()));
        assert!(matches!(bench.change(), SessionChange::Online { .. }));
        bench
    }

    fn start(&mut self) {
        self.start_on(8);
    }

    /// Starts on a modem that has `max_sessions` data sessions.
    fn start_on(&mut self, max_sessions: u32) {
        let facts = ModemFacts {
            max_sessions,
            ..facts(self.now)
        };
        self.session.start(self.now, Rung::Connect, facts);
    }

    /// Returns the next step that is no notice.
    fn step(&mut self) -> Step {
        loop {
            match self.session.next_step().expect("nothing to do") {
                Step::Tell(Event::Notice { text }) => {
                    assert!(text.starts_with("session 3: "), "{text}");
                }
                step => return step,
            }
        }
    }

    fn asked(&mut self) -> SessionAsk {
        match self.step() {
            Step::Command { ask, .. } => ask,
            other => panic!("{other:?}"),
        }
    }

    fn begun(&mut self) -> ConnectSet {
        match self.step() {
            Step::Command {
                ask: SessionAsk::Activate,
                command,
                ..
            } => ConnectSet::decode(&command.info).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn change(&mut self) -> SessionChange {
        match self.step() {
            Step::Tell(Event::Session(SessionEvent { session: 3, change })) => change,
            other => panic!("{other:?}"),
        }
    }

    /// Asserts that the session is off the data path, and returns the time until it is tried again,
    /// in seconds.
    fn failed(&mut self) -> f64 {
        assert_eq!(self.step(), Step::Off);
        match self.change() {
            SessionChange::Offline {
                retry_seconds: Some(seconds),
                ..
            } => seconds,
            other => panic!("{other:?}"),
        }
    }

    fn done(&mut self, ask: SessionAsk, status: Status, info: &[u8]) {
        let info = info.to_vec();
        self.session
            .answer(self.now, ask, Outcome::Done { status, info });
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.session.timeout(self.now);
    }
}

fn connect(state: ActivationState, cause: NwError) -> Vec<u8> {
    super::connect(3, state, cause)
}

fn given() -> IpConfiguration {
    IpConfiguration {
        session_id: 3,
        ipv4_address: vec![Ipv4Element {
            on_link_prefix_length: 30,
            ipv4_address: Ipv4Addr::new(10, 0, 0, 1),
        }],
        ..IpConfiguration::default()
    }
}

#[test]
fn a_session_comes_up_with_its_own_choices() {
    let mut bench = Bench::started(IpType::Ipv4);
    let set = bench.begun();
    assert_eq!((set.session_id, &set.access_string[..]), (3, "mms"));
    assert_eq!(set.ip_type, ContextIpType::IPV4);
    let bench = Bench::up();
    let status = bench.session.status();
    assert!(status.online && status.addresses.is_some());
    assert_eq!(bench.session.poll_timeout(), None, "nothing to wake up for");
}

#[test]
fn one_left_active_is_ended_first() {
    let mut bench = Bench::new(IpType::Ipv4);
    bench.start();
    assert_eq!(bench.asked(), SessionAsk::State);
    bench.done(
        SessionAsk::State,
        Status::NONE,
        &connect(ActivationState::ACTIVATED, NwError::NONE),
    );
    assert_eq!(bench.asked(), SessionAsk::Deactivate);
    bench.done(SessionAsk::Deactivate, Status::CONTEXT_NOT_ACTIVATED, &[]);
    assert_eq!(bench.asked(), SessionAsk::Activate);
}

#[test]
fn families_are_tried_one_by_one() {
    let mut bench = Bench::started(IpType::Ipv4v6);
    assert_eq!(bench.begun().ip_type, ContextIpType::IPV4V6);
    bench.done(
        SessionAsk::Activate,
        Status::FAILURE,
        &connect(
            ActivationState::DEACTIVATED,
            NwError::PDP_TYPE_IPV6_ONLY_ALLOWED,
        ),
    );
    assert_eq!(bench.begun().ip_type, ContextIpType::IPV6);
    bench.done(
        SessionAsk::Activate,
        Status::FAILURE,
        &connect(
            ActivationState::DEACTIVATED,
            NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED,
        ),
    );
    bench.failed();
}

#[test]
fn failures_are_tried_again_ever_more_slowly() {
    let mut bench = Bench::started(IpType::Ipv4);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(bench.asked(), SessionAsk::Activate);
        bench
            .session
            .answer(bench.now, SessionAsk::Activate, Outcome::NoAnswer);
        let pause = bench.failed();
        pauses.push(pause);
        bench.pass(pause - 0.5);
        assert!(bench.session.next_step().is_none());
        bench.pass(1.0);
        assert_eq!(bench.asked(), SessionAsk::State);
        bench
            .session
            .answer(bench.now, SessionAsk::State, Outcome::NoAnswer);
    }
    assert_eq!(
        pauses,
        [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
    );
}

#[test]
fn a_session_the_network_ends_comes_back() {
    let mut bench = Bench::up();
    // The end of another session does not concern this one.
    let other = ConnectInfo {
        session_id: 0,
        activation_state: ActivationState::DEACTIVATED,
        ..ConnectInfo::default()
    };
    bench
        .session
        .indication(bench.now, bc::CONNECT, &other.encode());
    assert!(bench.session.next_step().is_none());
    let ended = connect(ActivationState::DEACTIVATED, NwError::REGULAR_DEACTIVATION);
    bench.session.indication(bench.now, bc::CONNECT, &ended);
    let pause = bench.failed();
    assert!(!bench.session.status().online);
    bench.pass(pause);
    assert_eq!(bench.asked(), SessionAsk::State);
}

#[test]
fn new_addresses_change_the_host() {
    let mut bench = Bench::up();
    bench
        .session
        .indication(bench.now, bc::IP_CONFIGURATION, &given().encode());
    assert!(bench.session.next_step().is_none(), "the same");
    let mut other = given();
    other.ipv4_address[0].ipv4_address = Ipv4Addr::new(10, 0, 0, 5);
    bench
        .session
        .indication(bench.now, bc::IP_CONFIGURATION, &other.encode());
    assert!(matches!(bench.step(), Step::Host(_)));
}

#[test]
fn a_modem_that_goes_takes_it_along_and_brings_it_back() {
    let mut bench = Bench::up();
    bench.session.rest("the modem is gone");
    assert!(matches!(
        bench.change(),
        SessionChange::Offline {
            retry_seconds: None,
            ..
        }
    ));
    assert_eq!(bench.step(), Step::Off);
    bench.pass(1000.0);
    assert!(bench.session.next_step().is_none());
    bench.start();
    assert_eq!(bench.asked(), SessionAsk::State);
    // A session that stayed up over a loss of session 0 goes back onto the data path.
    let mut bench = Bench::up();
    bench.start();
    assert!(matches!(bench.step(), Step::Data(_)));
}

#[test]
fn a_number_the_modem_does_not_have_is_told() {
    let mut bench = Bench::new(IpType::Ipv4);
    bench.start_on(2);
    assert_eq!(bench.failed(), 300.0);
    assert!(bench.session.status().why.contains("2 sessions"));
}

#[test]
fn addresses_are_waited_for_and_not_for_ever() {
    let mut bench = Bench::started(IpType::Ipv4);
    assert_eq!(bench.asked(), SessionAsk::Activate);
    bench.done(
        SessionAsk::Activate,
        Status::NONE,
        &connect(ActivationState::ACTIVATED, NwError::NONE),
    );
    assert_eq!(bench.asked(), SessionAsk::Addresses);
    let none = IpConfiguration {
        session_id: 3,
        ..IpConfiguration::default()
    };
    bench.done(SessionAsk::Addresses, Status::NONE, &none.encode());
    bench.pass(2.0);
    assert_eq!(bench.asked(), SessionAsk::Addresses);
    bench.done(SessionAsk::Addresses, Status::NONE, &none.encode());
    bench.pass(30.0);
    bench.failed();
}

#[test]
fn hostile_answers_fail_and_are_tried_again() {
    for info in [&[][..], &[0xff; 3], &[0xff; 200]] {
        let mut bench = Bench::started(IpType::Ipv4v6);
        assert_eq!(bench.asked(), SessionAsk::Activate);
        bench.done(SessionAsk::Activate, Status::NONE, info);
        bench.failed();
        bench.session.indication(bench.now, bc::CONNECT, info);
        bench
            .session
            .indication(bench.now, bc::IP_CONFIGURATION, info);
        assert!(bench.session.next_step().is_none());
    }
}
