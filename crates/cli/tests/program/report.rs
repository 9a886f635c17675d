//! `uwwan report` on the emulated modem: the file has all parts, and no identity.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::privacy::SECRETS;
use crate::running::{Up, succeeds, text, uwwan};

/// Returns the files of an archive, by name.
fn unpacked(file: &Path) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("xf").arg(file).arg("-C").arg(folder.path());
    succeeds(&tar.output().unwrap());
    let list = std::fs::read_dir(folder.path().join("uwwan-report")).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = list
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Panics when an identity is in a file. Identities in binary files are found by the tests of the
/// scrubber.
fn quiet(files: &[(String, Vec<u8>)], further: &[&str]) {
    for (name, content) in files {
        let content = String::from_utf8_lossy(content);
        for secret in SECRETS
            .iter()
            .chain(further)
            .filter(|one| !one.starts_with("AT"))
        {
            assert!(!content.contains(secret), "{secret} is in {name}");
        }
    }
}

#[test]
fn a_report_has_everything_and_no_identity() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.tar");
    let log = folder.path().join("up.log");
    std::fs::write(
        &log,
        "INFO imei 001000000000016 has 10.169.198.77, called +4799887766\nthe end\n",
    )
    .unwrap();
    let report = |more: &[&str]| {
        let mut command = uwwan(&["report", "--device", "emulator"]);
        command.arg(&file).arg("--log").arg(&log).args(more);
        command.output().unwrap()
    };
    let told = succeeds(&report(&[]));
    assert!(told.contains("modem.pcapng holds"), "{told}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its owner alone");
    let files = unpacked(&file);
    let names: Vec<&str> = files.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "doctor.txt",
            "journal.txt",
            "log.txt",
            "modem.pcapng",
            "recording.txt",
            "status.json",
            "versions.txt"
        ]
    );
    quiet(&files, &["10.169.198.77", "001000000000016"]);
    let of = |name: &str| {
        let found = files.iter().find(|(known, _)| known == name);
        text(&found.unwrap().1)
    };
    assert!(of("log.txt").contains("the end"), "{}", of("log.txt"));
    assert!(of("versions.txt").starts_with("uwwan "));
    assert!(
        of("doctor.txt").contains("TUN device"),
        "{}",
        of("doctor.txt")
    );
    let shown = folder.path().join("modem.pcapng");
    std::fs::write(&shown, &files[3].1).unwrap();
    let shown = uwwan(&["capture", "show"]).arg(&shown).output().unwrap();
    assert!(succeeds(&shown).contains("device_caps"));

    let again = report(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"));
    succeeds(&report(&["--force"]));
}

#[test]
fn a_report_of_a_running_modem_has_its_state() {
    let up = Up::online(&[]);
    let addresses = up.status()["ip"].clone();
    let address = addresses["ipv4"]["address"].as_str().unwrap().to_owned();
    let file = up.base.path().join("r.tar");
    let told = succeeds(&up.command(&["report"]).arg(&file).output().unwrap());
    assert!(told.contains("modem.pcapng holds"), "{told}");
    let files = unpacked(&file);
    quiet(&files, &[&address]);
    let status = files.iter().find(|(name, _)| name == "status.json");
    let status = text(&status.unwrap().1);
    assert!(status.contains("\"online\": true"), "{status}");
}

#[test]
fn what_is_no_file_is_neither_waited_for_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    let file = folder.path().join("r.tar");
    let refused = |command: &mut Command| {
        let output = command.output().unwrap();
        let told = text(&output.stderr);
        assert!(
            !output.status.success() && told.contains("no regular file"),
            "{told}"
        );
    };
    refused(uwwan(&["report", "--log"]).arg(&pipe).arg(&file));
    assert!(!file.exists());
    refused(uwwan(&["report", "--force"]).arg(&pipe));
    assert!(!pipe.metadata().unwrap().is_file());
}
