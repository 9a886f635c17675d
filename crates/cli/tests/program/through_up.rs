//! Commands through a running `up` with several sessions, on the emulated modem, in a network
//! namespace of their own.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::forms;
use crate::running::{PATIENCE, Up, succeeds, text};

/// Returns the output of a command as JSON.
#[track_caller]
fn value(up: &Up, arguments: &[&str]) -> Value {
    let output = up.ask(&[arguments, &["--json"]].concat());
    forms::json(&forms::command_of(arguments), succeeds(&output))
}

/// Returns the error of a command that the modem or `up` refuses.
#[track_caller]
fn refused(up: &Up, arguments: &[&str]) -> String {
    let output = up.ask(arguments);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{arguments:?}: {told}");
    told
}

fn both_online(status: &Value) -> bool {
    status["sessions"]
        .as_array()
        .is_some_and(|list| !list.is_empty() && list.iter().all(|one| one["online"] == true))
}

#[test]
fn sessions_have_interfaces_addresses_and_routes_of_their_own() {
    let up = Up::online(&[
        "--knob",
        "ipv6=on",
        "--tun-name",
        "wwan0",
        "--session",
        "0:apn=a,ip-type=ipv4",
        "--session",
        "3:apn=b,tun-name=wwan3,route=198.51.100.0/24,ip-type=ipv4",
        "--session",
        "5:apn=c,tun-name=wwan5,ip-type=ipv6,mtu=1400",
    ]);
    let status = up.until("both sessions", both_online);
    assert_eq!(status["sessions"][0]["apn"], "b");
    assert_eq!(status["sessions"][0]["interface"]["name"], "wwan3");
    assert_eq!(
        status["sessions"][0]["addresses"]["ipv4"]["address"],
        "10.169.198.89"
    );
    let addresses = up.inside(&["cat", "/proc/net/dev"]);
    for name in ["wwan0", "wwan3", "wwan5"] {
        assert!(addresses.contains(name), "{addresses}");
    }
    let six = up.inside(&["cat", "/proc/net/if_inet6"]);
    assert!(six.contains("wwan5") && !six.contains("wwan3"), "{six}");
    let routes = up.inside(&["cat", "/proc/net/route"]);
    // The number is 198.51.100.0 as the kernel prints it.
    assert!(
        routes
            .lines()
            .any(|line| line.starts_with("wwan3") && line.contains("006433C6")),
        "{routes}"
    );
    let told = value(&up, &["sessions"]);
    let numbers: Vec<&Value> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["session"])
        .collect();
    assert_eq!(numbers, [&json!(0), &json!(3), &json!(5)]);
    let text = up.ask(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("session 3  online through wwan3"), "{text}");

    // A session of `up` is not taken from it, except by force, and then `up` takes it back.
    assert!(refused(&up, &["disconnect", "3"]).contains("operation_not_allowed"));
    assert!(refused(&up, &["radio", "off"]).contains("operation_not_allowed"));
    assert!(refused(&up, &["reset"]).contains("--force"));
    assert_eq!(
        value(&up, &["disconnect", "3", "--force"])["was_active"],
        true
    );
    up.until("its end", |status| status["sessions"][0]["online"] == false);
    up.until("its return", both_online);
    let told = up.ask(&["down"]);
    assert!(told.status.success());
}

