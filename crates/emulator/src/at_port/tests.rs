use std::time::Instant;

use super::state::RESET_DELAY;
use super::*;
use crate::descriptors::Presented;
use crate::firmware::{Firmware, Persistent};
use crate::knobs::Knobs;
use crate::rules::Running;

/// Ports of a configuration with a firmware behind them.
struct Bench {
    ports: Vec<Port>,
    state: AtState,
    firmware: Firmware,
    knobs: Knobs,
    rules: Running,
    now: Instant,
    commands: u64,
}

/// Returns the ports of a configuration of the lt4132.
fn ports(configuration: u8) -> Vec<Port> {
    let presented = Presented::new(&Knobs::default(), None, &Default::default());
    let configuration = presented.configuration(configuration).unwrap();
    Port::of(&configuration.functions.serial)
}

impl Bench {
    fn new(configuration: u8, knobs: &str) -> Self {
        let knobs: Knobs = knobs.parse().unwrap();
        let now = Instant::now();
        Self {
            ports: ports(configuration),
            state: AtState::new(&knobs, now),
            firmware: Firmware::boot(Persistent::new(&knobs), &knobs, now),
            knobs,
            rules: Running::new(Vec::new(), now),
            now,
            commands: 0,
        }
    }

    /// Returns the ports, and everything that their commands can reach.
    fn parts(&mut self) -> (&mut Vec<Port>, AtContext<'_>) {
        let context = AtContext {
            state: &mut self.state,
            firmware: &mut self.firmware,
            knobs: &self.knobs,
            rules: &mut self.rules,
            now: self.now,
            commands: &mut self.commands,
        };
        (&mut self.ports, context)
    }

    fn say_to(&mut self, index: usize, text: &str) -> String {
        let (ports, mut context) = self.parts();
        write(&mut ports[index], text.as_bytes(), &mut context);
        self.hear(index)
    }

    fn hear(&mut self, index: usize) -> String {
        String::from_utf8(self.ports[index].output.drain(..).collect()).unwrap()
    }

    /// Sends a line to a port without echo, and returns the answer.
    fn ask(&mut self, text: &str) -> String {
        self.ports[0].echo = false;
        self.say_to(0, &format!("{text}\r"))
    }
}

fn gps(knobs: &str) -> Bench {
    Bench::new(3, knobs)
}

#[test]
fn ports_are_those_of_the_table() {
    let kinds = |configuration: u8| -> Vec<(u8, Kind, u8, u8)> {
        ports(configuration)
            .iter()
            .map(|port| (port.interface, port.kind, port.bulk_in, port.bulk_out))
            .collect()
    };
    assert_eq!(kinds(3), [(2, Kind::Gps, 0x83, 2)]);
    assert_eq!(
        kinds(2),
        [
            (2, Kind::Modem, 0x83, 2),
            (3, Kind::Silent, 0x85, 3),
            (4, Kind::PcUi, 0x86, 4),
            (5, Kind::Gps, 0x87, 5),
            (6, Kind::Silent, 0x88, 6),
        ]
    );
    assert_eq!(kinds(1).len(), 5);
}

#[test]
fn echo_and_framing() {
    let mut bench = gps("");
    assert_eq!(bench.say_to(0, "AT\r"), "AT\r\r\nOK\r\n");
    assert_eq!(bench.say_to(0, "ATE0\r"), "ATE0\r\r\nOK\r\n");
    assert_eq!(bench.say_to(0, "at\r\n"), "\r\nOK\r\n");
    assert_eq!(bench.say_to(0, "nonsense\r"), "");
    assert_eq!(bench.say_to(0, "ATQ0 V1 E1 S0=0\r"), "\r\nOK\r\n");
    assert_eq!(bench.say_to(0, "A/\r"), "A/\r\r\nOK\r\n");
    assert_eq!(bench.ask("ATV0"), "0\r");
    assert_eq!(bench.ask("ATV1"), "\r\nOK\r\n");
    assert_eq!(bench.ask("ATQ1"), "");
    assert_eq!(bench.ask("ATZ"), "\r\nOK\r\n");
    assert_eq!(
        bench.ask(&format!("AT+{}", "X".repeat(5000))),
        "\r\nERROR\r\n"
    );
}

#[test]
fn identity_is_that_of_the_transcript() {
    let mut bench = gps("");
    let answer = bench.ask("ATI");
    assert!(answer.starts_with("\r\nManufacturer: Huawei Technologies Co., Ltd.\r\nModel: ME906s-158\r\nRevision: 11.617.13.00.00\r\nIMEI: "));
    assert!(answer.ends_with("\r\n+GCAP: +CGSM,+DS,+ES\r\n\r\nOK\r\n"));
    assert_eq!(bench.ask("AT+CGMM"), "\r\nME906s-158\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CPIN?"), "\r\n+CPIN: READY\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CREG?"), "\r\n+CREG: 0,1\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CSQ"), "\r\n+CSQ: 21,99\r\n\r\nOK\r\n");
}

