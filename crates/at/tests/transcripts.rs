//! The dialogue with an AT port, held against what modems of this family were seen to send.

use std::time::{Duration, Instant};

use uwwan_at::dialogue::{Command, CommandId, Dialogue, Done, Event, InvalidCommand, Refused};
use uwwan_at::failure::{Cme, Code, Failure};

struct Port {
    dialogue: Dialogue,
    now: Instant,
}

impl Port {
    fn new() -> Self {
        Self {
            dialogue: Dialogue::default(),
            now: Instant::now(),
        }
    }

    fn ask(&mut self, line: &str) -> CommandId {
        let command = Command::new(line).unwrap();
        self.dialogue.command(self.now, command).unwrap()
    }

    /// Returns what was sent since the last call, as text.
    fn sent(&mut self) -> String {
        let bytes: Vec<u8> = std::iter::from_fn(|| self.dialogue.poll_transmit())
            .flatten()
            .collect();
        String::from_utf8(bytes).unwrap()
    }

    fn say(&mut self, bytes: &str) {
        self.dialogue.receive(self.now, bytes.as_bytes());
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.dialogue.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.dialogue.poll_event()).collect()
    }

    /// What came by itself since the last call.
    fn unsolicited(&mut self) -> Vec<String> {
        let line = |event| match event {
            Event::Unsolicited(line) => line,
            other => panic!("{other:?}"),
        };
        self.events().into_iter().map(line).collect()
    }

    /// The one command that ended, with what came unsolicited beside it.
    fn done(&mut self) -> (Done, Vec<String>) {
        let mut done = None;
        let mut rest = Vec::new();
        for event in self.events() {
            match event {
                Event::Done(event) => assert!(done.replace(event).is_none(), "two commands ended"),
                Event::Unsolicited(line) | Event::Nmea(line) => rest.push(line),
            }
        }
        (done.expect("a command ended"), rest)
    }
}

/// Sends a command, receives the reply once whole and once byte by byte, and expects the same lines
/// both times.
fn exchange(line: &str, reply: &str) -> (Done, Vec<String>) {
    let mut whole = Port::new();
    whole.ask(line);
    assert_eq!(whole.sent(), format!("{line}\r"));
    whole.say(reply);
    let result = whole.done();

    let mut split = Port::new();
    split.ask(line);
    for byte in reply.bytes() {
        split.dialogue.receive(split.now, &[byte]);
    }
    let (done, rest) = split.done();
    assert_eq!(done.lines, result.0.lines);
    assert_eq!(done.result, result.0.result);
    assert_eq!(rest, result.1);
    result
}

fn lines(line: &str, reply: &str) -> Vec<String> {
    let (done, rest) = exchange(line, reply);
    assert_eq!(done.result, Ok(()), "{line}");
    assert_eq!(rest, [""; 0], "{line}");
    assert_eq!(done.command, line);
    done.lines
}

fn failure(line: &str, reply: &str) -> Failure {
    exchange(line, reply).0.result.unwrap_err()
}

