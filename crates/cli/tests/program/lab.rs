//! `uwwan lab` as a user runs it on the emulated modem: its findings are the values of the knobs, and
//! the guide shows its output.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::forms;
use crate::running::{PROGRAM, uwwan};

/// Options that suit the emulated modem, which answers at once.
const QUICK: &[&str] = &[
    "--device",
    "emulator",
    "--wait",
    "0.5",
    "--open-wait",
    "0.7",
    "--tries",
    "1",
];

/// Descriptors of a plain network device: Linux's gadget of NCM.
const GADGET: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../usb/tests/vectors/descriptors/linux_gadget_0525_a4a1.bin"
);

fn run(arguments: &[&str]) -> Output {
    uwwan(arguments).output().expect("it runs")
}

fn lab(what: &[&str], knobs: &[&str]) -> Output {
    let mut arguments = vec!["lab"];
    arguments.extend(what);
    arguments.extend(QUICK);
    for knob in knobs {
        arguments.extend(["--knob", knob]);
    }
    run(&arguments)
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn json(command: &str, output: &Output) -> Value {
    let (out, why) = text(output);
    assert!(output.status.success(), "{why}");
    forms::json(command, &out)
}

/// Returns the values that `discover` chooses by setting, and its row.
fn discovered(knobs: &[&str]) -> (Value, String) {
    let found = json(
        "lab discover",
        &lab(&["discover", "--json", "--settle-limit", "200"], knobs),
    );
    let row = found["row"].as_str().expect("a row").to_owned();
    (found, row)
}

fn chosen<'a>(found: &'a Value, what: &str) -> &'a str {
    let findings = found["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["what"] == what);
    finding.expect(what)["chosen"].as_str().unwrap_or("nothing")
}

#[test]
fn the_place_of_the_ndp_and_the_least_pause_are_found() {
    // A busy machine makes each pause a little longer: the step below is far too short.
    let (found, row) = discovered(&["settle_ms=149"]);
    assert_eq!(chosen(&found, "format and NDP place"), "NTB16, NDP end");
    assert_eq!(
        chosen(&found, "settle pause"),
        "150 ms",
        "in steps of 25 ms"
    );
    assert!(
        row.contains("ndp = \"end\"") && row.contains("settle = 0.3"),
        "{row}"
    );
    assert!(
        row.contains("vendor = 0x03f0") && row.contains("product = 0xa31d"),
        "{row}"
    );
}

#[test]
fn the_padding_is_found() {
    for (end, pad) in [("zlp", "zlp"), ("short", "short"), ("full", "full")] {
        let knob = format!("ntb_end={end}");
        let (found, row) = discovered(&[&knob, "settle_ms=0"]);
        assert_eq!(chosen(&found, "padding"), pad);
        assert!(row.contains(&format!("padding = \"{pad}\"")), "{row}");
    }
}

#[test]
fn the_alignment_is_found() {
    let what = "alignment of datagrams";
    for (knobs, alignment, row_has) in [
        (
            &["ntb_divisor=8", "ntb_needs_divisor=8"][..],
            "8 bytes, remainder 0",
            None,
        ),
        (
            &["ntb_needs_divisor=16"],
            "16 bytes, remainder 0",
            Some("divisor = 16\nremainder = 0"),
        ),
    ] {
        let (found, row) = discovered(&[knobs, &["settle_ms=0"]].concat());
        assert_eq!(chosen(&found, what), alignment, "{knobs:?}");
        assert_eq!(row.contains("divisor"), row_has.is_some(), "{row}");
        assert!(row.contains(row_has.unwrap_or("ndp = \"end\"")), "{row}");
    }
}

#[test]
fn the_format_and_the_limits_are_found() {
    let (found, row) = discovered(&[
        "black_hole_ntb16=on",
        "black_hole_ndp_front=off",
        "ntb_out_max=8192",
        "ntb_in_max=32768",
        "ntb_max_datagrams=9",
        "ntb_divisor=8",
        "ntb_remainder=2",
        "silent_after_direct_switch=off",
    ]);
    assert_eq!(chosen(&found, "format and NDP place"), "NTB32, NDP end");
    assert_eq!(
        chosen(&found, "alignment of datagrams"),
        "8 bytes, remainder 2"
    );
    assert_eq!(chosen(&found, "largest NTB to the device"), "8192 bytes");
    assert_eq!(chosen(&found, "datagrams in an NTB"), "9 datagrams");
    assert_eq!(chosen(&found, "largest NTB from the device"), "32768 bytes");
    assert_eq!(chosen(&found, "settle pause"), "0 ms");
    assert!(row.contains("ntb = \"32\""), "{row}");
    // A value that is as announced needs no row.
    assert!(
        !row.contains("block-size") && !row.contains("max-datagrams"),
        "{row}"
    );
}