#[test]
fn the_unlock_of_the_blog_post() {
    let mut bench = gps("");
    assert_eq!(bench.ask("AT^IPV6CAP?"), "\r\n^IPV6CAP: 1\r\n\r\nOK\r\n");
    assert_eq!(
        bench.ask("AT+CGDCONT=?"),
        "\r\n+CGDCONT: (0-11),\"IP\",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)\r\n\r\nOK\r\n"
    );
    assert_eq!(bench.ask("AT^IPV6CAP=7"), "\r\nERROR\r\n");
    assert_eq!(bench.ask("AT^PLMNLIST=1,\"99999\",\"24201\""), "\r\nOK\r\n");
    assert_eq!(
        bench.ask("AT^PLMNLIST=\"99999\""),
        "\r\n^PLMNLIST: \"99999\",24491,24001,23820,24201\r\n\r\nOK\r\n"
    );
    assert_eq!(bench.ask("AT^IPV6CAP?"), "\r\n^IPV6CAP: 1\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT^RESET"), "\r\nOK\r\n");
    assert!(!bench.state.take_reset(bench.now));
    assert!(bench.state.take_reset(bench.now + RESET_DELAY));
    bench.firmware = Firmware::boot(bench.firmware.persistent.clone(), &bench.knobs, bench.now);
    assert_eq!(bench.ask("AT^IPV6CAP?"), "\r\n^IPV6CAP: 7\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CGDCONT=?").matches("+CGDCONT:").count(), 3);
}

#[test]
fn errors_have_their_forms() {
    let mut bench = gps("sim=absent");
    assert_eq!(bench.ask("AT+CPIN?"), "\r\nERROR\r\n");
    assert_eq!(bench.ask("AT+CMEE=1;+CIMI"), "\r\n+CME ERROR: 10\r\n");
    assert_eq!(
        bench.ask("AT+CMEE=2;+CIMI"),
        "\r\n+CME ERROR: SIM not inserted\r\n"
    );
    assert_eq!(bench.ask("AT^NONSENSE"), "\r\nCOMMAND NOT SUPPORT\r\n");
    assert_eq!(bench.ask("AT+NONSENSE?"), "\r\nERROR\r\n");
    assert_eq!(bench.ask("ATD*99#"), "\r\nNO CARRIER\r\n");
    let mut bench = Bench::new(2, "");
    bench.ports[2].echo = false;
    assert_eq!(bench.say_to(2, "ATD*99#\r"), "\r\nERROR\r\n");
    assert_eq!(bench.say_to(1, "AT\r"), "");
}

#[test]
fn commands_in_a_row_answer_in_order() {
    let mut bench = gps("");
    assert_eq!(
        bench.ask("AT+COPS=3,0;+COPS?;+COPS=3,2;+COPS?"),
        "\r\n+COPS: 0,0,\"Telenor\",7\r\n\r\n+COPS: 0,2,\"24201\",7\r\n\r\nOK\r\n"
    );
}

impl Bench {
    /// Lets the URCs of a change of the firmware be sent.
    fn announce(&mut self, change: Change) {
        let (ports, context) = self.parts();
        announce(ports, change, &context);
    }

    /// Lets the URCs of all changes of the firmware be sent, and returns what PCUI of configuration
    /// 2 has sent.
    fn told(&mut self) -> String {
        for change in self.firmware.take_changes() {
            self.announce(change);
        }
        self.hear(2)
    }
}

#[test]
fn a_call_of_one_family() {
    let mut bench = Bench::new(2, "");
    bench.told();
    assert_eq!(bench.ask("AT^DHCP?"), "\r\nERROR\r\n");
    assert_eq!(
        bench.ask("AT^NDISDUP=1,1,\"telenor.smart\",\"me\",\"secret\",2"),
        "\r\nOK\r\n"
    );
    assert_eq!(bench.told(), "\r\n^NDISSTAT: 1,,,\"IPV4\"\r\n");
    assert_eq!(
        bench.ask("AT^DHCP?"),
        "\r\n^DHCP: 4DC6A90A,FCFFFFFF,4EC6A90A,4EC6A90A,0470D5C1,C60F4382,150000000,50000000\r\n\r\nOK\r\n"
    );
    assert_eq!(bench.ask("AT^DHCPV6?"), "\r\nERROR\r\n");
    assert!(
        bench
            .ask("AT+CGPADDR")
            .contains("+CGPADDR: 1,\"10.169.198.77\"")
    );
    assert_eq!(bench.ask("AT^NDISDUP=1,0"), "\r\nOK\r\n");
    assert_eq!(bench.told(), "\r\n^NDISSTAT: 0,,,\"IPV4\"\r\n");
    for wrong in ["1", "1,2", "x,1", "1,1,\"a\",\"\",\"\",9"] {
        assert!(bench.ask(&format!("AT^NDISDUP={wrong}")).contains("ERROR"));
    }
}