#[test]
fn short_commands_with_and_without_echo() {
    assert_eq!(lines("AT+CFUN=1", "AT+CFUN=1\r\r\nOK\r\n"), [""; 0]);
    assert_eq!(lines("ATZ", "\r\nOK\r\n"), [""; 0]);
    assert_eq!(
        lines(
            "AT+CGDCONT=1,\"IP\",\"internet.t-mobile\"",
            "AT+CGDCONT=1,\"IP\",\"internet.t-mobile\"\r\r\nOK\r\n"
        ),
        [""; 0]
    );
    assert_eq!(
        lines("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
        ["+CPIN: READY"]
    );
}

#[test]
fn ati_with_its_blank_line() {
    let reply = "ATI\r\r\nManufacturer: Huawei Technologies Co., Ltd.\r\n\
        Model: ME906s-158\r\nRevision: 11.617.00.00.00\r\nIMEI: 860000000000000\r\n\
        +GCAP: +CGSM,+DS,+ES\r\n\r\nOK\r\n";
    let found = lines("ATI", reply);
    assert_eq!(found.len(), 5);
    assert_eq!(found[4], "+GCAP: +CGSM,+DS,+ES");
}

#[test]
fn ati_with_unsolicited_result_codes_in_the_middle() {
    let reply = "ATI\r\r\nManufacturer: Huawei\r\n\r\n^RSSI: 13\r\n\r\n\
        ^HCSQ: \"LTE\",35,29,21,26\r\nModel: ME906s-158\r\n\r\nOK\r\n";
    let (done, rest) = exchange("ATI", reply);
    assert_eq!(done.lines, ["Manufacturer: Huawei", "Model: ME906s-158"]);
    assert_eq!(rest, ["^RSSI: 13", "^HCSQ: \"LTE\",35,29,21,26"]);
}

#[test]
fn the_nine_profiles() {
    let reply = "AT^PLMNLIST?\r\r\n^PLMNLIST: \"00000\",00000,23106\r\n\
        ^PLMNLIST: \"20205\",26801,20205\r\n^PLMNLIST: \"99999\",24491,24001,23820\r\n\r\nOK\r\n";
    assert_eq!(lines("AT^PLMNLIST?", reply).len(), 3);
}

#[test]
fn an_answer_in_another_case() {
    assert_eq!(
        lines("AT^NDISSTATQRY?", "\r\n^NDISSTATQry:1\r\n\r\nOK\r\n"),
        ["^NDISSTATQry:1"]
    );
}

#[test]
fn concatenated_commands_answer_by_each_name() {
    let line = "AT+COPS=3,0;+COPS?;+CSQ";
    let reply = "\r\n+COPS: 0,0,\"Telenor\",7\r\n^MODE: 17\r\n\r\n+CSQ: 20,99\r\n\r\nOK\r\n";
    let (done, rest) = exchange(line, reply);
    assert_eq!(done.lines, ["+COPS: 0,0,\"Telenor\",7", "+CSQ: 20,99"]);
    assert_eq!(rest, ["^MODE: 17"]);
}

#[test]
fn every_refusal() {
    assert_eq!(
        failure("AT^IPV6CAP=7", "AT^IPV6CAP=7\r\r\nERROR\r\n"),
        Failure::Error
    );
    assert_eq!(
        failure("AT+CPIN?", "\r\n+CME ERROR: SIM not inserted\r\n"),
        Failure::Cme(Cme(Code::Text("SIM not inserted".to_owned())))
    );
    assert_eq!(
        failure("AT^NDISSTATQRY?", "\r\n+CME ERROR: 100\r\n"),
        Failure::Cme(Cme(Code::Number(100)))
    );
    assert!(matches!(
        failure("AT+CMGR=1", "\r\n+CMS ERROR: 321\r\n"),
        Failure::Cms(_)
    ));
    assert_eq!(
        failure("AT^FASTDORM?", "\r\nCOMMAND NOT SUPPORT\r\n"),
        Failure::NotSupported
    );
    assert_eq!(
        failure("AT+CSQ=1,2,3", "\r\nTOO MANY PARAMETERS\r\n"),
        Failure::TooManyParameters
    );
    assert_eq!(
        failure("ATD*99#", "ATD*99#\r\r\nNO CARRIER\r\n"),
        Failure::NoCarrier
    );
    assert_eq!(failure("ATD*99#", "\r\nERROR\r\n"), Failure::Error);
}

/// The end of a call elsewhere is not the result of a query.
#[test]
fn no_carrier_ends_only_dial_commands() {
    let (done, rest) = exchange("AT+CSQ", "\r\nNO CARRIER\r\n\r\n+CSQ: 9,99\r\n\r\nOK\r\n");
    assert_eq!(done.lines, ["+CSQ: 9,99"]);
    assert_eq!(rest, ["NO CARRIER"]);
    let (done, _) = exchange("ATD*99***1#", "\r\nCONNECT 21600000\r\n");
    assert_eq!(done.connect.as_deref(), Some("21600000"));
    assert_eq!(done.result, Ok(()));
}

#[test]
fn a_prompt_gets_its_text() {
    let mut port = Port::new();
    let command = Command::new("AT+CMGS=23")
        .unwrap()
        .with_text("0001000B91")
        .unwrap();
    port.dialogue.command(port.now, command).unwrap();
    assert_eq!(port.sent(), "AT+CMGS=23\r");
    port.say("AT+CMGS=23\r\r\n>");
    port.say(" ");
    assert_eq!(port.sent(), "0001000B91\x1a");
    port.say("0001000B91\x1a\r\n+CMGS: 4\r\n\r\nOK\r\n");
    let (done, rest) = port.done();
    assert_eq!(done.lines, ["+CMGS: 4"]);
    assert_eq!(rest, [""; 0]);
}

#[test]
fn a_prompt_nobody_expected_is_abandoned() {
    let mut port = Port::new();
    port.ask("AT+CMGS=23");
    port.sent();
    port.say("\r\n> ");
    assert_eq!(port.sent(), "\x1b");
    port.say("\r\nOK\r\n");
    assert_eq!(port.done().0.result, Ok(()));
}

#[test]
fn nmea_on_the_same_pipe() {
    let sentence = "$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76";
    let reply = format!("AT+CSQ\r{sentence}\r\n\r\n+CSQ: 9,99\r\n{sentence}\r\n\r\nOK\r\n");
    let mut port = Port::new();
    port.ask("AT+CSQ");
    port.say(&reply);
    let events = port.events();
    let nmea = Event::Nmea(sentence.to_owned());
    assert_eq!(events.iter().filter(|event| **event == nmea).count(), 2);
    assert!(matches!(&events[2], Event::Done(done) if done.lines == ["+CSQ: 9,99"]));
}

#[test]
fn unsolicited_result_codes_while_nothing_runs() {
    let mut port = Port::new();
    port.say("\r\n^SYSSTART\r\n\r\n+CREG: 1\r\n\r\n^NWTIME: 14/08/05,04:00:21+40,00\r\n");
    let expected = ["^SYSSTART", "+CREG: 1", "^NWTIME: 14/08/05,04:00:21+40,00"];
    assert_eq!(
        port.events(),
        expected.map(|line| Event::Unsolicited(line.to_owned()))
    );
    // Results of another program's command are ignored.
    port.say("\r\nOK\r\n\r\nERROR\r\n");
    assert_eq!(port.events(), []);
}

#[test]
fn commands_wait_for_each_other() {
    let mut port = Port::new();
    let first = port.ask("AT+CSQ");
    let second = port.ask("AT+CPIN?");
    let third = port.ask("ATI");
    assert_eq!(port.sent(), "AT+CSQ\r");
    assert!(!port.dialogue.cancel(first), "it runs");
    assert!(port.dialogue.cancel(third));
    port.say("\r\n+CSQ: 9,99\r\n\r\nOK\r\n");
    assert_eq!(port.sent(), "AT+CPIN?\r");
    port.say("\r\n+CPIN: READY\r\n\r\nOK\r\n");
    let ended: Vec<_> = port
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Done(done) => (done.id, done.result),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        ended,
        [
            (third, Err(Failure::Cancelled)),
            (first, Ok(())),
            (second, Ok(()))
        ]
    );
    assert!(!port.dialogue.is_busy());
}

