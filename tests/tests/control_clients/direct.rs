//! A client that opens the device itself.

use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{
    self as bc, DeviceCaps, RadioState, RadioStateSet, RadioSwitchState, RegistrationState,
};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;
use uwwan_modem::client::Client;
use uwwan_modem::{FailureKind, Options, Selector};

use uwwan_tests::bench::{PATIENCE, emulator, quick};

fn direct(emulator: &uwwan_emulator::Emulator) -> Client {
    Client::direct(emulator.backend(), Selector::Any, quick()).unwrap()
}

#[test]
fn asks_and_leaves_the_modem_as_it_was_found() {
    let emulator = emulator("");
    for _ in 0..2 {
        let mut client = direct(&emulator);
        let caps: DeviceCaps = client.query(bc::DEVICE_CAPS).unwrap();
        assert!(caps.firmware_info.starts_with("11.617."), "{caps:?}");
        let state: RegistrationState = client.query(bc::REGISTER_STATE).unwrap();
        assert_eq!(state.provider_id, "24201");
        client.close().unwrap();
        let found = emulator.backend().devices().unwrap();
        assert_eq!(found[0].active_configuration, Some(2));
    }
    assert_eq!(emulator.report().violations, []);
}

#[test]
fn tells_indications_and_refusals() {
    let emulator = emulator("");
    let mut client = direct(&emulator);
    let off = RadioStateSet {
        radio_state: RadioSwitchState::OFF,
    };
    let answer: RadioState = client.set(bc::RADIO_STATE, &off).unwrap();
    assert_eq!(answer.sw_radio_state, RadioSwitchState::OFF);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let indication = client.next_indication(Duration::from_secs(1)).unwrap();
        if indication.is_some_and(|indication| indication.id == bc::RADIO_STATE) {
            break;
        }
        assert!(Instant::now() < deadline, "no indication");
    }
    let unknown = uwwan_mbim::registry::CidId {
        cid: 4711,
        ..bc::DEVICE_CAPS
    };
    let response = client.command(Command::query(unknown), PATIENCE).unwrap();
    assert_eq!(response.status, Status::NO_DEVICE_SUPPORT);
    let error = client.query::<DeviceCaps>(unknown).unwrap_err();
    assert_eq!(error.status(), Some(Status::NO_DEVICE_SUPPORT));
    client.close().unwrap();
    assert_eq!(emulator.report().violations, []);
}

#[test]
fn long_work_can_be_polled_and_cancelled() {
    let emulator = emulator("");
    let mut client = direct(&emulator);
    let scan = client
        .start(Command::query(bc::VISIBLE_PROVIDERS), PATIENCE)
        .unwrap();
    client.cancel(scan);
    let error = client.poll(scan, PATIENCE).unwrap_err();
    assert_eq!(error.kind, FailureKind::Cancelled);
    // The session goes on.
    let _: DeviceCaps = client.query(bc::DEVICE_CAPS).unwrap();
    client.close().unwrap();
    assert_eq!(emulator.report().violations, []);
}

#[test]
fn an_unplugged_modem_is_told_at_once() {
    let emulator = emulator("");
    let mut client = direct(&emulator);
    emulator.unplug();
    let error = client.query::<DeviceCaps>(bc::DEVICE_CAPS).unwrap_err();
    assert_eq!(error.kind, FailureKind::Gone, "{error:?}");
    drop(client);
}

#[test]
fn a_mute_modem_and_none_at_all_are_told_with_the_rung() {
    let mute = emulator("slow_open_ms=100000");
    let options = Options {
        open_budget: Some(Duration::from_millis(300)),
        ..quick()
    };
    let error = Client::direct(mute.backend(), Selector::Any, options).unwrap_err();
    assert!(error.rung() == Some(uwwan_modem::Rung::Open), "{error:?}");
    let other = Selector::Id(1, 2);
    let error = Client::direct(mute.backend(), other, quick()).unwrap_err();
    assert!(error.rung() == Some(uwwan_modem::Rung::Found), "{error:?}");
}
