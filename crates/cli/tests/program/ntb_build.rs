//! `uwwan ntb build` as a user meets it: its output, its files and its refusals.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::forms;
use crate::running::{self, KERNEL};

fn uwwan(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = running::uwwan(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its options reads no input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn good(arguments: &[&str], input: &[u8]) -> String {
    let output = uwwan(arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn decode(ntb: &[u8]) -> Value {
    let text = good(&["ntb", "decode", "--json", "--direction", "out", "-"], ntb);
    forms::json("ntb decode", &text)
}

#[test]
fn every_form_of_output_is_the_same_ntb() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.ntb").display().to_string();
    let build = [
        "ntb",
        "build",
        "--ping",
        "10.0.0.2,10.0.0.1,4",
        "--sequence",
        "300",
    ];
    fn with<'a>(build: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [build, more].concat()
    }
    let hex = good(&build, b"");
    let seen = decode(hex.as_bytes());
    assert_eq!(
        (&seen["sequence"], &seen["ndp"]),
        (&300.into(), &"end".into())
    );
    assert_eq!(seen["datagrams"][0]["about"], "10.0.0.2 > 10.0.0.1 ICMP");
    assert_eq!(
        (&seen["strict"], &seen["block_length"]),
        (&Value::Null, &60.into())
    );
    let bytes = uwwan(&with(&build, &["--output", "bytes"]), b"").stdout;
    assert_eq!((bytes.len(), &bytes[..4]), (60, &b"NCMH"[..]));
    assert_eq!(decode(&bytes)["sequence"], 300);

    good(&with(&build, &["--file", &file]), b"");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let again = uwwan(&with(&build, &["--file", &file]), b"");
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    good(&with(&build, &["--file", &file, "--force"]), b"");

    let c = good(&with(&build, &["--output", "c"]), b"");
    let (head, rest) = c.split_once('{').unwrap();
    assert_eq!(head, "static const unsigned char ntb[] = ");
    let digits = rest.trim_end().trim_end_matches("};");
    assert_eq!(decode(digits.as_bytes())["sequence"], 300);

    let told = forms::json("ntb build", good(&with(&build, &["--json"]), b""));
    assert_eq!(told["datagrams"][0]["offset"], 12);
    assert_eq!(told["ndps"][0], 44);
    assert_eq!(
        decode(told["hex"].as_str().unwrap().as_bytes())["sequence"],
        300
    );
}

#[test]
fn each_ndp_of_a_chain_is_shown_where_it_was_built() {
    let build = |further: &[&str]| {
        let ping = ["--ping", "10.0.0.2,10.0.0.1", "--ping", "10.0.0.2,10.0.0.1"];
        let fixed = ["ntb", "build", "--json", "--chain", "1"];
        let words = [&fixed[..], &ping, further].concat();
        forms::json("ntb build", good(&words, b""))
    };
    for further in [&[][..], &["--ndp", "front", "--ntb", "32"]] {
        let built = build(further);
        let hex = built["hex"].as_str().unwrap().as_bytes();
        assert_eq!(built["ndps"].as_array().unwrap().len(), 2);
        assert_eq!(decode(hex)["ndp_offsets"], built["ndps"]);
        let shown = good(&["ntb", "decode", "-"], hex);
        let offsets = format!("NDPs at {}, {},", built["ndps"][0], built["ndps"][1]);
        assert!(shown.contains(&offsets), "{shown}");
    }
}

#[test]
fn options_and_descriptions_say_the_same() {
    let text = "ntb = 32\nplacement = \"front\"\nndp-alignment = 16\n\
                [[ndp]]\nsession = 2\ndatagram = [{ zeros = 40, wrong = { length = \"+4\" } }]\n\
                [[ndp]]\nsession = 2\ndatagram = [{ zeros = 41 }]\nwrong = { next = \"ndp 0\" }\n\
                [wrong]\nblock-length = \"+1\"\n";
    let described = good(&["ntb", "build", "-"], text.as_bytes());
    let options = [
        "ntb",
        "build",
        "--zeros",
        "40",
        "--zeros",
        "41",
        "--chain",
        "1",
        "--session",
        "2",
        "--ntb",
        "32",
        "--ndp",
        "front",
        "--ndp-alignment",
        "16",
        "--wrong",
        "datagram-length@0=+4",
        "--wrong",
        "next-ndp@1=ndp 0",
        "--wrong",
        "block-length=+1",
    ];
    assert_eq!(good(&options, b""), described);
    // The number is larger than the number of bytes.
    let faulty = uwwan(&["ntb", "decode", "-"], described.as_bytes());
    assert!(String::from_utf8_lossy(&faulty.stderr).contains("more than the"));
}

#[test]
fn datagrams_come_from_a_capture() {
    let json = good(
        &["ntb", "decode", "--json", "--direction", "out", KERNEL],
        b"",
    );
    let captured: Vec<Value> = json
        .lines()
        .flat_map(|line| {
            let ntb = forms::json("ntb decode", line);
            ntb["datagrams"].as_array().unwrap().clone()
        })
        .collect();
    let built = good(
        &[
            "ntb", "build", "--from", KERNEL, "--skip", "1", "--count", "3",
        ],
        b"",
    );
    let seen = decode(built.as_bytes());
    let about = |datagram: &Value| {
        (
            datagram["stream"].clone(),
            datagram["length"].clone(),
            datagram["about"].clone(),
        )
    };
    let mut built: Vec<_> = seen["datagrams"]
        .as_array()
        .unwrap()
        .iter()
        .map(about)
        .collect();
    let mut expected: Vec<_> = captured[1..4].iter().map(about).collect();
    // The datagrams of a stream stand together.
    let key = |datagram: &(Value, Value, Value)| format!("{datagram:?}");
    built.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(built, expected);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (arguments, input, told) in [
        (&[][..], "", "there is nothing to build"),
        (
            &["-"],
            "[[ndp]]\nsesion = 1\n",
            "line 2: unknown field `sesion`",
        ),
        (
            &["-", "--zeros", "4"],
            "[[ndp]]\n",
            "the description has the datagrams",
        ),
        (
            &["--zeros", "4", "--wrong", "ndp-length@1=4"],
            "",
            "there are 1 NDPs",
        ),
        (
            &["--zeros", "4", "--wrong", "next=4"],
            "",
            "there is no such fault",
        ),
        (
            &["--zeros", "4", "--wrong", "block-length=no"],
            "",
            "\"no\" is no value",
        ),
        (&["--ping", "10.0.0.1"], "", "expected two addresses"),
        (&["--datagram", "xyz"], "", "cannot read the input"),
        (&["--from", "/dev/null"], "", "the capture cannot be read"),
        (&["no-such-file.toml"], "", "no-such-file.toml"),
        (&["/dev/zero"], "", "longer than"),
    ] {
        let output = uwwan(
            &[&["ntb", "build"][..], arguments].concat(),
            input.as_bytes(),
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_modem_that_nobody_runs_is_brought_online_for_ntbs() {
    let base = tempfile::tempdir().unwrap();
    let send = |ntbs: &[&str], more: &[&str]| {
        let output = running::uwwan(&["ntb", "send", "--device", "emulator"])
            .env("UWWAN_RUNTIME_DIR", base.path())
            .args(ntbs)
            .args(more)
            .output()
            .unwrap();
        let told = forms::lines("ntb send", &output.stdout);
        (output, told)
    };
    let (output, told) = send(&["ffff"], &["--json", "--wait", "0"]);
    running::succeeds(&output);
    assert_eq!(told[0]["event"], "online", "{told:?}");
    let own = told[0]["addresses"]["ipv4"]["address"].as_str().unwrap();
    let gateway = told[0]["addresses"]["gateway4"].as_str().unwrap();
    let ping = format!("{own},{gateway}");
    let ntb = good(&["ntb", "build", "--ping", &ping], b"");
    let more = [
        "--json", "--wait", "30", "--count", "1", "--", "--ntb", "32",
    ];
    let (output, told) = send(&[&ntb], &more);
    running::succeeds(&output);
    let sent = told.iter().find(|told| told["event"] == "sent").unwrap();
    assert_eq!(sent["error"], Value::Null, "{told:?}");
    let answer = format!("{gateway} > {own} ICMP");
    let answered = told.iter().any(|told| {
        let datagrams = told["ntb"]["datagrams"].as_array().into_iter().flatten();
        let mut about = datagrams.map(|datagram| &datagram["about"]);
        told["event"] == "came" && about.any(|about| about == answer.as_str())
    });
    assert!(answered, "{told:?}");
    // A modem that does not come online is reported.
    let (refused, _) = send(&["ffff"], &["--knob", "connect_status=2"]);
    let error = running::text(&refused.stderr);
    assert!(!refused.status.success(), "{error}");
    assert!(error.contains("does not come online"), "{error}");
}
