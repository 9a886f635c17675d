//! Parameters as they stand in answers: separated by commas, some quoted, some in parentheses, some
//! missing.
//!
//! ```
//! use uwwan_at::values::Values;
//!
//! let mut values = Values::new("(1-3),\"a,b\",,7FFF");
//! assert_eq!(values.next().unwrap().list().collect::<Vec<_>>().len(), 1);
//! assert_eq!(values.next().unwrap().text(), "a,b");
//! assert!(values.next().unwrap().is_empty());
//! assert_eq!(values.next().unwrap().hex(), Some(0x7fff));
//! ```

use std::str::FromStr;

/// The parameters of one line, in order.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    rest: Option<&'a str>,
}

/// One parameter, without the blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

impl<'a> Values<'a> {
    /// Reads the parameters of what follows a line's `+NAME:`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let text = text.trim();
        Self {
            rest: (!text.is_empty()).then_some(text),
        }
    }

    /// Returns the next parameter as text; empty where there is none.
    pub fn text(&mut self) -> &'a str {
        self.next().map_or("", Value::text)
    }

    /// Returns the next parameter as a decimal number, if it is one.
    pub fn number<T: FromStr>(&mut self) -> Option<T> {
        self.next().and_then(Value::number)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let rest = self.rest?;
        let mut quoted = false;
        let mut depth = 0_usize;
        let end = rest.bytes().position(|byte| {
            match byte {
                b'"' => quoted = !quoted,
                b'(' if !quoted => depth += 1,
                b')' if !quoted => depth = depth.saturating_sub(1),
                b',' if !quoted && depth == 0 => return true,
                _ => {}
            }
            false
        });
        let value = match end {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => {
                self.rest = None;
                rest
            }
        };
        Some(Value(value.trim()))
    }
}

impl<'a> Value<'a> {
    /// Returns the parameter as it stands in the answer, quotes included.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// Returns the parameter without quotes.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.0
            .strip_prefix('"')
            .map_or(self.0, |text| text.strip_suffix('"').unwrap_or(text))
    }

    /// Returns whether nothing stands between the commas.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Reads the parameter as a decimal number, quoted or not.
    #[must_use]
    pub fn number<T: FromStr>(self) -> Option<T> {
        self.text().parse().ok()
    }

    /// Reads the parameter as a hexadecimal number, quoted or not, with or without `0x`.
    #[must_use]
    pub fn hex(self) -> Option<u64> {
        let text = self.text();
        let digits = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))
            .unwrap_or(text);
        // `from_str_radix` would accept a sign.
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u64::from_str_radix(digits, 16).ok())?
    }

    /// Returns the parameters inside the parentheses, or the parameter itself when it has none.
    #[must_use]
    pub fn list(self) -> Values<'a> {
        Values::new(
            self.0
                .strip_prefix('(')
                .map_or(self.0, |inner| inner.strip_suffix(')').unwrap_or(inner)),
        )
    }
}

/// Returns the name a line starts with: `+CSQ` of `+CSQ: 21,99`. `None` for lines without one.
#[must_use]
pub fn name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(':')?;
    let name = name.trim_end();
    let mut characters = name.chars();
    let well_formed = matches!(characters.next(), Some('+' | '^' | '*' | '%' | '#' | '$'))
        && name.len() > 1
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_');
    well_formed.then_some(name)
}

/// Returns what follows `+NAME:` in a line, if the line starts with it, in whatever case.
#[must_use]
pub fn after<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    let found = name(line)?;
    found
        .eq_ignore_ascii_case(wanted)
        .then(|| line.split_once(':').map_or("", |(_, rest)| rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<&str> {
        Values::new(text).map(Value::raw).collect()
    }

    #[test]
    fn commas_in_quotes_and_parentheses_separate_nothing() {
        assert_eq!(
            all("(0-11),\"IP\",,,(0-2),(0,1)"),
            ["(0-11)", "\"IP\"", "", "", "(0-2)", "(0,1)"]
        );
        assert_eq!(
            all("((2000004e80380,\"GSM850/(x)\"),(3fffffff,\"All\")),(0-3)"),
            [
                "((2000004e80380,\"GSM850/(x)\"),(3fffffff,\"All\"))",
                "(0-3)"
            ]
        );
        assert_eq!(all(""), [""; 0]);
        assert_eq!(all(","), ["", ""]);
    }

    #[test]
    fn broken_text_gives_something() {
        assert_eq!(all("\"open,1"), ["\"open,1"]);
        assert_eq!(Value("\"open").text(), "open");
        assert_eq!(all(")),("), ["))", "("]);
        assert_eq!(Value("(").list().count(), 0);
        assert_eq!(Value("+5").hex(), None);
        assert_eq!(Value("").hex(), None);
        assert_eq!(Value("ffffffffffffffffff").hex(), None);
    }

    #[test]
    fn names_of_lines() {
        assert_eq!(name("+CSQ: 21,99"), Some("+CSQ"));
        assert_eq!(name("^NDISSTATQry:1"), Some("^NDISSTATQry"));
        assert_eq!(after("^NDISSTATQry:1", "^NDISSTATQRY"), Some("1"));
        assert_eq!(name("Model: ME906s-158"), None);
        assert_eq!(name("+CSQ"), None);
        assert_eq!(name("+: 1"), None);
        assert_eq!(name("+A B: 1"), None);
    }
}
