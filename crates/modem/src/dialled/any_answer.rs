//! The function in front of a modem that answers anything.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use uwwan_at::dialogue::Command;
use uwwan_at::failure::{Cme, Code, Failure as Refusal};
use uwwan_mbim::CommandKind;
use uwwan_mbim::services::basic_connect::{self as bc, ActivationCommand, ConnectSet};

use uwwan_mbim::services::ussd::{USSD, UssdAction, UssdSet};

use super::MAX_CONTROL_MESSAGE;
use super::function::{Ask, Function, KNOWN};
use crate::at_port::Answer;
use crate::failure::Failure;

/// A modem that answers every command with the next of these answers.
struct Anything {
    answers: Vec<(Vec<String>, bool)>,
    next: usize,
}

impl Ask for Anything {
    fn ask(&mut self, command: Command) -> Result<Answer, Failure> {
        let (lines, good) = &self.answers[self.next % self.answers.len()];
        self.next += 1;
        let result = if *good {
            Ok(())
        } else {
            Err(Refusal::Cme(Cme(Code::Number(self.next as u16))))
        };
        Ok(Answer {
            command: command.line().to_owned(),
            lines: lines.clone(),
            truncated: false,
            result,
        })
    }
}

/// Returns lines as modems send them, with any values, and any other lines.
fn lines() -> impl Strategy<Value = String> {
    let names = [
        "+CPIN",
        "^CPIN",
        "^ICCID",
        "+CFUN",
        "+CREG",
        "+CGREG",
        "+CEREG",
        "+COPS",
        "+CGATT",
        "+CSQ",
        "^HCSQ",
        "^SYSINFOEX",
        "^NDISSTATQRY",
        "^NDISSTAT",
        "^DHCP",
        "^DHCPV6",
        "+CMGL",
        "+CMGR",
        "+CMGS",
        "+CMTI",
        "+CSCA",
        "+CPMS",
        "IMEI",
        "+CGDCONT",
        "+CLCK",
        "+CUSD",
        "^USSDMODE",
        "+CSCS",
    ];
    let values = prop_oneof![
        "[0-9A-F,\"():.+ -]{0,80}",
        "(-?[0-9]{0,22},?){0,12}",
        "(\"[^\"]{0,30}\",?){0,6}",
        ".{0,60}",
    ];
    let named = (proptest::sample::select(names.to_vec()), values);
    prop_oneof![
        9 => named.prop_map(|(name, values)| format!("{name}: {values}")),
        1 => ".{0,200}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nothing_a_modem_says_harms(
        answers in vec((vec(lines(), 0..6), any::<bool>()), 1..8),
        steps in vec((0..KNOWN.len(), any::<bool>(), vec(any::<u8>(), 0..80), lines(), 0..20_u64), 1..40),
    ) {
        let mut function = Function::new(Box::new(Anything { answers, next: 0 }), None);
        let mut now = Instant::now();
        let dial = ConnectSet {
            activation_command: ActivationCommand::ACTIVATE,
            access_string: "internet".into(),
            ..ConnectSet::default()
        };
        function.begin();
        for (which, sets, bytes, line, seconds) in steps {
            let id = KNOWN[which];
            let dials = sets && id == bc::CONNECT && bytes.len() < 40;
            let (kind, info) = match (dials, sets) {
                (true, _) => (CommandKind::SET, dial.encode()),
                (false, true) => (CommandKind::SET, bytes),
                (false, false) => (CommandKind::QUERY, bytes),
            };
            let told = match id == USSD && sets {
                true => {
                    let turn = UssdSet {
                        action: UssdAction(u32::from(info.len() as u8 % 4)),
                        data_coding_scheme: info.first().copied().unwrap_or(15).into(),
                        payload: info,
                    };
                    function.ussd(now, 1, &turn.encode()).unwrap_or_default().1
                }
                false => function.answer(now, id, kind, &info).1,
            };
            prop_assert!(told.len() <= usize::from(MAX_CONTROL_MESSAGE) * 64, "{id}: {}", told.len());
            function.unsolicited(now, &line);
            now += Duration::from_secs(seconds);
            if function.poll_timeout().is_some_and(|due| due <= now) {
                function.timeout(now);
                prop_assert!(function.poll_timeout().is_none_or(|due| due > now));
            }
            let late = std::iter::from_fn(|| function.next_late()).take(9).count();
            prop_assert!(late < 9);
            // Each step may have told of a few things.
            let indicated = std::iter::from_fn(|| function.next_indication()).take(9).count();
            prop_assert!(indicated < 9);
        }
        function.end();
    }
}
