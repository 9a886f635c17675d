//! Lookup of a SIM's operator, a code of three digits for the country and two or three for the
//! network.
//!
//! An IMSI does not tell how many digits the network code has. MBIM's home provider does, and so
//! does the fourth byte of the SIM's file EF-AD (3GPP TS 31.102, 4.2.18); where neither answers, an
//! entry in the modem's own list decides, and at last the custom of the country: in ITU-T E.212
//! North America, most of the Caribbean and a few other countries have three digits.

use uwwan_at::commands::identity::Subscriber;
use uwwan_at::commands::profiles::Profiles;
use uwwan_at::dialogue::Command;
use uwwan_at::values::{Values, after};

use super::access::{ModemAccess, NoOperator, no_command, query, waits_for};
use super::operator::{Operator, Source, is_code};
use crate::failure::Failure;

/// Command that reads the four bytes of EF-AD (TS 27.007 section 8.18; file 6FAD).
const READ_EF_AD: &str = "AT+CRSM=176,28589,0,0,4";

/// Country codes whose network codes have three digits.
const THREE_DIGITS: [u16; 25] = [
    302, 310, 311, 312, 313, 314, 315, 316, 334, 338, 342, 344, 346, 348, 352, 354, 356, 358, 360,
    365, 366, 376, 708, 722, 732,
];

/// Finds the SIM's operator, or the reason why it is not known.
///
/// # Errors
/// [`Failure`] when the port gives no answer.
pub(super) fn find(
    modem: &mut dyn ModemAccess,
    profiles: Option<&Profiles>,
) -> Result<Result<Operator, NoOperator>, Failure> {
    if let Some(operator) = modem.operator()
        && is_code(&operator.code)
    {
        return Ok(Ok(operator));
    }
    let Some(subscriber) = query::<Subscriber>(modem)? else {
        return Ok(Err(waits_for(modem)?.unwrap_or(NoOperator::NoImsi)));
    };
    let answer = modem.ask(Command::new(READ_EF_AD).map_err(no_command)?)?;
    let told = answer.result.is_ok().then(|| network_digits(&answer.lines));
    Ok(of(&subscriber, told.flatten(), profiles).ok_or(NoOperator::ShortImsi))
}

fn of(
    subscriber: &Subscriber,
    digits: Option<u8>,
    profiles: Option<&Profiles>,
) -> Option<Operator> {
    let (country, short, long) = subscriber.operator()?;
    let short = format!("{country}{short}");
    let long = format!("{country}{long}");
    let listed = |code: &String| {
        profiles.is_some_and(|profiles| {
            profiles
                .0
                .iter()
                .any(|profile| profile.operators.contains(code))
        })
    };
    let (code, source) = match digits {
        Some(3) => (long, Source::SimFile),
        Some(_) => (short, Source::SimFile),
        None if listed(&long) => (long, Source::List),
        None if listed(&short) => (short, Source::List),
        None => {
            let three = country
                .parse()
                .is_ok_and(|country: u16| THREE_DIGITS.contains(&country));
            (if three { long } else { short }, Source::Country)
        }
    };
    Some(Operator { code, source })
}

/// Returns the number of digits of the network code in an answer such as `+CRSM: 144,0,"00000002"`.
fn network_digits(lines: &[String]) -> Option<u8> {
    let mut values = lines
        .iter()
        .find_map(|line| after(line, "+CRSM"))
        .map(Values::new)?;
    let first: u8 = values.number()?;
    // The card answers 90 00 or 91 xx when it has read the file.
    if !matches!(first, 0x90 | 0x91) {
        return None;
    }
    let content = values.nth(1)?.text();
    let byte = u8::from_str_radix(content.get(6..8)?, 16).ok()?;
    matches!(byte & 0x0f, 2 | 3).then_some(byte & 0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_at::commands::Query;

    fn subscriber(imsi: &str) -> Subscriber {
        Subscriber::parse(&[imsi.to_owned()]).unwrap()
    }

    fn list(operators: &[&str]) -> Profiles {
        let line = format!("^PLMNLIST: \"99999\",{}", operators.join(","));
        Profiles::parse(&[line]).unwrap()
    }

    #[test]
    fn the_sim_knows_best() {
        let norway = subscriber("242016000000001");
        let code = |digits, profiles: Option<&Profiles>| {
            let operator = of(&norway, digits, profiles).unwrap();
            (operator.code, operator.source)
        };
        let trap = list(&["242016"]);
        assert_eq!(
            code(Some(2), Some(&trap)),
            ("24201".into(), Source::SimFile)
        );
        assert_eq!(code(Some(3), None), ("242016".into(), Source::SimFile));
        assert_eq!(code(None, Some(&trap)), ("242016".into(), Source::List));
        assert_eq!(
            code(None, Some(&list(&["24201"]))),
            ("24201".into(), Source::List)
        );
        assert_eq!(code(None, None), ("24201".into(), Source::Country));
        let america = of(&subscriber("310260000000001"), None, None).unwrap();
        assert_eq!(america.code, "310260");
    }

    /// Answers as 3GPP TS 27.007, 8.18 writes them.
    #[test]
    fn ef_ad() {
        let digits = |line: &str| network_digits(&[line.to_owned()]);
        assert_eq!(digits("+CRSM: 144,0,\"00000002\""), Some(2));
        assert_eq!(digits("+CRSM: 144,0,\"00000003\""), Some(3));
        assert_eq!(digits("+CRSM: 144,0,00000003"), Some(3));
        for odd in [
            "+CRSM: 144,0,\"000000\"",
            "+CRSM: 106,130",
            "+CRSM: 144,0,\"000000FF\"",
            "+CRSM: 106,130,\"00000002\"",
            "+CRSM:",
            "OK",
        ] {
            assert_eq!(digits(odd), None, "{odd}");
        }
    }
}
