//! Readers and checks of option values.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::{Deserialize, Deserializer};
use uwwan_modem::options::Routes;

use crate::failure::{Failure, FailureKind};

/// Length of the longest name of a network interface, in bytes (`IFNAMSIZ` less the terminator).
const LONGEST_INTERFACE: usize = 15;

/// Returns a clap parser for an enum whose values have words. The words appear in `--help` and in
/// the error for any other word.
pub fn words<T: Copy + Send + Sync + 'static>(
    values: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(values.iter().map(|(word, _)| *word)).try_map(move |given| {
        values
            .iter()
            .find(|(word, _)| *word == given)
            .map(|(_, value)| *value)
            .ok_or("not one of the words")
    })
}

/// Returns the failure for an option whose value makes no sense.
pub fn bad(option: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, "an option makes no sense")
        .at(format!("--{option}"))
        .because(why)
}

/// Checks that an option's number lies between `least` and `most`, both included.
///
/// # Errors
/// [`FailureKind::Usage`] when it does not, or is not a number.
pub fn within<T: PartialOrd + std::fmt::Display>(
    option: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Failure> {
    // A NaN fails both comparisons and is refused too.
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(bad(
            option,
            format!("{value} is not between {least} and {most}"),
        ))
    }
}

/// Checks that an option's text has no control characters and at most `longest` UTF-16 code units,
/// in which MBIM counts strings.
///
/// # Errors
/// [`FailureKind::Usage`] when it does not.
pub fn text(option: &str, value: &str, longest: usize) -> Result<(), Failure> {
    if value.chars().any(char::is_control) {
        return Err(bad(option, "it holds control characters"));
    }
    let length = value.encode_utf16().count();
    if length > longest {
        return Err(bad(
            option,
            format!("it has {length} characters; at most {longest} fit"),
        ));
    }
    Ok(())
}

/// Checks that a name can be the name of a network interface.
///
/// # Errors
/// [`FailureKind::Usage`] when it cannot.
pub fn interface_name(option: &str, name: &str) -> Result<(), Failure> {
    let sane = !name.is_empty()
        && name.len() <= LONGEST_INTERFACE
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if sane {
        Ok(())
    } else {
        Err(bad(
            option,
            format!(
                "{name:?}: an interface name has 1 to {LONGEST_INTERFACE} letters, digits, dots, dashes or underscores"
            ),
        ))
    }
}

/// Returns the routes that an option's words stand for: `none`, `default`, or prefixes.
///
/// # Errors
/// [`FailureKind::Usage`] for a word that is none of these.
pub fn routes(option: &str, list: &[String]) -> Result<Routes, Failure> {
    match list {
        [] => Ok(Routes::None),
        [word] if word == "none" => Ok(Routes::None),
        [word] if word == "default" => Ok(Routes::Default),
        prefixes => prefixes
            .iter()
            .map(|text| match text.parse::<uwwan_tun::Prefix>() {
                Ok(prefix) => Ok(prefix.to_string()),
                Err(_) => Err(bad(
                    option,
                    format!("{text:?} is neither none nor default alone nor a prefix such as 192.0.2.0/24 or 2001:db8::/32"),
                )),
            })
            .collect::<Result<_, _>>()
            .map(Routes::Prefixes),
    }
}

/// Reads a list from a string with commas or from an array: `route = "default"` and `route =
/// ["192.0.2.0/24", "2001:db8::/32"]` both work.
///
/// # Errors
/// Those of the deserializer, for a value of any other type.
pub fn one_or_many<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a route or a list of routes")]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    Ok(Some(match Form::deserialize(source)? {
        Form::One(one) => one.split(',').map(|part| part.trim().to_owned()).collect(),
        Form::Many(many) => many,
    }))
}

/// Parses a size in bytes, such as `16M`, `16Mi` or `16777216`.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        other => return Err(format!("{other:?} is no unit; use k, M, G, Ki, Mi or Gi")),
    };
    let count: u64 = digits
        .parse()
        .map_err(|_| "expected a size such as 64M".to_owned())?;
    match count.checked_mul(unit) {
        Some(0) | None => Err("expected a size from 1 to 1000G".to_owned()),
        Some(size) if size > 1_000_000_000_000 => Err("expected a size from 1 to 1000G".to_owned()),
        Some(size) => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_checked() {
        let routes = |list: &[&str]| {
            routes(
                "route",
                &list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(routes(&["none"]).unwrap(), Routes::None);
        assert_eq!(routes(&["default"]).unwrap(), Routes::Default);
        assert!(matches!(
            routes(&["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "::1/128"]).unwrap(),
            Routes::Prefixes(list) if list.len() == 4
        ));
        for wrong in [
            &["default", "192.0.2.0/24"][..],
            &["192.0.2.0/33"],
            &["2001:db8::/129"],
            &["everything"],
            &[""],
        ] {
            assert!(routes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64M"), Ok(64_000_000));
        assert_eq!(size("1Ki"), Ok(1024));
        assert_eq!(size("5"), Ok(5));
        for wrong in [
            "",
            "M",
            "0",
            "-1",
            "1X",
            "1.5M",
            "99999999999999999999",
            "2000G",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