#[test]
fn a_silent_port() {
    let mut port = Port::new();
    port.ask("AT");
    port.ask("ATI");
    assert_eq!(port.sent(), "AT\r");
    let deadline = port.dialogue.poll_timeout().unwrap();
    assert_eq!(deadline - port.now, Duration::from_secs(10));
    port.pass(9);
    assert_eq!(port.events(), []);
    port.pass(1);
    let timeout = Failure::Timeout(Duration::from_secs(10));
    assert_eq!(port.done().0.result, Err(timeout));
    assert_eq!(port.dialogue.unanswered(), 1);
    // The next command waits a moment for a late answer and is then sent.
    assert_eq!(port.sent(), "");
    port.pass(2);
    assert_eq!(port.sent(), "ATI\r");
    port.pass(10);
    assert_eq!(port.dialogue.unanswered(), 2);
    port.say("\r\n^RSSI: 13\r\n");
    assert_eq!(port.dialogue.unanswered(), 0);
}

/// An answer that comes late belongs to no command, least of all to the next one.
#[test]
fn a_late_answer() {
    let mut port = Port::new();
    port.ask("AT+CSQ");
    port.ask("AT+CPIN?");
    port.pass(10);
    port.sent();
    port.events();
    port.say("\r\n+CSQ: 9,99\r\n\r\nOK\r\n");
    assert_eq!(port.events(), [Event::Unsolicited("+CSQ: 9,99".to_owned())]);
    assert_eq!(port.sent(), "AT+CPIN?\r", "the port is free again");
    port.say("\r\n+CPIN: READY\r\n\r\nOK\r\n");
    assert_eq!(port.done().0.lines, ["+CPIN: READY"]);
}

