//! Figures as comma-separated values (RFC 4180), one line for each value.

use crate::Figures;

/// Returns one line for each value, with its group, name, unit, better direction, contender and
/// place in the order of measurement, from 1. Lines end with CR LF; numbers have a decimal point
/// and all their digits.
#[must_use]
pub fn of(figures: &Figures) -> String {
    let mut text = String::from("group,name,unit,better,contender,number,value\r\n");
    for metric in figures.metrics() {
        let kind = &metric.kind;
        for row in metric.rows() {
            for (number, value) in (1..).zip(&row.values) {
                let fields = [
                    kind.group.as_str(),
                    &kind.name,
                    &kind.unit,
                    kind.better.word(),
                    &row.contender,
                ];
                for field in fields {
                    text.push_str(&quoted(field));
                    text.push(',');
                }
                text.push_str(&format!("{number},{value}\r\n"));
            }
        }
    }
    text
}

/// Returns a field, in quotes where it needs them.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Better, Kind};

    #[test]
    fn a_line_a_value() {
        let mut figures = Figures::new("t");
        let kind = Kind::new("G", "down, \"1 flow\"", "ms", Better::Lower);
        for value in [1.5, 0.1] {
            figures.record(&kind, "a", value);
        }
        assert_eq!(
            of(&figures),
            "group,name,unit,better,contender,number,value\r\n\
             G,\"down, \"\"1 flow\"\"\",ms,lower,a,1,1.5\r\n\
             G,\"down, \"\"1 flow\"\"\",ms,lower,a,2,0.1\r\n"
        );
    }
}
