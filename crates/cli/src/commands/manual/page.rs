//! The manual page of a command.

use clap_mangen::Man;
use roff::{Roff, bold, roman};

/// Returns the line that begins a page. Pages have no date, so that they depend on the program alone.
pub fn title(name: &str, section: u8) -> String {
    let (name, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    format!(".TH {name} {section} \"\" \"uwwan {version}\" uwwan\n")
}

/// Adds the page of a command and those of its subcommands. `above` is the name of the page of the
/// parent command.
pub fn collect(command: &clap::Command, above: Option<&str>, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = match above {
        Some(above) => format!("{above}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    pages.push((format!("{name}.1"), page(command, &name, above)));
    for other in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        collect(other, Some(&name), pages);
    }
}

fn page(command: &clap::Command, name: &str, above: Option<&str>) -> Vec<u8> {
    let man = Man::new(command.clone()).section("1");
    let mut page = title(name, 1).into_bytes();
    // Writing to memory does not fail.
    let _ = man
        .render_name_section(&mut page)
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page));
    if command.get_subcommands().any(|one| !one.is_hide_set()) {
        let _ = man.render_subcommands_section(&mut page);
    }
    let mut rest = Roff::default();
    if let Some(text) = command.get_after_help() {
        examples(&text.to_string(), &mut rest);
    }
    see_also(above, &mut rest);
    let _ = rest.to_writer(&mut page);
    page
}

/// Adds the text behind the options in `--help`, line by line as it stands there. Each paragraph with a
/// title (`Examples:`) becomes a section.
fn examples(text: &str, page: &mut Roff) {
    page.control("SH", ["EXAMPLES AND NOTES"]);
    let mut verbatim = false;
    for line in text.lines() {
        // Lines that are indented by two are commands and tables.
        let wanted = line.starts_with("  ");
        if wanted != verbatim {
            page.control(if wanted { "EX" } else { "EE" }, []);
            verbatim = wanted;
        }
        match line {
            "" => page.control("PP", []),
            _ if verbatim => page.text([roman(line)]),
            _ => page.text([roman(line)]),
        };
    }
    if verbatim {
        page.control("EE", []);
    }
}

/// Adds references to related pages.
pub fn see_also(above: Option<&str>, page: &mut Roff) {
    page.control("SH", ["SEE ALSO"]);
    let first = above.unwrap_or("uwwan-up");
    page.text([
        bold(first),
        roman("(1), "),
        bold("uwwan.toml"),
        roman("(5), "),
        bold("uwwan-quirks"),
        roman("(5)"),
    ]);
}