#[test]
fn timeouts_follow_the_command() {
    let seconds = |line: &str| {
        let mut port = Port::new();
        port.ask(line);
        (port.dialogue.poll_timeout().unwrap() - port.now).as_secs()
    };
    assert_eq!(seconds("AT+CSQ"), 10);
    assert_eq!(seconds("AT+COPS=?"), 180);
    assert_eq!(seconds("AT+CFUN=1"), 30);
    assert_eq!(seconds("AT+CSQ;+CSQ"), 20);
    let short = Command::new("AT")
        .unwrap()
        .with_timeout(Duration::from_secs(3));
    let mut port = Port::new();
    port.dialogue.command(port.now, short).unwrap();
    port.pass(3);
    assert!(matches!(port.done().0.result, Err(Failure::Timeout(_))));
}

#[test]
fn unplugged() {
    let mut port = Port::new();
    port.ask("AT^RESET");
    port.ask("AT");
    port.dialogue.close();
    for event in port.events() {
        assert!(matches!(event, Event::Done(done) if done.result == Err(Failure::Closed)));
    }
    let again = port.dialogue.command(port.now, Command::new("AT").unwrap());
    assert_eq!(again, Err(Refused::Closed));
    port.say("\r\nOK\r\n");
    assert_eq!(port.events(), []);
    assert_eq!(port.sent(), "");
}

#[test]
fn lines_that_cannot_be_commands() {
    assert_eq!(Command::new("hello"), Err(InvalidCommand::Prefix));
    assert_eq!(Command::new("A"), Err(InvalidCommand::Prefix));
    assert_eq!(Command::new(""), Err(InvalidCommand::Prefix));
    assert_eq!(
        Command::new("AT+CSQ\rAT^RESET"),
        Err(InvalidCommand::Control)
    );
    assert_eq!(
        Command::new(format!("AT{}", "1".repeat(3000))),
        Err(InvalidCommand::TooLong)
    );
    let text = Command::new("AT+CMGS=1").unwrap().with_text("a\x1ab");
    assert_eq!(text, Err(InvalidCommand::Control));
    for (line, wanted) in [
        ("AT+CMGS=\"+47\"", true),
        ("at+cmgw=23", true),
        ("AT+CMGC=3", true),
        ("AT+CMGS=?", false),
        ("AT+CMGS", false),
        ("AT+CMGR=7", false),
        ("AT+CMGS=1;+CMGS=1", false),
        ("AT+CMGF=1;+CMGS=1", false),
        ("AT+CMGR=7;E0", false),
        ("AT", false),
    ] {
        let command = Command::new(line).unwrap();
        assert_eq!(command.wants_text(), wanted, "{line}");
        let text = command.with_text("\rAT^RESET\r").map(|_| ());
        let expected = if wanted {
            Ok(())
        } else {
            Err(InvalidCommand::Text)
        };
        assert_eq!(text, expected, "{line}");
    }
}

