//! The completion of command lines, in the form that shells get.

use std::process::Command;
use std::sync::LazyLock;

use crate::running::{PROGRAM, succeeds};
use crate::terminal::Terminal;

/// Returns the words that bash offers for the last of the words, which spaces separate.
fn offered(words: &[&str]) -> Vec<String> {
    offered_in(&format!("uwwan {}", words.join(" ")), words)
}

/// Returns the words that bash offers for the last of the pieces into which it has broken a line.
fn offered_in(line: &str, words: &[&str]) -> Vec<String> {
    let script = r#"
        PATH=$(dirname "$1"):$PATH; shift
        source <(uwwan completions bash)
        COMP_LINE=$UWWAN_LINE COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        "$(complete -p uwwan | sed -E 's/.* -F ([^ ]+).*/\1/')" uwwan "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["-c", script, "bash", PROGRAM, "uwwan"])
        .args(words)
        .env("UWWAN_LINE", line)
        .env("XDG_CONFIG_HOME", configurations().path())
        .env_remove("UWWAN_RUNTIME_DIR")
        .output()
        .expect("bash runs");
    succeeds(&output).lines().map(str::to_owned).collect()
}

/// Returns a folder of configurations, with one by the name of `home-lte`.
fn configurations() -> &'static tempfile::TempDir {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("uwwan")).unwrap();
        std::fs::write(folder.path().join("uwwan/home-lte.toml"), "").unwrap();
        folder
    });
    &FOLDER
}

/// Bash breaks words at = and :, and takes only the part behind.
#[test]
fn bash_is_given_the_rest_of_a_word_that_it_breaks() {
    let knob = |value: &str, pieces: &[&str]| {
        let pieces: Vec<&str> = ["demo", "--knob"].iter().chain(pieces).copied().collect();
        offered_in(&format!("uwwan demo --knob {value}"), &pieces)
    };
    assert_eq!(
        knob("registration=ro", &["registration", "=", "ro"]),
        ["roaming"]
    );
    assert_eq!(knob("settle_ms=", &["settle_ms", "="]), ["100"]);
    // The first value is complete, and the second one is a word of its own.
    let line = "uwwan demo --knob settle_ms=1 --ndp f";
    let pieces = ["demo", "--knob", "settle_ms", "=", "1", "--ndp", "f"];
    assert_eq!(offered_in(line, &pieces), ["front"]);
    assert_eq!(
        offered_in("uwwan up --ndp=f", &["up", "--ndp", "=", "f"]),
        ["front"]
    );
}

#[test]
fn configurations_are_offered_by_name() {
    assert_eq!(offered(&["up", "home"]), ["home-lte"]);
    assert_eq!(offered(&["config", "check", "home"]), ["home-lte"]);
    // These names are those of hosts and of persons.
    for words in [&["resolve", "home"][..], &["phonebook", "write", "home"]] {
        assert!(
            !offered(words).contains(&"home-lte".to_owned()),
            "{words:?}"
        );
    }
}

/// Types on a shell's line on a terminal, and waits for the expected text.
#[track_caller]
fn completed(shell: &str, begin: &str, typed: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let bin = home.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("uwwan")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut terminal = Terminal::start(&format!("exec {shell}"), |command| {
        command
            .env("PATH", path)
            .env("TERM", "dumb")
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home)
            .env("UWWAN_RUNTIME_DIR", home);
    });
    // The echo of the line has the quotes, and the output of the line has none.
    terminal.press(format!("{begin}echo rea''dy\n").as_bytes());
    terminal.until("ready");
    terminal.press(typed.as_bytes());
    terminal.until(expected);
}

#[test]
fn bash_completes_on_a_terminal() {
    let begin = "source <(uwwan completions bash)\n";
    let shell = "bash --norc --noprofile -i";
    completed(
        shell,
        begin,
        "uwwan status --dev\t",
        "uwwan status --device",
    );
    let typed = "uwwan demo --knob registration=ro\t";
    completed(shell, begin, typed, "registration=roaming");
    completed(
        shell,
        begin,
        "uwwan demo --knob settle_m\t\tx",
        "settle_ms=100 x",
    );
}

#[test]
fn zsh_completes_on_a_terminal() {
    let begin = "autoload -Uz compinit; compinit -u -D; source <(uwwan completions zsh)\n";
    completed(
        "zsh -f -i",
        begin,
        "uwwan status --dev\t",
        "uwwan status --device",
    );
    // Nothing follows the equals sign, so that the value may follow.
    completed(
        "zsh -f -i",
        begin,
        "uwwan demo --knob settle_m\tx",
        "settle_ms=x",
    );
}

#[test]
fn fish_completes_on_a_terminal() {
    let begin = "uwwan completions fish | source\n";
    completed(
        "fish -i",
        begin,
        "uwwan status --dev\t",
        "uwwan status --device",
    );
}

#[test]
fn bash_offers_what_fits() {
    assert_eq!(offered(&["stat"]), ["status", "stats"]);
    assert_eq!(offered(&["up", "--ndp", "f"]), ["front"]);
    assert!(offered(&["info", "--device", ""]).contains(&"emulator".to_owned()));
    assert!(offered(&["demo", "--knob", "settle_"]).contains(&"settle_ms=".to_owned()));
    assert_eq!(offered(&["mbim", "send", "--service", "sms"]), ["sms"]);
    let cids = offered(&[
        "mbim",
        "send",
        "--service",
        "basic_connect",
        "--cid",
        "device_c",
    ]);
    assert_eq!(cids, ["device_caps"]);
}

#[test]
fn every_shell_gets_a_script() {
    for (shell, begins) in [
        ("bash", "_clap"),
        ("zsh", "#compdef uwwan"),
        ("fish", "complete"),
    ] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output();
        let script = succeeds(&output.unwrap());
        assert!(script.trim_start().starts_with(begins), "{shell}: {script}");
        assert!(script.contains("UWWAN_COMPLETE"), "{shell}: {script}");
    }
}
