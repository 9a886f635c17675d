//! `uwwan status --watch` on a terminal.

use crate::running::{PROGRAM, Up};
use crate::terminal::{Screen, Terminal};

/// Starts a live view.
fn watching(up: &Up, environment: &[(&str, &str)]) -> Terminal {
    Terminal::start(&format!("exec {PROGRAM} status --watch"), |command| {
        command
            .env("UWWAN_RUNTIME_DIR", up.base.path())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied());
    })
}

/// Sequence that leaves the alternate screen (xterm's control sequences, mode 1049).
const LEAVES: &str = "\u{1b}[?1049l";
/// Beginnings of sequences that set a colour (ECMA-48, SGR).
const COLOURS: [&str; 2] = ["\u{1b}[38;5;", "\u{1b}[3"];

#[test]
fn the_live_view_is_drawn_and_left() {
    let up = Up::online(&[]);
    for keys in [&b"q"[..], b"\x03"] {
        let mut watch = watching(&up, &[]);
        let seen = watch.until("q ends");
        assert!(seen.contains("\u{1b}[?1049h"), "an own screen: {seen:?}");
        assert!(
            seen.contains("HP lt4132") && seen.contains("NTBs"),
            "{seen:?}"
        );
        assert!(COLOURS.iter().any(|one| seen.contains(one)), "{seen:?}");
        watch.press(keys);
        watch.until(LEAVES);
        assert_eq!(watch.end(), Some(0));
    }
    let mut watch = watching(&up, &[("NO_COLOR", "1")]);
    let seen = watch.until("q ends");
    assert!(!seen.contains("\u{1b}[38"), "no colour: {seen:?}");
    // The end of `up` ends the view as well, and is reported on the restored terminal.
    up.down();
    watch.until("uwwan has stopped");
    assert_eq!(watch.end(), Some(0));
}

/// At the least size the first and the last line fit; a larger terminal is used, and a smaller one is
/// survived.
#[test]
fn the_live_view_follows_the_size_of_its_terminal() {
    let up = Up::online(&[]);
    let mut watch = watching(&up, &[("NO_COLOR", "1")]);
    let whole = |screen: &Screen| {
        let last = screen.rows.len() - 1;
        screen.line(0).contains("HP lt4132") && screen.line(last).contains("q ends")
    };
    watch.until_screen("12 lines of 60", whole);
    assert!(watch.screen.shows("NTBs"), "{:?}", watch.seen);
    watch.resize(40, 120);
    watch.until_screen("40 lines of 120", |screen| {
        whole(screen) && (13..39).any(|row| !screen.line(row).trim().is_empty())
    });
    watch.resize(5, 30);
    watch.until_screen("5 lines of 30", |screen| {
        screen.line(0).trim_start().starts_with("03f0:a31d")
    });
    watch.resize(1, 1);
    watch.resize(12, 60);
    watch.until_screen("12 lines of 60 again", whole);
    assert!(!watch.seen.contains("panicked"), "{:?}", watch.seen);
    watch.press(b"q");
    watch.until(LEAVES);
    assert_eq!(watch.end(), Some(0));
}
