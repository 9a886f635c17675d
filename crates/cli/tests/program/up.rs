//! `up`, `status` and `down` together, on the emulated modem, in a network namespace of their own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::forms;
use crate::running::{PATIENCE, Up, bare, emulated, succeeds, text, uwwan};

/// Returns the process id of the driver.
fn driver(up: &Up) -> u64 {
    let status = up.status();
    let processes = status["processes"].as_array().unwrap();
    let driver = processes.iter().find(|process| process["name"] == "driver");
    driver.unwrap()["pid"].as_u64().unwrap()
}

/// Runs `ip` in the namespaces of `up`.
fn ip(up: &Up, words: &str) {
    let words: Vec<&str> = std::iter::once("ip").chain(words.split(' ')).collect();
    up.inside(&words);
}

fn leaves_nothing(up: &Up) {
    assert_eq!(std::fs::read_dir(up.base.path()).unwrap().count(), 0);
}

#[test]
fn online_seen_and_put_down() {
    let mut up = Up::start(&["--route", "default"]);
    let configuration = up.event("configuration");
    assert_eq!(
        (&configuration["before"], &configuration["after"]),
        (&2.into(), &3.into())
    );
    up.event("online");

    let output = up.ask(&["status", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let status = forms::json("status", &output.stdout);
    assert_eq!(status["online"], true);
    assert_eq!(status["state"], "online");
    assert_eq!(status["framing"]["ndp"], "end");
    assert_eq!(status["addresses"]["ipv4"]["address"], "10.169.198.77");
    let processes = status["processes"].as_array().unwrap();
    let names: Vec<_> = processes.iter().map(|process| &process["name"]).collect();
    assert_eq!(names, ["driver", "monitor"]);
    for process in &processes[..1] {
        for restriction in ["no_new_privs", "seccomp"] {
            assert_eq!(process[restriction], true, "{process}");
        }
        let landlock = process["landlock"].as_str().unwrap();
        let version = process["landlock_version"].as_u64().unwrap();
        assert!(
            landlock.starts_with(&format!("version {version}")),
            "{process}"
        );
    }
    assert!(processes[1]["landlock_version"].is_null(), "{status}");
    let interface = &status["interface"];
    assert_eq!(interface["kind"], "tun");
    let offload = interface["mode"].as_str().unwrap().starts_with("offload");
    assert_eq!(interface["offload"], offload);
    for change in [
        json!({"kind": "link", "mtu": 1500}),
        json!({"kind": "address", "address": "10.169.198.77", "prefix": 30}),
    ] {
        let changes = interface["changes"].as_array().unwrap();
        assert!(changes.contains(&change), "{change}: {interface}");
    }

    let output = up.ask(&["status", "--device", "emulator"]);
    let told = text(&output.stdout);
    for part in [
        "03f0:a31d at 1-1",
        "online for ",
        "10.169.198.77/30 via 10.169.198.78",
    ] {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert_eq!(
        up.ask(&["status", "--device", "9-9"]).status.code(),
        Some(3)
    );

    let second = emulated(up.base.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(6));
    let told = text(&second.stderr);
    assert!(
        told.contains("already runs the modem at emulator"),
        "{told}"
    );

    let output = up.ask(&["down", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let down = forms::json("down", &output.stdout);
    assert_eq!(down["stopped"], true);
    assert!(up.end().success());
    leaves_nothing(&up);
    assert_eq!(up.ask(&["status"]).status.code(), Some(3));
}

#[test]
fn a_service_manager_hears_that_it_does_not_hang() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = emulated(base.path());
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID");
    let mut up = Up::spawn(base, command);
    let heard = || {
        let mut buffer = [0; 512];
        let count = manager.recv(&mut buffer).expect("it goes on");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    while !heard().starts_with("READY=1") {}
    for _ in 0..5 {
        while heard() != "WATCHDOG=1" {}
    }
    up.signal(rustix::process::Signal::TERM);
    while heard() != "STOPPING=1" {}
    assert!(up.end().success());
}

#[test]
fn a_watcher_sees_the_end() {
    let mut up = Up::start(&[]);
    up.event("online");
    let mut watcher = up
        .command(&["status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let first = lines.next().expect("a watcher is told at once").unwrap();
    assert!(up.ask(&["down"]).status.success());
    assert!(watcher.wait().unwrap().success());
    for line in std::iter::once(first).chain(lines.map_while(Result::ok)) {
        let status = forms::json("status", &line);
        assert!(status["rungs"].is_array());
    }
}

#[test]
fn a_signal_is_a_clean_stop() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut up = Up::start(&[]);
        up.event("online");
        up.signal(signal);
        assert!(up.event("stopped")["failure"].is_null());
        assert!(up.end().success());
        leaves_nothing(&up);
    }
}

/// Starts an `up` whose standard output is `out`, and waits until it is online.
fn online_telling(out: impl Into<Stdio>, arguments: &[&str]) -> Up {
    let base = tempfile::tempdir().unwrap();
    let mut command = emulated(base.path());
    command.args(arguments).stdout(out);
    let up = Up::spawn_telling(base, command);
    up.until("online", |status| status["online"] == true);
    up
}

/// Returns a pipe that is full to the last byte, as after a reader that no longer reads.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b' '; 4096]).is_ok() {}
    while writer.write(b" ").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn a_reader_that_left_does_not_end_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut up = online_telling(writer, &["--json"]);
    assert!(up.ask(&["down"]).status.success());
    assert!(up.end().success());
    leaves_nothing(&up);
}

#[test]
fn a_full_disk_does_not_end_it() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut up = online_telling(full.unwrap(), &["-v"]);
    up.signal(rustix::process::Signal::TERM);
    assert!(up.end().success());
    leaves_nothing(&up);
}

#[test]
fn nothing_of_the_log_can_be_written_and_it_runs() {
    // The monitor and the driver's first steps write without a queue, and log at this level.
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let (_reader, writer) = full_pipe();
    for [out, errors] in [
        [full().into(), full().into()],
        [Stdio::null(), Stdio::from(writer)],
    ] {
        let base = tempfile::tempdir().unwrap();
        let mut command = emulated(base.path());
        command
            .args(["-vvv", "--dns", "none"])
            .stdout(out)
            .stderr(errors);
        let mut up = Up::spawn_telling(base, command);
        up.until("online", |status| status["online"] == true);
        assert!(up.ask(&["down"]).status.success());
        assert!(up.end().success());
        leaves_nothing(&up);
    }
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    for by_signal in [false, true] {
        let (_reader, writer) = full_pipe();
        let mut up = online_telling(writer, &[]);
        if by_signal {
            up.signal(rustix::process::Signal::TERM);
        } else {
            assert!(up.ask(&["down"]).status.success());
        }
        assert!(up.end().success());
        leaves_nothing(&up);
    }
}

#[test]
fn a_signal_during_the_bring_up_stops_it_too() {
    let mut up = Up::start(&["--knob", "slow_open_ms=60000"]);
    up.event("configuration");
    up.signal(rustix::process::Signal::TERM);
    assert!(up.end().success());
    leaves_nothing(&up);
}

/// Kills a process at once, as the kernel does when memory has run out.
fn kill(pid: u64) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_driver_that_was_killed_is_cleaned_up_after() {
    let mut up = Up::start(&["--dns", "none"]);
    up.event("online");
    let driver = driver(&up);
    assert_ne!(driver, u64::from(up.child.id()), "one process");
    kill(driver);
    // The status is the one by which shells report SIGKILL.
    assert_eq!(up.end().code(), Some(128 + 9));
    leaves_nothing(&up);
}

#[test]
fn a_driver_whose_monitor_was_killed_ends() {
    let mut up = Up::start(&[]);
    up.event("online");
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    up.event("stopped");
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_dir(up.base.path()).unwrap().count() != 0 {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The namespace outlives the runs: a shell has it. $0 is the program.
const TWO_RUNS: &str = r#"
    ip tuntap add dev kept0 mode tun && ip tuntap add dev kept1 mode tun || exit 9
    ip address add 172.16.9.9/24 dev kept0
    up() {
        "$0" up --device emulator --settle 0.2 --knob ipv6=on --route default --tun-name $1 >"$UWWAN_STATE_DIR/log" 2>&1 &
        monitor=$!
        until "$0" status --json 2>/dev/null | grep -q '"online": *true'; do
            kill -0 $monitor || { cat "$UWWAN_STATE_DIR/log"; exit 9; }
            sleep 0.05
        done
    }
    up kept0
    ip -br addr show kept0
    driver=$(cat /proc/$monitor/task/$monitor/children)
    kill -STOP $monitor
    kill -KILL $driver $monitor
    wait $monitor
    ip link set kept0 down && ip link set kept0 name other0
    ip -br addr show other0
    up kept1
    echo next
    ip -br addr show other0
    ip -o addr show kept1 | grep -c 10.169.198.77
    ip route
    "$0" down && wait $monitor
    echo $?
    ls -A "$UWWAN_RUNTIME_DIR"
    "#;

#[test]
fn what_killed_processes_left_on_an_interface_goes_whatever_the_next_run_uses() {
    let (base, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--net", "--", "sh", "-c", TWO_RUNS])
        .arg(env!("CARGO_BIN_EXE_uwwan"))
        .env("UWWAN_RUNTIME_DIR", base.path())
        .env("UWWAN_STATE_DIR", state.path())
        .env_remove("NOTIFY_SOCKET")
        .output()
        .expect("unshare (util-linux) runs");
    let seen = succeeds(&output);
    let (before, after) = seen.split_once("next\n").unwrap();
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let of = |name: &str| {
        let mut lines = before.lines().map(words);
        lines.find(|line| line[0] == name).unwrap()
    };
    let own = "10.169.198.77/30".to_owned();
    assert!(
        of("kept0").contains(&own) && of("other0").contains(&own),
        "{before}"
    );
    let lines: Vec<&str> = after.lines().collect();
    assert_eq!(words(lines[0])[2..], ["172.16.9.9/24"], "{after}");
    assert_eq!(lines[1], "1", "{after}");
    assert!(
        !lines[2..].iter().any(|line| line.contains("other0")),
        "{after}"
    );
    assert_eq!(lines.last(), Some(&"0"), "nothing is left: {after}");
}

#[test]
fn a_killed_one_does_not_stand_in_the_way() {
    let mut up = Up::start(&[]);
    up.event("online");
    let driver = driver(&up);
    // The monitor could clean up after a driver that ends first.
    up.signal(rustix::process::Signal::STOP);
    kill(driver);
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    let output = up.ask(&["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let base = std::mem::replace(&mut up.base, tempfile::tempdir().unwrap());
    assert!(base.path().join("emulator/control").exists());
    let mut next = Up::start_in(base, &[]);
    next.event("online");
    next.signal(rustix::process::Signal::TERM);
    assert!(next.end().success());
    leaves_nothing(&next);
}

#[test]
fn the_black_hole_is_diagnosed() {
    let mut up = Up::start(&["--ndp", "front"]);
    up.event("online");
    let diagnosis = up.event("diagnosis");
    let said = diagnosis["text"].as_str().unwrap();
    assert!(said.starts_with("nothing comes back: "), "{said}");
    let status = forms::json("status", up.ask(&["status", "--json"]).stdout);
    assert_eq!(diagnosis["diagnosis"], "nothing-comes-back");
    let told = json!({"diagnosis": "nothing-comes-back", "text": diagnosis["text"]});
    assert_eq!(status["diagnosed"], json!([told]));
    assert_eq!(status["diagnoses"], json!([diagnosis["text"]]));
    assert!(up.ask(&["down"]).status.success());
}

#[test]
fn a_locked_sim_needs_the_right_pin() {
    let base = tempfile::tempdir().unwrap();
    let run = |pin: Option<&[u8]>| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut command = emulated(base.path());
        command.args(["--knob", "pin=4711"]);
        if let Some(pin) = pin {
            file.write_all(pin).unwrap();
            command.arg("--pin-file").arg(file.path());
        }
        let output = command.output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains("4711") && !said.contains("8042"), "{said}");
        (output.status.code(), said)
    };
    let (status, said) = run(None);
    assert_eq!(status, Some(7), "{said}");
    assert!(said.contains("--pin-file"), "{said}");
    let (status, said) = run(Some(b"8042\n"));
    assert_eq!(status, Some(7), "{said}");

    let mut right = tempfile::NamedTempFile::new().unwrap();
    right.write_all(b"4711\n").unwrap();
    let path = right.path().to_string_lossy().into_owned();
    let mut up = Up::start(&["--knob", "pin=4711", "--pin-file", &path]);
    up.event("online");
    assert!(up.ask(&["down"]).status.success());
}

/// Runs an `up` that ends without being online, and returns its error.
fn fails(arguments: &[&str], status: i32) -> String {
    let base = tempfile::tempdir().unwrap();
    let output = emulated(base.path()).args(arguments).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

#[test]
fn what_passes_by_itself_is_waited_for_on_a_line_that_counts() {
    let knobs = ["sim_ms=5000", "busy_ms=2000", "register_status=9"];
    let knobs = knobs.iter().flat_map(|knob| ["--knob", knob]);
    let mut up = Up::start(&knobs.collect::<Vec<_>>());
    let waiting = up.event("waiting");
    assert!(
        waiting["text"].as_str().unwrap().contains("busy"),
        "{waiting}"
    );
    loop {
        let waiting = up.event("waiting");
        if waiting["rung"] == "sim" {
            assert_eq!(up.status()["state"], "waiting", "{waiting}");
            assert!(
                waiting["limit_seconds"].as_f64().unwrap() >= 12.0,
                "{waiting}"
            );
            break;
        }
    }
    up.event("online");
    up.ask(&["down"]);
    assert!(up.end().success());
    let said = fails(&["--knob", "hardware_radio_on=off", "--timeout", "2"], 7);
    assert!(
        said.contains("waiting for the radio switch") && said.contains("not online in 2 s"),
        "{said}"
    );
}

#[test]
fn a_modem_that_tells_no_addresses_gets_them_over_the_link() {
    for answer in ["empty", "refused"] {
        let knob = format!("ip_configuration={answer}");
        let mut up = Up::start(&["--knob", &knob, "--knob", "ipv6=on", "--route", "default"]);
        let addresses = up.event("addresses");
        assert_eq!(addresses["ipv4"]["address"], "10.169.198.77", "{addresses}");
        assert_eq!(addresses["gateway4"], "10.169.198.78", "{addresses}");
        let ipv6 = addresses["ipv6"]["address"].as_str().unwrap();
        assert!(ipv6.starts_with("2a02:2121:2c4:7105:"), "{addresses}");
        up.event("online");
        // Beside offer, lease and advertisement the answer to the probe comes, which is sent from the
        // address: packets flow.
        up.until("the answer", |status| {
            status["traffic"]["downlink"]["blocks"].as_u64() > Some(3)
        });
        up.ask(&["down"]);
        assert!(up.end().success());
    }
}

#[test]
fn a_family_the_modem_does_not_tell_comes_over_the_link() {
    for (told, first, then) in [("ipv4", "ipv4", "ipv6"), ("ipv6", "ipv6", "ipv4")] {
        let knob = format!("ip_configuration={told}");
        let mut up = Up::start(&["--knob", &knob, "--knob", "ipv6=on", "--route", "default"]);
        let addresses = up.event("addresses");
        assert!(addresses[first].is_object() && addresses[then].is_null());
        up.event("online");
        let addresses = up.event("addresses");
        assert!(addresses[first].is_object(), "{addresses}");
        let given = addresses[then]["address"].as_str().unwrap_or_default();
        let expected = ["10.169.198.77", "2a02:2121:2c4:7105:"];
        assert!(
            expected.iter().any(|start| given.starts_with(start)),
            "{addresses}"
        );
        // The host interface has the address as well.
        up.until("the address", |status| {
            let applied = status["interface"]["applied"].to_string();
            applied.contains(&format!("address {given}/"))
        });
        up.ask(&["down"]);
        assert!(up.end().success());
    }
}

#[test]
fn merged_udp_can_be_switched_off() {
    for (mode, udp) in [("offload", true), ("offload-tcp", false)] {
        let mut up = Up::start(&["--tun-mode", mode]);
        up.event("online");
        let status = up.ask(&["status", "--json"]);
        let status = forms::json("status", &status.stdout);
        let told = status["interface"]["mode"].as_str().unwrap();
        assert!(told.contains("tso4"), "{told}");
        // Kernels before 6.2 merge no UDP in either mode.
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let version: Vec<u32> = kernel
            .split('.')
            .take(2)
            .filter_map(|n| n.parse().ok())
            .collect();
        assert_eq!(
            told.contains("uso4"),
            udp && version >= vec![6, 2],
            "{told}, {kernel}"
        );
        up.ask(&["down"]);
        assert!(up.end().success());
    }
}

#[test]
fn an_fcc_lock_is_lifted_for_who_asks_for_it() {
    let said = fails(&["--knob", "fcc_lock=on"], 7);
    assert!(
        said.contains("FCC lock")
            && said.contains("uwwan radio unlock")
            && said.contains("responsibility"),
        "{said}"
    );
    let hidden = ["--knob", "fcc_lock=on", "--knob", "fcc_hides_sim=on"];
    let said = fails(&[&hidden[..], &["--timeout", "3"]].concat(), 7);
    assert!(said.contains("the SIM, which the FCC lock hides"), "{said}");
    let mut up = Up::start(&[&hidden[..], &["--fcc-unlock"]].concat());
    let notice = loop {
        let notice = up.event("notice");
        if notice["text"].as_str().unwrap().contains("FCC") {
            break notice;
        }
    };
    assert!(
        notice["text"].as_str().unwrap().contains("responsibility"),
        "{notice}"
    );
    up.event("online");
    up.ask(&["down"]);
    assert!(up.end().success());
}

#[test]
fn a_refused_access_point_is_the_operators_word() {
    let base = tempfile::tempdir().unwrap();
    let output = emulated(base.path())
        .args(["--apn", "wrong", "--knob", "apn=right"])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(
        said.contains("rung \"connect\"") && said.contains("apn"),
        "{said}"
    );
}

#[test]
fn a_configuration_file_does_what_flags_do() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"ip-type = \"ipv4\"\ntun-name = \"wwan7\"\n")
        .unwrap();
    let path = file.path().to_string_lossy().into_owned();
    let mut up = Up::start(&["--config", &path]);
    assert_eq!(up.event("online")["interface"], "wwan7");
    assert!(up.ask(&["down"]).status.success());
}

#[test]
fn the_runtime_directory_has_the_configurations_name() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("modem.toml");
    std::fs::write(&file, "device = \"emulator\"\nsettle = 0.2\n").unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let mut command = bare(runtime.path());
    command.arg("--config").arg(&file);
    let mut up = Up::spawn(runtime, command);
    up.event("online");
    let mut names: Vec<_> = std::fs::read_dir(up.base.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["emulator", "modem"]);
    for name in names {
        let status = up.ask(&["status", "--device", &name]);
        assert!(status.status.success(), "{name}: {}", text(&status.stderr));
    }
    assert!(up.ask(&["down"]).status.success());
    assert!(up.end().success());
    assert_eq!(std::fs::read_dir(up.base.path()).unwrap().count(), 0);
}

#[test]
fn name_servers_that_cannot_be_handed_over_are_told() {
    let base = tempfile::tempdir().unwrap();
    let mut command = emulated(base.path());
    command
        .args(["--dns", "resolved"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    let mut up = Up::spawn(base, command);
    let diagnosis = up.event("diagnosis")["text"].to_string();
    assert!(diagnosis.contains("name servers not set"), "{diagnosis}");
    up.event("online");
    let status = up.status();
    let told = status["diagnoses"].to_string();
    assert!(told.contains("name servers not set"), "{status}");
    assert!(up.ask(&["down"]).status.success());
}

#[test]
fn addresses_and_routes_that_are_taken_away_are_put_back() {
    let mut up = Up::start(&["--route", "default"]);
    let online = up.event("online");
    let interface = online["interface"].as_str().unwrap().to_owned();
    let before = up.status()["interface"].clone();
    let route = json!({
        "kind": "route", "address": "0.0.0.0", "prefix": 0,
        "gateway": "10.169.198.78", "metric": null,
    });
    let has_route = |interface: &Value| {
        let changes = interface["changes"].as_array().unwrap();
        changes.contains(&route)
    };
    assert!(has_route(&before), "{before}");
    for attack in [
        format!("addr flush dev {interface}"),
        format!("link set {interface} down"),
        "route del default".to_owned(),
    ] {
        ip(&up, &attack);
        let told = up.event("notice")["text"].to_string();
        assert!(told.contains("put back"), "{attack}: {told}");
        let after = up.status();
        assert_eq!(after["interface"], before, "{attack}");
        assert_eq!(after["online"], true, "{attack}");
    }
    // The conflict ends after a few times, and the status then shows the actual state.
    for _ in 0..2 {
        ip(&up, "route del default");
        up.event("notice");
    }
    ip(&up, "route del default");
    let diagnosis = up.event("diagnosis");
    assert_eq!(diagnosis["diagnosis"], "host");
    let told = diagnosis["text"].to_string();
    assert!(told.contains("left so"), "{told}");
    let after = up.status();
    assert!(!has_route(&after["interface"]), "{after}");
    let applied = after["interface"]["applied"].to_string();
    assert!(!applied.contains("route 0.0.0.0/0"), "{applied}");
    assert!(
        after["diagnoses"].to_string().contains("left so"),
        "{after}"
    );
    assert!(up.ask(&["down"]).status.success());
    assert!(up.end().success());
}

/// Starts `up` on an lt4132 with an unknown id, which carries nothing with the NDP in front.
fn unknown(base: tempfile::TempDir, state: &Path, arguments: &[&str]) -> Up {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../usb/tests/vectors/descriptors");
    let mut bytes = std::fs::read(sets.join("hp_lt4132_03f0_a31d.bin")).unwrap();
    bytes[8..12].copy_from_slice(&[0x34, 0x12, 0x78, 0x56]);
    let descriptors = state.join("descriptors");
    std::fs::write(&descriptors, bytes).unwrap();
    let mut command = emulated(base.path());
    command
        .env("UWWAN_STATE_DIR", state)
        .args(["--knob", "black_hole_ndp_front=on", "--descriptors"])
        .arg(descriptors)
        .args(arguments);
    Up::spawn(base, command)
}

#[test]
fn a_modem_that_nobody_knows_is_healed_and_known_the_next_time() {
    let state = tempfile::tempdir().unwrap();
    let quirks = |arguments: &[&str]| {
        let mut command = uwwan(&["quirks"]);
        command.args(arguments);
        command.env("UWWAN_STATE_DIR", state.path());
        succeeds(&command.output().unwrap())
    };
    assert!(quirks(&["list"]).starts_with("no layout was learnt\n"));

    let mut up = unknown(tempfile::tempdir().unwrap(), state.path(), &[]);
    for step in ["noticed", "try", "healed"] {
        assert_eq!(up.event("heal")["step"], step);
    }
    let status = up.status();
    assert_eq!(status["heal"]["step"], "healed");
    assert_eq!(status["framing"]["ndp"], "end");
    let told = text(&up.ask(&["status"]).stdout);
    assert!(told.contains("  healing    healed after "), "{told}");
    up.signal(rustix::process::Signal::TERM);
    assert!(up.end().success());

    let list = quirks(&["list"]);
    assert!(list.contains("1234:5678  NDP at the end, padding zlp, NTB16 (firmware 11.617"));
    assert!(
        list.contains("03f0:a31d  HP lt4132 (Huawei ME906s-158) (built in)"),
        "{list}"
    );
    let json = forms::json("quirks list", quirks(&["list", "--json"]));
    assert_eq!(json["layouts"][0]["layout"]["ndp"], "end");

    let mut up = unknown(tempfile::tempdir().unwrap(), state.path(), &[]);
    let known = up.event("heal");
    assert_eq!(
        (&known["step"], &known["layout"]["ndp"]),
        (&"remembered".into(), &"end".into())
    );
    up.event("online");
    up.signal(rustix::process::Signal::TERM);
    assert!(up.end().success());

    assert_eq!(quirks(&["forget", "1234:5679"]), "nothing was known\n");
    assert_eq!(quirks(&["forget", "1234:5678"]), "1 layout forgotten\n");
    // A part of the layout that the user gives switches the healing off.
    for option in ["--ndp=front", "--heal=off"] {
        let mut up = unknown(tempfile::tempdir().unwrap(), state.path(), &[option]);
        let diagnosis = up.event("diagnosis");
        let said = diagnosis["text"].as_str().unwrap();
        assert!(said.starts_with("nothing comes back: "), "{said}");
        assert!(up.status()["heal"].is_null());
        up.signal(rustix::process::Signal::TERM);
        assert!(up.end().success());
    }
}

#[test]
fn the_socket_of_metrics_goes_with_its_up() {
    let base = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("metrics");
    let path = socket.to_str().unwrap().to_owned();
    let mut up = Up::start_in(base, &["--metrics", &path]);
    up.event("online");
    assert!(socket.exists());
    assert!(up.ask(&["down"]).status.success());
    assert!(up.end().success());
    assert!(!socket.exists(), "it was left behind");
    // An `up` whose driver was killed leaves none either, as long as its monitor lives.
    let mut up = Up::start(&["--metrics", &path]);
    up.event("online");
    let processes = up.status()["processes"].clone();
    let of = |name: &str| {
        let mut all = processes.as_array().unwrap().iter();
        all.find(|one| one["name"] == name)
            .map(|one| one["pid"].as_i64().unwrap())
    };
    if let Some(driver) = of("driver") {
        let driver = i32::try_from(driver).unwrap();
        let driver = rustix::process::Pid::from_raw(driver).unwrap();
        rustix::process::kill_process(driver, rustix::process::Signal::KILL).unwrap();
        up.end();
        assert!(!socket.exists(), "it was left behind by the driver");
    }
}