#[test]
fn commands_ask_through_the_running_up() {
    let up = Up::online(&[]);
    let told = value(&up, &["info"]);
    assert_eq!(told["firmware"], "11.617.13.00.00");
    assert_eq!(told["blocks"]["format"], "16");
    assert_eq!(told["network"]["state"], "home");
    // The AT port is found beside the bring-up, and may be found later.
    let deadline = Instant::now() + PATIENCE;
    let at = loop {
        let at = value(&up, &["info"])["at"].take();
        if at.is_object() || Instant::now() > deadline {
            break at;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(at["model"], "ME906s-158", "{at}");
    assert_eq!(at["signal"]["technology"], "LTE", "{at}");
    assert_eq!(at["ipv6_capability"], 1, "{at}");
    // State stays between commands, because there is one modem.
    assert_eq!(
        value(&up, &["sms", "list", "--new"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(value(&up, &["sms", "list", "--new"]), json!([]));
    assert_eq!(
        value(&up, &["sms", "send", "+4790000001", "to myself"])["parts"],
        1
    );
    let told = value(&up, &["sms", "list", "--new"]);
    assert_eq!(told[0]["text"], "to myself");
    value(&up, &["phonebook", "write", "Kari", "+4799887766"]);
    assert_eq!(value(&up, &["phonebook", "list"])["used"], 4);
    let told = value(&up, &["connect", "--session", "4", "--apn", "x"]);
    assert_eq!(told["addresses"], json!(["10.169.198.93/30"]));
    assert_eq!(value(&up, &["sessions"]).as_array().unwrap().len(), 2);
    assert_eq!(
        value(&up, &["disconnect", "4"]),
        json!({"session": 4, "was_active": true})
    );
    let told = value(
        &up,
        &[
            "mbim",
            "send",
            "--service",
            "basic_connect",
            "--cid",
            "signal_state",
            "--query",
        ],
    );
    assert_eq!(told["fields"]["rssi"], 21);
    // The modem is still online, and the driver's own session was never touched.
    let status = up.until("still online", |status| status["online"] == true);
    assert_eq!(status["attempts"], 1);
}

/// Returns the objects of an output with one object in each line.
fn objects(command: &str, output: &Output) -> Vec<Value> {
    forms::lines(command, &output.stdout)
}

/// The messages are a CLOSE with another length than its header says, a COMMAND in two fragments,
/// and one with an id that must not confuse the driver.
#[test]
fn raw_messages_go_beside_the_drivers_own() {
    let up = Up::online(&[]);
    let send = |raw: &[&str], more: &[&str]| {
        let raw = raw.iter().flat_map(|bytes| ["--raw", bytes]);
        let head = ["mbim", "send", "--json"].into_iter();
        let arguments: Vec<&str> = head.chain(raw).chain(more.iter().copied()).collect();
        up.ask(&arguments)
    };
    // The command is a query of DEVICE_CAPS, transaction 0x1001, whole and in two fragments.
    let body = "a289cc33bcbb8b4fb6b0133ec2aae6df 01000000 00000000 00000000";
    let whole = format!("03000000 30000000 01100000 01000000 00000000 {body}");
    let output = send(&[&whole], &["--count", "1"]);
    let told = objects("mbim send", &output);
    assert_eq!(
        told[0],
        json!({"event": "sent", "transfer": 0, "length": 48, "error": null})
    );
    assert_eq!(told[1]["answers"], true, "{told:?}");
    assert_eq!(told[1]["message"]["transaction_id"], 0x1001);
    assert_eq!(told[1]["message"]["type"], "command_done");
    let (first, second) = body.split_at(16);
    let fragments = [
        format!("03000000 1c000000 02100000 02000000 00000000 {first}"),
        format!("03000000 28000000 02100000 02000000 01000000 {second}"),
    ];
    let output = send(&[&fragments[0], &fragments[1]], &["--count", "1"]);
    let told = objects("mbim send", &output);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2]["message"]["type"], "command_done");
    // There is no such message type, and the modem answers so.
    let output = send(&["77000000 0c000000 03100000"], &["--count", "1"]);
    let told = objects("mbim send", &output);
    assert_eq!(told[1]["message"]["type"], "function_error", "{told:?}");
    // The bytes have no transaction id, so no answer matches them.
    let output = send(&["0300"], &["--wait", "0.3"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(
        objects("mbim send", &output)[1..]
            .iter()
            .all(|told| told["answers"] == false)
    );
    // A PIN is refused on the command line.
    let pin = "03000000 50000000 01000000 01000000 00000000 a289cc33bcbb8b4fb6b0133ec2aae6df \
               04000000 01000000 20000000 02000000 00000000 18000000 08000000 00000000 00000000 \
               3100320033003400";
    let output = send(&[pin], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a secret"));
    // The driver's own session was never touched.
    let status = up.until("still online", |status| status["online"] == true);
    assert_eq!(status["attempts"], 1);
    value(&up, &["signal"]);
}

#[test]
fn ntbs_go_out_and_what_comes_back_is_shown() {
    let up = Up::online(&["--route", "default"]);
    let status = up.until("an address", |status| {
        status["addresses"]["ipv4"]["address"].is_string()
    });
    let address = status["addresses"]["ipv4"]["address"].as_str().unwrap();
    let address = address.split('/').next().unwrap();
    let ping = format!("{address},198.51.100.1,32");
    let build = |more: &[&str]| {
        let output = up.ask(&[&["ntb", "build", "--ping", &ping][..], more].concat());
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let (one, two) = (build(&[]), build(&["--sequence", "9", "--pad", "600"]));
    let output = up.ask(&[
        "ntb", "send", &one, &two, "--count", "1", "--wait", "20", "--json",
    ]);
    let told = objects("ntb send", &output);
    assert!(output.status.success(), "{told:?}");
    let sent = |told: &&Value| told["event"] == "sent";
    assert_eq!(told.iter().filter(sent).count(), 2, "{told:?}");
    let answer = format!("198.51.100.1 > {address} ICMP");
    let answers = |told: &Value| {
        let datagrams = told["ntb"]["datagrams"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        datagrams
            .iter()
            .filter(|datagram| datagram["about"] == answer.as_str())
            .count()
    };
    assert!(told.iter().map(answers).sum::<usize>() >= 1, "{told:?}");
    // The NTB is broken: the modem drops it, and `up` continues.
    let broken = build(&["--wrong", "ndp-index=4000"]);
    let output = up.ask(&["ntb", "send", &broken, "--wait", "0.2"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = up.inside(&["ping", "-c", "1", "-W", "10", "198.51.100.1"]);
    assert!(text.contains("1 received"), "{text}");
    let status = up.until("still online", |status| status["online"] == true);
    assert_eq!(status["attempts"], 1);
}
