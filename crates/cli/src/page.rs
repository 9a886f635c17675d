//! The form in which commands print facts about a modem as text: labelled lines.

use uwwan_mbim::print::{HIDDEN, escape};

use crate::failure::Failure;
use crate::output::say;

/// Lines of text whose labels stand in one column.
#[derive(Debug, Default)]
pub struct Page {
    lines: Vec<(Option<String>, String)>,
}

impl Page {
    /// Adds a line with a label. Label and value may come from the device: characters that could
    /// steer a terminal are escaped. An empty value adds no line.
    pub fn row(&mut self, label: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.lines.push((Some(escape(label)), escape(value)));
        }
    }

    /// Adds a line without a label.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.lines.push((None, escape(text.as_ref())));
    }

    /// Returns whether the page has no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the lines of text, without line ends.
    pub fn text(&self) -> Vec<String> {
        let labels = self.lines.iter().filter_map(|(label, _)| label.as_ref());
        let width = labels.map(|label| label.chars().count()).max().unwrap_or(0);
        self.lines
            .iter()
            .map(|(label, value)| match label {
                Some(label) => format!("{label:<width$}  {value}"),
                None => value.clone(),
            })
            .collect()
    }

    /// Prints the page on standard output.
    ///
    /// # Errors
    /// [`FailureKind::Closed`](crate::failure::FailureKind::Closed) when standard output is closed.
    pub fn print(&self) -> Result<(), Failure> {
        self.text().iter().try_for_each(say)
    }
}

/// Returns a text that identifies a person as it is if `show`, and a placeholder for it otherwise.
/// An empty text stays empty.
pub fn personal(text: &str, show: bool) -> String {
    if show || text.is_empty() {
        text.to_owned()
    } else {
        HIDDEN.to_owned()
    }
}

/// Returns a device's text without the trailing spaces and NUL characters that some firmware sends.
pub fn trimmed(text: &str) -> &str {
    text.trim_end_matches(['\0', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_one_column_and_nothing_steers_the_terminal() {
        let mut page = Page::default();
        page.row("name", "Tele\u{1b}[2Jnor\u{202e}");
        page.row("longer name", "x");
        page.row("\u{7}", "bell");
        page.row("nothing", "");
        page.line("end\r\n");
        assert_eq!(
            page.text(),
            [
                "name         Tele\\u{1b}[2Jnor\\u{202e}",
                "longer name  x",
                "\\u{7}        bell",
                "end\\r\\n"
            ]
        );
    }

    #[test]
    fn personal_text_is_hidden_unless_asked_for() {
        assert_eq!(personal("242010000000001", false), HIDDEN);
        assert_eq!(personal("242010000000001", true), "242010000000001");
        assert_eq!(personal("", false), "");
    }
}