#[test]
fn a_sweep_tells_each_cell_and_goes_on_after_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (results, csv, page) = (file("results"), file("a.csv"), file("a.html"));
    let dimensions = ["--ndp", "end,front", "--pad", "short,zlp"];
    let mut arguments = vec![
        "sweep",
        "--json",
        "--results",
        &results,
        "--csv",
        &csv,
        "--report",
        &page,
    ];
    arguments.extend(dimensions);
    let report = json("lab sweep", &lab(&arguments, &[]));
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    for cell in cells {
        let expected = match cell["settings"]["ndp"].as_str() {
            Some("end") => "delivered",
            _ => "lost",
        };
        assert_eq!(cell["worst"], expected, "{cell}");
        assert_eq!(cell["trials"], 1);
    }
    assert_eq!(std::fs::read_to_string(&csv).unwrap().lines().count(), 5);
    let shown = std::fs::read_to_string(&page).unwrap();
    assert_eq!(shown.matches("<b>lost</b>").count(), 2);
    // After an interruption the last trial is cut off, and only that trial is repeated.
    let text = std::fs::read_to_string(&results).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 10;
    std::fs::write(&results, &text[..cut]).unwrap();
    let kept: Vec<&str> = text.lines().take(4).collect();
    let mut arguments = vec!["lab", "sweep", "--resume", &results, "--json"];
    arguments.extend(&QUICK[..6]);
    let report = json("lab sweep", &run(&arguments));
    assert!(
        report["cells"]
            .as_array()
            .unwrap()
            .iter()
            .all(|cell| cell["trials"] == 1)
    );
    let again = std::fs::read_to_string(&results).unwrap();
    assert_eq!(again.lines().count(), 5);
    assert!(again.lines().zip(kept).all(|(now, then)| now == then));
    // No file is replaced without a request.
    let output = lab(&["sweep", "--results", &results], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    let output = lab(&["sweep", "--csv", &csv], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
}

fn text_of(output: &Output) -> String {
    let (out, error) = text(output);
    out + &error
}

/// Returns the worst outcome of each value of the one dimension that is swept.
fn swept(dimension: &str, values: &str, knobs: &[&str], beside: &[&str]) -> Vec<(String, String)> {
    let option = format!("--{dimension}");
    let arguments = [&["sweep", "--json", &option, values], beside].concat();
    worst(&json("lab sweep", &lab(&arguments, knobs)), dimension)
}

fn worst(report: &Value, dimension: &str) -> Vec<(String, String)> {
    let cells = report["cells"].as_array().expect("cells");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let cells = cells.iter();
    cells
        .map(|cell| (word(&cell["settings"][dimension]), word(&cell["worst"])))
        .collect()
}

fn outcomes(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let expected = expected.iter();
    expected
        .map(|(value, outcome)| ((*value).to_owned(), (*outcome).to_owned()))
        .collect()
}

#[test]
fn the_course_of_the_sequence_and_empty_ntbs_are_swept() {
    let all = "rising,constant,random,restart,skip";
    for (taken, constant, others) in [
        ("any", "delivered", "delivered"),
        ("other", "lost", "delivered"),
        ("next", "lost", "lost"),
    ] {
        let knob = format!("ntb_sequence={taken}");
        assert_eq!(
            swept("sequence", all, &[&knob], &[]),
            outcomes(&[
                ("rising", "delivered"),
                ("constant", constant),
                ("random", others),
                ("restart", others),
                ("skip", others),
            ]),
            "{taken}"
        );
    }
    assert_eq!(
        swept("empty", "0,1,3", &["ntb_sequence=next"], &[]),
        outcomes(&[("0", "delivered"), ("1", "delivered"), ("3", "delivered")])
    );
    let report = json(
        "lab sweep",
        &lab(
            &["sweep", "--json", "--empty", "1"],
            &["black_hole_after_empty=on"],
        ),
    );
    assert_eq!(report["cells"][0]["worst"], "lost", "{report}");
}

#[test]
fn the_order_of_the_requests_is_swept() {
    let all = "usual,size-first,alternate-first,open-first";
    let orders = |usual, size, alternate, open| {
        outcomes(&[
            ("usual", usual),
            ("size-first", size),
            ("alternate-first", alternate),
            ("open-first", open),
        ])
    };
    let (good, bad) = ("delivered", "not-online");
    assert_eq!(
        swept("order", all, &[], &[]),
        orders(good, good, good, good)
    );
    let strict = ["open_needs_alternate=on"];
    assert_eq!(
        swept("order", all, &strict, &[]),
        orders(good, good, good, bad)
    );
    let undone = ["input_size_first=on", "format_forgets_size=on"];
    assert_eq!(
        swept("order", all, &undone, &[]),
        orders(good, bad, good, bad)
    );
    // A format that is refused in alternate setting 1 is not used.
    let wide = ["black_hole_ntb16=on"];
    assert_eq!(
        swept("order", all, &wide, &["--ntb", "32"]),
        orders(good, good, "lost", good)
    );
}

#[test]
fn a_modem_that_a_trial_brings_down_is_brought_back() {
    let report = json(
        "lab sweep",
        &lab(
            &["sweep", "--json", "--pause", "0,1,2"],
            &["reset_after=5", "absent_ms=300"],
        ),
    );
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 3);
    for cell in cells {
        assert_eq!(cell["worst"], "gone", "{report}");
        assert_eq!(cell["outcomes"]["gone"], 1, "{report}");
    }
}

