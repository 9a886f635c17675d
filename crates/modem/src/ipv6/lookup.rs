//! Lookup of a SIM's operator. Its code has three digits for the country and two or three for the
//! network.
//!
//! An IMSI does not show how many digits the network code has. MBIM's home provider does, and so
//! does the fourth byte of the SIM's file EF-AD (3GPP TS 31.102, 4.2.18); where neither answers, an
//! entry in the modem's own list decides, and otherwise the usual length in the country (ITU-T
//! E.212).

use uwwan_at::commands::identity::{NetworkDigits, Subscriber};
use uwwan_at::commands::profiles::Profiles;

use super::access::{ModemAccess, NoOperator, query, waits_for};
use super::operator::{Operator, Source, is_code};
use crate::failure::Failure;

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
    let told = query::<NetworkDigits>(modem)?.map(|digits| digits.0);
    Ok(of(&subscriber, told, profiles).ok_or(NoOperator::ShortImsi))
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
            let code = match subscriber.usual_digits() {
                3 => long,
                _ => short,
            };
            (code, Source::Country)
        }
    };
    Some(Operator { code, source })
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
}
