//! Firmware that behaves as that of modems people own: the driver comes online all the same and
//! moves a datagram each way.

mod memory_host;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use memory_host::{MemoryHost, SHORT};
use uwwan_emulator::{Emulator, FarSide};
use uwwan_modem::{Event, Modem, Options, Selector};

/// Time for any step, long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Brings the modem with these knobs online and moves a datagram each way.
fn comes_online(knobs: &str, options: Options) {
    let knobs = format!("settle_ms=0,{knobs}");
    let emulator = Emulator::new(knobs.parse().unwrap(), FarSide::BuiltIn).unwrap();
    let (provider, mut host) = MemoryHost::new();
    let options = Options {
        settle: Some(Duration::from_millis(10)),
        ..options
    };
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options,
        Box::new(provider),
        Box::new(|event| eprintln!("{event:?}")),
    )
    .unwrap();
    if let Err(failure) = handle.wait_online(PATIENCE) {
        panic!("{knobs}: {failure:?} {:#?}", handle.status());
    }
    if let Err(why) = host.echo(SHORT, Instant::now() + PATIENCE) {
        panic!("{knobs}: {why}: {:#?}", emulator.report());
    }
    handle.stop();
    handle.wait().expect(&knobs);
    assert_eq!(emulator.report().total_violations(), 0, "{knobs}");
}

/// The modem refuses every connection with MBIM_STATUS_MAX_ACTIVATED_CONTEXTS (13), for which there is
/// no advice: the last failure has another next step than those after which the driver tries again.
#[test]
fn that_it_is_tried_again_is_said_only_where_it_is() {
    let knobs = "settle_ms=0,absent_ms=50,connect_status=13"
        .parse()
        .unwrap();
    let emulator = Emulator::new(knobs, FarSide::BuiltIn).unwrap();
    let (sender, failures) = channel();
    let options = Options {
        settle: Some(Duration::from_millis(10)),
        ..Options::default()
    };
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options,
        Box::new(MemoryHost::new().0),
        Box::new(move |event| {
            if let Event::RungFailed {
                failure,
                retry_seconds,
                ..
            } = event
            {
                let _ = sender.send((failure.next, retry_seconds.is_some()));
            }
        }),
    )
    .unwrap();
    loop {
        let (next, again) = failures.recv_timeout(PATIENCE).expect("a failure");
        let said = next.iter().any(|next| next.contains("tried again"));
        assert_eq!(said, again, "{next:?}");
        if !again {
            break;
        }
    }
    assert!(handle.wait().is_err());
}

#[test]
fn a_control_session_left_open_is_opened_anew() {
    comes_online("left_open=on", Options::default());
}

#[test]
fn a_modem_that_wants_its_input_size_first_is_told() {
    let knobs = "input_size_first=on,ntb_in_max=16384";
    comes_online(knobs, Options::default());
}

#[test]
fn control_messages_of_64_bytes_are_enough() {
    comes_online("max_control_message=64", Options::default());
}

#[test]
fn a_registration_that_is_refused_though_it_stands_is_no_obstacle() {
    comes_online("register_status=9", Options::default());
}

#[test]
fn network_causes_that_are_100_too_high_are_understood() {
    let knobs = "ipv6=on,network_ipv6=off,cause_offset=100";
    comes_online(knobs, Options::default());
}

#[test]
fn a_firmware_version_of_several_lines_or_none_is_told() {
    comes_online("firmware_info=one\\ntwo", Options::default());
    comes_online("firmware_info=", Options::default());
}

#[test]
fn a_sim_that_is_read_late_and_a_busy_modem_are_waited_for() {
    comes_online("sim_ms=1500,busy_ms=300", Options::default());
}

#[test]
fn a_modem_that_crashes_at_connect_is_found_again_under_another_id() {
    // The id 5509 is 0x1585. Every modem of Huawei needs the NDP at the end, but not every one of
    // HP. The modem is absent for longer than one search takes.
    comes_online(
        "brand=huawei,crash_at_connect=5509,absent_ms=1200",
        Options::default(),
    );
}

#[test]
fn an_fcc_lock_is_lifted_where_asked() {
    let options = || Options {
        fcc_unlock: true,
        ..Options::default()
    };
    comes_online("fcc_lock=on", options());
}

/// A program that was told that NTBs are laid out as it chose finds the layout in the status, also where
/// the control thread has got no further than its order to the data thread.
#[test]
fn a_layout_is_in_the_status_once_it_is_in_use() {
    let emulator = Emulator::new("settle_ms=0".parse().unwrap(), FarSide::BuiltIn).unwrap();
    let (provider, _host) = MemoryHost::new();
    let options = Options {
        settle: Some(Duration::from_millis(10)),
        ..Options::default()
    };
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options.clone(),
        Box::new(provider),
        Box::new(|_| {}),
    )
    .unwrap();
    handle.wait_online(PATIENCE).unwrap();
    for datagrams in [3, 7] {
        // The control thread takes the choice between two calls that it waits in.
        let [(begin, begun), (end, ended)] = std::array::from_fn(|_| channel::<()>());
        handle.call(move || {
            let _ = begun.recv();
        });
        let chosen = handle.choose_layout(&Options {
            max_datagrams: Some(datagrams),
            ..options.clone()
        });
        handle.call(move || {
            let _ = ended.recv();
        });
        drop(begin);
        chosen.recv_timeout(PATIENCE).unwrap().unwrap();
        let framing = handle.status().framing.unwrap();
        assert_eq!(framing.max_datagrams, u32::from(datagrams));
        drop(end);
    }
    handle.stop();
    handle.wait().unwrap();
}
