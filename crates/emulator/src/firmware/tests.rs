use uwwan_mbim::services::basic_connect::ContextIpType;
use uwwan_mbim::status::NwError;

use super::*;

fn boot(knobs: &str) -> (Firmware, Knobs, Instant) {
    let knobs: Knobs = knobs.parse().unwrap();
    let now = Instant::now();
    let persistent = Persistent::new(&knobs);
    (Firmware::boot(persistent, &knobs, now), knobs, now)
}

#[test]
fn ipv6_follows_the_profile_at_the_next_start() {
    let (mut firmware, knobs, now) = boot("");
    assert_eq!(
        firmware.connect(0, "telenor.smart", ContextIpType::IPV6, &knobs),
        Err(Refused::by_module(Status::NO_DEVICE_SUPPORT))
    );
    let session = firmware
        .connect(0, "telenor.smart", ContextIpType::IPV4V6, &knobs)
        .unwrap();
    assert!(session.v4 && !session.v6);
    assert!(firmware.persistent.profiles.add("99999", "24201"));
    assert!(!firmware.ipv6_capable());
    let mut firmware = Firmware::boot(firmware.persistent, &knobs, now);
    let session = firmware
        .connect(0, "telenor.smart", ContextIpType::IPV4V6, &knobs)
        .unwrap();
    assert_eq!(session.ip_type(), ContextIpType::IPV4V6);
}

#[test]
fn a_pin_locks_until_entered_and_counts_down() {
    let (mut firmware, knobs, now) = boot("pin=1234");
    assert_eq!(firmware.lock(), Lock::Pin);
    assert_eq!(firmware.registered(), Registered::Off);
    assert_eq!(
        firmware.connect(0, "", ContextIpType::IPV4, &knobs),
        Err(Refused::by_module(Status::PIN_REQUIRED))
    );
    assert!(firmware.unlock("0000", None, &knobs, now).is_err());
    assert_eq!(firmware.persistent.pin_attempts, 2);
    assert!(firmware.unlock("1234", None, &knobs, now).is_ok());
    assert_eq!(firmware.persistent.pin_attempts, 3);
    assert_eq!(firmware.registered(), Registered::Home);
    // After a restart the SIM asks again; the attempts remaining are not reset.
    let mut firmware = Firmware::boot(firmware.persistent, &knobs, now);
    for _ in 0..3 {
        assert!(firmware.unlock("9999", None, &knobs, now).is_err());
    }
    let mut firmware = Firmware::boot(firmware.persistent, &knobs, now);
    assert_eq!(firmware.lock(), Lock::Puk);
    assert!(firmware.unlock("1234", None, &knobs, now).is_err());
    assert!(
        firmware
            .unlock("12345678", Some("4321"), &knobs, now)
            .is_ok()
    );
    assert_eq!(firmware.lock(), Lock::Open);
    assert_eq!(firmware.persistent.pin, "4321");
}

#[test]
fn registration_takes_its_time_and_the_radio() {
    let (mut firmware, knobs, now) = boot("registration_ms=500,registration=roaming");
    assert_eq!(firmware.registered(), Registered::Searching);
    assert_eq!(firmware.deadline(), Some(now + Duration::from_millis(500)));
    firmware.advance(&knobs, now + Duration::from_millis(500));
    assert_eq!(firmware.operator(), Some((ROAMING_PLMN, ROAMING_NAME)));
    assert!(firmware.attached());
    firmware.set_radio(false, &knobs, now);
    assert_eq!(firmware.registered(), Registered::Off);
    assert!(!firmware.attached());
    assert!(firmware.take_changes().contains(&Change::Packet));
}

#[test]
fn the_network_refuses_with_its_causes() {
    let (mut firmware, knobs, _) = boot("apn=internet");
    assert_eq!(
        firmware
            .connect(0, "nonsense", ContextIpType::IPV4, &knobs)
            .unwrap_err()
            .cause,
        NwError::MISSING_OR_UNKNOWN_APN
    );
    let (mut firmware, knobs, _) = boot("ipv6=on,network_ipv6=off");
    assert_eq!(
        firmware
            .connect(0, "", ContextIpType::IPV6, &knobs)
            .unwrap_err(),
        Refused {
            status: Status::FAILURE,
            cause: NwError::PDP_TYPE_IPV4_ONLY_ALLOWED
        }
    );
    let session = firmware
        .connect(0, "", ContextIpType::IPV4V6, &knobs)
        .unwrap();
    assert_eq!((session.v4, session.v6), (true, false));
    assert_eq!(session.cause, NwError::PDP_TYPE_IPV4_ONLY_ALLOWED);
    let (mut firmware, knobs, _) = boot("registration=denied");
    assert_eq!(
        firmware
            .connect(0, "", ContextIpType::IPV4, &knobs)
            .unwrap_err()
            .status,
        Status::NOT_REGISTERED
    );
    assert_eq!(
        firmware
            .connect(0, "", ContextIpType::IPV4, &knobs)
            .unwrap_err()
            .cause,
        NwError::PLMN_NOT_ALLOWED
    );
}

#[test]
fn a_sim_may_come_late() {
    let (mut firmware, knobs, now) = boot("sim_ms=300");
    assert_eq!(firmware.sim(), SimState::Absent);
    assert_eq!(firmware.deadline(), Some(now + Duration::from_millis(300)));
    firmware.advance(&knobs, now + Duration::from_millis(299));
    assert_eq!(firmware.sim(), SimState::Absent);
    firmware.advance(&knobs, now + Duration::from_millis(300));
    assert_eq!(firmware.sim(), SimState::Ready);
    assert!(firmware.take_changes().contains(&Change::Ready));
}

#[test]
fn the_fcc_lock_keeps_the_radio_off() {
    let (mut firmware, knobs, now) = boot("fcc_lock=on");
    assert_eq!(firmware.radio(), (false, true));
    assert!(!firmware.set_radio(true, &knobs, now));
    assert_eq!(firmware.registered(), Registered::Off);
    firmware.lift_fcc_lock();
    assert!(firmware.set_radio(true, &knobs, now));
    assert_eq!(firmware.radio(), (true, true));
}
