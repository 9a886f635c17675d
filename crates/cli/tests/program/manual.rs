//! Manual pages, in the form that packages get.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use crate::running::PROGRAM;

const QUIRKS: &str = include_str!("../../man/uwwan-quirks.5");

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_pages_are_written_by_section() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .arg("manual")
        .arg(folder.path())
        .output();
    assert_eq!(text(&output.unwrap()), "");
    for page in [
        "man1/uwwan.1",
        "man1/uwwan-up.1",
        "man1/uwwan-mbim-send.1",
        "man5/uwwan.toml.5",
        "man5/uwwan-quirks.5",
    ] {
        let page = fs::read_to_string(folder.path().join(page)).expect(page);
        assert!(page.contains(".TH UWWAN"), "{page}");
    }
    let hidden = folder.path().join("man1/uwwan-manual.1");
    assert!(!hidden.exists());
}

/// Returns the words between backquotes in a text.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_page_of_quirk_files_has_the_fields_and_words_that_are_read() {
    let told: BTreeSet<String> = QUIRKS
        .lines()
        .filter_map(|line| line.strip_prefix(".B "))
        .map(|field| field.replace("\\-", "-"))
        .collect();
    // The error for an unknown value lists the known ones.
    let asked = |row: &str| {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("uwwan/quirks.d");
        fs::create_dir_all(&files).unwrap();
        fs::write(
            files.join("a.toml"),
            format!("[[modem]]\nvendor = 1\n{row}\n"),
        )
        .unwrap();
        let output = Command::new(PROGRAM)
            .args(["quirks", "list"])
            .env("XDG_CONFIG_HOME", folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.split_once("expected").expect(&told).1.to_owned()
    };
    let fields = asked("nothing = 1");
    let fields: BTreeSet<String> = quoted(&fields).into_iter().map(str::to_owned).collect();
    assert_eq!(told, fields);
    for field in ["ndp", "padding", "ntb", "fcc-unlock", "mode", "ussd"] {
        for word in quoted(&asked(&format!("{field} = \"nothing\""))) {
            let word = word.replace('-', "\\-");
            assert!(QUIRKS.contains(&word), "{field}: {word}");
        }
    }
}
