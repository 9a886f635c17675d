//! Errors of the command line's parser, without the parts that may be a secret.
//!
//! The parser repeats the argument that it does not understand. That may be a PIN in the wrong place, or
//! a password among a session's options; and standard error may be a log.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::session_settings::without_secrets;

/// Option whose value has options in it.
const SESSION: &str = "--session";

/// Returns the error without PINs and passwords: arguments of digits alone, and unknown options of a
/// session, are left out.
pub fn redacted(mut error: clap::Error) -> clap::Error {
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let argument = text(&error, ContextKind::InvalidArg);
    if argument.is_some_and(|argument| argument.starts_with(SESSION))
        && let Some(value) = text(&error, ContextKind::InvalidValue)
    {
        let value = ContextValue::String(without_secrets(&value));
        error.insert(ContextKind::InvalidValue, value);
    }
    if !matches!(
        error.kind(),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
    ) {
        return error;
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        let digits = |text: &String| text.len() >= 4 && text.bytes().all(|b| b.is_ascii_digit());
        if text(&error, kind).is_some_and(|text| digits(&text)) {
            error.insert(kind, ContextValue::String("…".into()));
            // Tips repeat the argument.
            for tip in [
                ContextKind::Suggested,
                ContextKind::SuggestedArg,
                ContextKind::SuggestedCommand,
                ContextKind::SuggestedSubcommand,
                ContextKind::SuggestedValue,
                ContextKind::TrailingArg,
            ] {
                error.remove(tip);
            }
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn no_error_of_the_command_line_has_a_secret() {
        for line in [
            &["up", "--session", "3:password=83920174"][..],
            &["up", "--session", "password=83920174"],
            &["up", "--session=3:apn=a,pasword=83920174"],
            &["up", "--session=3:apn=a,83920174"],
            &["up", "--session=83920174"],
            &["up", "modem", "83920174"],
            &["up", "--pin", "83920174"],
            &["up", "--pin=83920174"],
            &["up", "--password=83920174"],
            &["pin", "83920174"],
            &["pin", "enter", "83920174"],
            &["pin", "enter", "--pin", "83920174"],
            &["pin", "change", "83920174", "83920174"],
            &["pin", "unblock", "--puk=83920174"],
            &["mbim", "send", "--hex=00", "--file=-", "83920174"],
        ] {
            let line = [&["uwwan"], line].concat();
            let error = redacted(Arguments::try_parse_from(&line).unwrap_err());
            let text = error.to_string();
            assert!(!text.contains("83920174"), "{line:?}: {text}");
            assert!(text.contains("error: "), "{text}");
        }
        // An argument that is no secret is repeated.
        let line = ["uwwan", "up", "--session=3:apn=internet,mtu=big"];
        let text = redacted(Arguments::try_parse_from(line).unwrap_err()).to_string();
        assert!(text.contains("'3:apn=internet,mtu=big'"), "{text}");
    }
}