#[test]
fn a_call_of_both_families() {
    let mut bench = Bench::new(2, "ipv6=on");
    bench.told();
    bench.ask("AT+CGDCONT=1,\"IPV4V6\",\"telenor.smart\"");
    assert_eq!(bench.ask("AT^NDISDUP=1,1"), "\r\nOK\r\n");
    assert_eq!(
        bench.told(),
        "\r\n^NDISSTAT: 1,,,\"IPV4\"\r\n\r\n^NDISSTAT: 1,,,\"IPV6\"\r\n"
    );
    assert!(
        bench
            .ask("AT^NDISSTATQRY?")
            .contains("1,,,\"IPV4\",1,,,\"IPV6\"")
    );
    assert!(bench.ask("AT^DHCPV6?").contains(
        "^DHCPV6: 2a02:2121:2c4:7105:5a2c:80ff:fe13:9208,64,::,::,2001:4600:4:fff::52,2001:4600:4:1fff::52,"
    ));
}

#[test]
fn a_call_that_fails_or_takes_its_time() {
    let mut bench = Bench::new(2, "apn=internet");
    bench.told();
    assert_eq!(bench.ask("AT^NDISDUP=1,1,\"wrong\""), "\r\nOK\r\n");
    assert_eq!(bench.told(), "\r\n^NDISSTAT: 0,27,,\"IPV4\"\r\n");

    let mut bench = Bench::new(2, "connect_ms=500,ndisstat_short=on,dhcp_command=zeros");
    bench.told();
    bench.ask("AT^NDISDUP=1,1");
    assert_eq!(bench.told(), "");
    assert!(bench.ask("AT^NDISSTATQRY?").contains("^NDISSTATQry:2"));
    let due = bench.firmware.deadline().unwrap();
    bench.firmware.advance(&bench.knobs, due);
    assert_eq!(bench.told(), "\r\n^NDISSTAT:1\r\n");
    assert!(bench.ask("AT^NDISSTATQRY?").contains("^NDISSTATQry:1"));
    assert!(bench.ask("AT^DHCP?").contains("^DHCP: 0,0,0,0,0,0,"));

    let mut bench = Bench::new(2, "dial=nothing");
    bench.told();
    assert_eq!(bench.ask("AT^NDISDUP=1,1"), "\r\nOK\r\n");
    assert_eq!(bench.told(), "");
    assert!(bench.ask("AT^NDISSTATQRY?").contains("0,,,\"IPV4\""));
    let mut bench = Bench::new(2, "sim=absent");
    assert_eq!(
        bench.ask("AT+CMEE=1;^NDISDUP=1,1"),
        "\r\n+CME ERROR: 10\r\n"
    );
}

#[test]
fn nmea_comes_when_asked_for() {
    let mut bench = gps("");
    assert_eq!(bench.ask("AT^WPDGP"), "\r\nOK\r\n");
    let (ports, mut context) = bench.parts();
    for _ in 0..1000 {
        advance(ports, &mut context);
        context.now += NMEA_PERIOD;
    }
    assert!(bench.ports[0].output.len() < 2 * MAX_UNSOLICITED);
    assert!(bench.hear(0).starts_with("$GPGGA,"));
}

#[test]
fn bytes_of_all_kinds_do_no_harm() {
    let mut bench = gps("");
    for byte in 0..=255u8 {
        let noise: Vec<u8> = vec![b'A', b'T', byte, byte, b'=', b'"', byte, b'\r'];
        let (ports, mut context) = bench.parts();
        write(&mut ports[0], &noise, &mut context);
        ports[0].output.clear();
    }
}