#[test]
fn corruption_and_halts_are_told_from_loss() {
    for (knob, outcome) in [
        ("corrupt_in_ppm=300000", "corrupted"),
        ("drop_in_ppm=300000", "lost"),
        ("stall_in_after=4", "halted"),
    ] {
        let report = json("lab sweep", &lab(&["sweep", "--json"], &[knob]));
        assert_eq!(report["cells"][0]["worst"], outcome, "{knob}: {report}");
    }
}

/// Ethernet frames fill the last packet of an NTB with other datagrams than IP does, and only such
/// datagrams show how an NTB has to end.
#[test]
fn the_padding_shows_where_datagrams_are_frames() {
    let expected = outcomes(&[("short", "lost"), ("zlp", "delivered"), ("full", "lost")]);
    let dialled = &["--", "--mode", "ncm"];
    let plain = &[
        "--",
        "--address",
        "10.169.198.77/30",
        "--gateway",
        "10.169.198.78",
    ];
    for (beside, up) in [(&[][..], &dialled[..]), (&["--descriptors", GADGET], plain)] {
        let mut arguments = vec!["lab", "sweep", "--json", "--pad", "short,zlp,full"];
        arguments.extend(QUICK.iter().chain(beside));
        arguments.extend(["--knob", "ntb_end=zlp"].iter().chain(up));
        let report = json("lab sweep", &run(&arguments));
        assert_eq!(worst(&report, "pad"), expected, "{arguments:?}");
    }
}

/// How a datagram fills the last packet depends on the place of the NDP, which changes from cell to cell
/// of one session.
#[test]
fn the_padding_shows_beside_the_place_of_the_ndp() {
    let sweep = [
        "sweep",
        "--json",
        "--pad",
        "short,zlp",
        "--ndp",
        "end,front",
    ];
    let more = [
        "--device", "emulator", "--wait", "1", "--tries", "2", "--seed", "1",
    ];
    let mut arguments = [&["lab"], &sweep[..], &more].concat();
    arguments.extend([
        "--knob",
        "ntb_end=zlp",
        "--knob",
        "black_hole_ndp_front=off",
    ]);
    let report = json("lab sweep", &run(&arguments));
    for cell in report["cells"].as_array().unwrap() {
        let expected = match cell["settings"]["pad"].as_str() {
            Some("zlp") => "delivered",
            _ => "lost",
        };
        assert_eq!(cell["outcomes"][expected], 2, "{report}");
    }
}