#[test]
fn floods_cost_bounded_memory() {
    let mut port = Port::new();
    port.ask("AT+CLAC");
    let line = format!("{}\r\n", "x".repeat(100_000));
    for _ in 0..100 {
        port.say(&line);
    }
    for _ in 0..100_000 {
        port.say("^RSSI: 1\r\n");
    }
    port.say("OK\r\n");
    let events = port.events();
    assert!(events.len() <= 1025);
    assert!(port.dialogue.lost() >= 98_000);
    // However much came, the end of the command is reported.
    let Some(Event::Done(done)) = events.last() else {
        panic!()
    };
    assert!(done.truncated);
    assert!(done.lines.iter().map(String::len).sum::<usize>() <= 256 * 1024);
    for _ in 0..64 {
        port.ask("AT");
    }
    port.ask("AT");
    let refused = port.dialogue.command(port.now, Command::new("AT").unwrap());
    assert_eq!(refused, Err(Refused::Full));
}

/// Arbitrary bytes in arbitrary pieces cause no panic, and the next command is still answered.
#[test]
fn noise_does_not_stick() {
    let mut state = 0x1234_5678_u32;
    let mut port = Port::new();
    for round in 0..200 {
        port.ask("AT+CSQ");
        let noise: Vec<u8> = (0..round)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        port.dialogue.receive(port.now, &noise);
        port.say("\r\n+CSQ: 9,99\r\n\r\nOK\r\n");
        let answered = port.events().into_iter().any(
            |event| matches!(event, Event::Done(done) if done.lines.contains(&"+CSQ: 9,99".to_owned())),
        );
        assert!(answered, "round {round}");
    }
}

#[test]
fn a_ussd_text_of_several_lines_is_one_result_code() {
    let text = "\r\n+CUSD: 1,\"1 Balance\r\n2 Data left\r\n\r\nOK\",15\r\n";
    let joined = "+CUSD: 1,\"1 Balance\r\n2 Data left\r\nOK\",15";
    let mut port = Port::new();
    port.say(text);
    assert_eq!(port.unsolicited(), [joined]);
    // Before the final result of the command that asked, it is part of the answer.
    let early = text.replace("OK", "0 End");
    assert_eq!(
        lines("AT+CUSD=1,\"*101#\",15", &format!("{early}\r\nOK\r\n")),
        [joined.replace("OK", "0 End")]
    );
    // While another command runs, its answer is found behind the text.
    let (done, rest) = exchange("AT+CSQ", &format!("{early}\r\n+CSQ: 20,99\r\n\r\nOK\r\n"));
    assert_eq!(done.lines, ["+CSQ: 20,99"]);
    assert_eq!(rest, [joined.replace("OK", "0 End")]);
}

#[test]
fn a_ussd_text_that_never_ends_holds_nothing_up() {
    let cut = "\r\n+CUSD: 1,\"1 Balance\r\n2 Da\r\n";
    let (done, rest) = exchange("AT+CSQ", &format!("{cut}\r\nOK\r\n"));
    assert_eq!(done.result, Ok(()));
    assert_eq!(rest, ["+CUSD: 1,\"1 Balance\r\n2 Da"]);
    let mut port = Port::new();
    port.say(&format!("{cut}\r\n^RSSI: 20\r\n"));
    assert_eq!(
        port.unsolicited(),
        ["+CUSD: 1,\"1 Balance\r\n2 Da", "^RSSI: 20"]
    );
    // Nor does it grow without bound.
    port.say("\r\n+CUSD: 1,\"");
    for _ in 0..1000 {
        port.say("0123456789\r\n");
    }
    let told = port.unsolicited();
    assert!(told[0].starts_with("+CUSD: 1,") && told[0].len() > 1000 && told[0].len() <= 2100);
    assert!(told[1..].iter().all(|line| line == "0123456789"));
    assert!(told.len() > 500);
}