#[test]
fn short_messages_are_listed_read_sent_and_deleted() {
    let mut bench = gps("");
    assert_eq!(
        bench.ask("AT+CMGF=0;+CPMS=\"SM\""),
        "\r\n+CPMS: 4,255,4,255,4,255\r\n\r\nOK\r\n"
    );
    let all = bench.ask("AT+CMGL=4");
    let lines: Vec<&str> = all.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 2 * 4 + 1);
    assert!(lines[0].starts_with("+CMGL: 1,1,,") && lines[4].starts_with("+CMGL: 3,0,,"));
    // The length counts from behind the message centre's address.
    let length: usize = lines[0].rsplit(',').next().unwrap().parse().unwrap();
    let centre = 1 + usize::from_str_radix(&lines[1][..2], 16).unwrap();
    assert_eq!(lines[1].len(), 2 * (centre + length));
    // A message that has been listed is not new any more.
    assert_eq!(bench.ask("AT+CMGL"), "\r\nOK\r\n");
    assert!(bench.ask("AT+CMGR=1").contains(lines[1]));
    assert!(bench.ask("AT+CMGR=9").contains("+CMS ERROR: 321"));
    assert_eq!(
        bench.ask("AT+CSCA?"),
        "\r\n+CSCA: \"+4790002100\",145\r\n\r\nOK\r\n"
    );
    // The message "hi" goes to the card's own number, and arrives at once.
    assert_eq!(bench.ask("AT+CNMI=2,1"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CMGS=14"), "\r\n> ");
    let sent = bench.say_to(0, "0001000A9174090000100000 02E834\u{1a}");
    assert_eq!(sent, "\r\n+CMGS: 1\r\n\r\nOK\r\n");
    let changes = bench.firmware.take_changes();
    assert!(changes.contains(&Change::Message(5)));
    bench.announce(Change::Message(5));
    assert_eq!(bench.hear(0), "\r\n+CMTI: \"SM\",5\r\n");
    assert!(bench.ask("AT+CMGL=0").contains("+CMGL: 5,0,,"));
    // The PDUs have another length than announced, are no PDU, and are abandoned.
    for (entered, answer) in [
        ("0001000A91740900001000\u{1a}", "\r\n+CMS ERROR: 304\r\n"),
        ("zz\u{1a}", "\r\n+CMS ERROR: 304\r\n"),
        ("00\u{1b}", "\r\nOK\r\n"),
        (
            &format!("{}\u{1a}", "0".repeat(5000)),
            "\r\n+CMS ERROR: 304\r\n",
        ),
    ] {
        assert_eq!(bench.ask("AT+CMGS=14"), "\r\n> ");
        assert_eq!(bench.say_to(0, entered), answer);
    }
    assert_eq!(bench.ask("AT+CMGD=5"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CMGD=1,4"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CMGL=4"), "\r\nOK\r\n");
}

#[test]
fn short_messages_need_the_sim() {
    let mut bench = gps("pin=1234");
    assert_eq!(bench.ask("AT+CMEE=1"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CMGL=4"), "\r\n+CME ERROR: 11\r\n");
}

#[test]
fn a_ussd_text_is_answered_later_in_its_form() {
    let mut bench = Bench::new(2, "");
    let wait = |bench: &mut Bench| {
        bench.now += std::time::Duration::from_millis(200);
        let (ports, mut context) = bench.parts();
        super::advance(ports, &mut context);
        bench.hear(0)
    };
    assert_eq!(bench.ask("AT+CUSD?"), "\r\n+CUSD: 0\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT^USSDMODE?"), "\r\n^USSDMODE: 1\r\n\r\nOK\r\n");
    bench.ask("AT+CMEE=1;+CNMI=0;^CURC=0");
    // As an E3372 refuses it.
    assert_eq!(
        bench.ask("AT+CUSD=1,\"*101#\",15"),
        "\r\n+CME ERROR: 304\r\n"
    );
    // *101# packed, as a forum has *144# ("AA188D3602").
    assert_eq!(bench.ask("AT+CUSD=1,\"AA182C3602\",15"), "\r\nOK\r\n");
    let told = wait(&mut bench);
    assert!(told.starts_with("\r\n+CUSD: 1,\"31"), "{told}");
    assert!(told.ends_with("\",15\r\n"), "{told}");
    assert_eq!(bench.ask("AT+CUSD=2"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT^USSDMODE=0"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CUSD=1,\"*104#\",15"), "\r\nOK\r\n");
    assert_eq!(
        wait(&mut bench),
        "\r\n+CUSD: 0,\"You will be asked.\",15\r\n"
    );
    assert_eq!(
        wait(&mut bench),
        "\r\n+CUSD: 1,\"1 Balance\r\n2 Data left\r\n3 More\",15\r\n"
    );
    bench.ask("AT+CUSD=1,\"2\",15");
    assert_eq!(wait(&mut bench), "\r\n+CUSD: 0,\"1024 MB left\",15\r\n");
    // Who has not asked to be told is not told.
    bench.ask("AT+CUSD=0,\"*100#\",15");
    assert_eq!(wait(&mut bench), "");
}