/// A plain network device gives no addresses; with those of the user the laboratory handles it as any
/// other device.
#[test]
fn what_a_plain_network_device_needs_is_found() {
    let of = |up: &[&str]| {
        let mut arguments = vec!["lab", "discover", "--json", "--descriptors", GADGET];
        arguments.extend(QUICK);
        arguments.extend(["--settle-limit", "50", "--knob", "ntb_needs_divisor=32"]);
        arguments.extend(up);
        run(&arguments)
    };
    let refused = of(&[]);
    let (_, error) = text(&refused);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(
        error.contains("--address") && error.contains("plain network device"),
        "{error}"
    );
    let output = of(&[
        "--",
        "--address",
        "10.169.198.77/30",
        "--gateway",
        "10.169.198.78",
    ]);
    let found = json("lab discover", &output);
    assert_eq!(
        chosen(&found, "alignment of datagrams"),
        "32 bytes, remainder 0"
    );
}

#[test]
fn what_failed_leaves_its_captures() {
    let folder = tempfile::tempdir().unwrap();
    let evidence = folder.path().join("evidence");
    let failures = evidence.to_str().unwrap();
    let sweep = [
        "sweep",
        "--json",
        "--ndp",
        "end,front",
        "--failures",
        failures,
    ];
    for round in 1..=2 {
        let report = json("lab sweep", &lab(&sweep, &[]));
        let cells = report["cells"].as_array().unwrap();
        assert!(cells[0].get("captures").is_none(), "{report}");
        let path = cells[1]["captures"][0].as_str().unwrap();
        assert!(
            path.ends_with(&format!("{round:03}-ndp-front.pcapng")),
            "{path}"
        );
        let shown = run(&["capture", "show", "--json", path]);
        let (shown, why) = text(&shown);
        assert!(shown.contains("\"kind\":\"ntb\""), "{shown}{why}");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(&evidence).unwrap().count(), 2);
    let discover = [
        "discover",
        "--json",
        "--settle-limit",
        "200",
        "--failures",
        failures,
    ];
    let found = json("lab discover", &lab(&discover, &["settle_ms=0"]));
    let tried = found["findings"][0]["evidence"].as_array().unwrap();
    let named: Vec<&str> = tried
        .iter()
        .filter_map(|tried| tried["capture"].as_str())
        .collect();
    assert_eq!(named.len(), 1, "{found}");
    assert!(
        named[0].ends_with("003-ntb-16-ndp-front.pcapng"),
        "{named:?}"
    );
    assert!(Path::new(named[0]).exists());
}

#[test]
fn what_makes_no_sense_is_refused_with_a_way_out() {
    for (arguments, told) in [
        (&["sweep", "--ndp", "middle"][..], "--ndp"),
        (&["sweep", "--block-size", "1"], "--block-size"),
        (&["bisect", "settle", "--from", "9", "--to", "3"], "--from"),
        (&["sweep", "--target", "2001:db8::1"], "--target"),
        (&["sweep", "--resume", "/nonexistent"], "/nonexistent"),
    ] {
        let output = lab(arguments, &[]);
        let (_, error) = text(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

/// The guide has every command with its output: `…` stands for any text.
#[test]
fn the_guide_shows_what_the_commands_print() {
    let guide = include_str!("../../LAB.md");
    let mut shown = 0;
    for block in guide.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for part in block.split("$ ").skip(1) {
            let (line, expected) = part.split_once('\n').unwrap();
            let program = Path::new(PROGRAM).parent().unwrap();
            let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
            let output = Command::new("sh")
                .args(["-c", line])
                .env("PATH", path)
                .env_remove("XDG_RUNTIME_DIR")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let (out, error) = text(&output);
            shown += 1;
            assert!(output.status.success(), "{line}: {error}");
            if expected.trim().is_empty() {
                continue;
            }
            // Columns are as wide as their content.
            let words = |text: &str| -> Vec<String> {
                let lines = text.trim_end().lines();
                lines
                    .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                    .collect()
            };
            let (lines, wanted) = (words(&out), words(expected));
            assert_eq!(lines.len(), wanted.len(), "{line}:\n{out}{error}");
            for (line, wanted) in lines.iter().zip(wanted) {
                let fits = match wanted.split_once('…') {
                    Some((begin, _)) => line.starts_with(begin),
                    None => line == &wanted,
                };
                assert!(fits, "expected {wanted:?}, found {line:?}:\n{out}");
            }
        }
    }
    assert_eq!(shown, 5);
}
