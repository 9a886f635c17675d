//! Modems with an FCC lock.

use uwwan_mbim::Layout;
use uwwan_mbim::services::quectel;

use super::*;
use crate::explain;

fn state(state: quectel::QuectelRadioSwitchState) -> Outcome {
    good(quectel::RadioState { radio_state: state }.encode_info())
}

fn locked() -> Outcome {
    state(quectel::QuectelRadioSwitchState::FCC_LOCKED)
}

fn off() -> Outcome {
    good(radio(RadioSwitchState::ON, RadioSwitchState::OFF))
}

fn unlocking() -> Options {
    Options {
        fcc_unlock: true,
        ..Options::default()
    }
}

#[test]
fn a_lock_is_recognised_where_the_radio_is_refused() {
    for refusal in [
        status(Status::OPERATION_NOT_ALLOWED, Vec::new()),
        status(
            Status::FAILURE,
            radio(RadioSwitchState::ON, RadioSwitchState::OFF),
        ),
        off(),
    ] {
        let bench = Bench::new(Options::default())
            .answers(Ask::RadioState, vec![off(); 10])
            .answers(Ask::RadioOn, vec![refusal; 10])
            .answers(Ask::LockState, [locked()])
            .climb();
        let failure = bench.failure();
        assert_eq!(failure.rung(), Some(Rung::Radio), "{failure}");
        assert!(
            failure.fatal && failure.why[0].contains("FCC lock"),
            "{failure}"
        );
        assert!(
            failure.next[0].contains("uwwan radio unlock")
                && failure.next[0].contains("responsibility"),
            "{failure}"
        );
        // The driver never lifts the lock unasked.
        assert_eq!(bench.count(Ask::Unlock), 0);
        assert!((bench.now - bench.start).as_secs() < 5);
    }
}

#[test]
fn a_lock_that_only_the_table_knows_is_named_where_the_radio_stays_off() {
    let climb = |quirk| {
        let mut bench = Bench::new(Options::default())
            .answers(Ask::RadioState, vec![off(); 100])
            .answers(Ask::RadioOn, vec![off(); 100]);
        bench.quirk = quirk;
        bench.climb()
    };
    let sierra = climb(quirks::find(0x1199, 0x9079));
    let failure = sierra.failure();
    assert!(
        !failure.fatal
            && failure.what.contains("did not come on in 30 s")
            && failure.why[1].contains("EM7455 may have an FCC lock")
            && failure.next[0].contains("uwwan radio unlock"),
        "{failure}"
    );
    let other = climb(&quirks::DEFAULT);
    let failure = other.failure();
    assert!(
        failure.what.contains("did not come on in 30 s")
            && failure.why[1].contains("no public way"),
        "{failure}"
    );
    // With the radio on, the lock explains nothing.
    let connect = crate::explain::status(
        Rung::Connect,
        "CONNECT",
        Status::OPERATION_NOT_ALLOWED,
        None,
    );
    assert!(!connect.to_string().contains("FCC"), "{connect}");
}

#[test]
fn a_modem_that_may_be_locked_has_its_time_to_come_on() {
    let sierra = || quirks::find(0x1199, 0x9079);
    let mut bench = Bench::new(Options::default())
        .answers(Ask::RadioState, vec![off(); 12])
        .answers(Ask::RadioOn, vec![off(); 12]);
    bench.quirk = sierra();
    let bench = bench.climb();
    assert!(bench.ladder.is_online());
    assert!((bench.now - bench.start).as_secs() >= 11);

    // A lock that the modem reports fails the rung without a wait.
    let mut bench = Bench::new(Options::default())
        .answers(Ask::RadioState, vec![off(); 3])
        .answers(
            Ask::RadioOn,
            [status(Status::OPERATION_NOT_ALLOWED, Vec::new())],
        );
    bench.quirk = sierra();
    let bench = bench.climb();
    let failure = bench.failure();
    assert!(
        failure.what.contains("operation_not_allowed")
            && failure
                .why
                .iter()
                .any(|why| why.contains("may have an FCC lock")),
        "{failure}"
    );
    assert!((bench.now - bench.start).as_secs() < 2);
}

#[test]
fn what_the_modem_says_of_its_lock_counts_more_than_the_table() {
    let rm520 = quirks::find(0x2c7c, 0x0801);
    assert_eq!(rm520.fcc_unlock, Some(FccUnlock::Quectel));
    for told in [
        quectel::QuectelRadioSwitchState::ON,
        quectel::QuectelRadioSwitchState::OFF,
    ] {
        let mut bench = Bench::new(unlocking())
            .answers(Ask::RadioState, vec![off(); 100])
            .answers(Ask::RadioOn, vec![off(); 100])
            .answers(Ask::LockState, [state(told)]);
        bench.quirk = rm520;
        let bench = bench.climb();
        assert_eq!(bench.count(Ask::Unlock), 0);
        let failure = bench.failure();
        assert!(
            !failure.fatal && failure.why[1].contains("says that no FCC lock"),
            "{failure}"
        );
    }
}

#[test]
fn a_radio_that_stays_off_without_its_lock_is_told_so() {
    let bench = Bench::new(unlocking())
        .answers(Ask::RadioState, vec![off(); 100])
        .answers(Ask::RadioOn, vec![off(); 100])
        .answers(Ask::LockState, [locked()])
        .answers(Ask::Unlock, [state(quectel::QuectelRadioSwitchState::ON)])
        .climb();
    let failure = bench.failure();
    assert!(
        failure.why[1].contains("the FCC lock was lifted before"),
        "{failure}"
    );
    assert!(!failure.to_string().contains("no public way"), "{failure}");
}

#[test]
fn a_missing_sim_is_not_laid_to_a_lock_that_is_not_known() {
    let mut bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![missing(); 100])
        .answers(Ask::RadioState, [off()]);
    bench.quirk = quirks::find(0x1199, 0x9079);
    let bench = bench.climb();
    assert!(bench.said("an FCC lock may hide it"));
    assert!(!bench.said("which the FCC lock hides"));
    let failure = bench.failure();
    assert_eq!(failure.rung(), Some(Rung::Sim));
    assert!(
        failure.why[0].contains("no SIM") && failure.why[1].contains("may have an FCC lock"),
        "{failure}"
    );
}

#[test]
fn a_lock_is_lifted_once_where_that_is_asked_for() {
    let bench = Bench::new(unlocking())
        .answers(Ask::RadioState, [off(), off()])
        .answers(
            Ask::RadioOn,
            [status(Status::OPERATION_NOT_ALLOWED, Vec::new())],
        )
        .answers(Ask::LockState, [locked()])
        .answers(Ask::Unlock, [state(quectel::QuectelRadioSwitchState::ON)])
        .climb();
    assert!(bench.ladder.is_online());
    assert!(bench.said("responsibility") && bench.said("the FCC lock is lifted"));
    assert_eq!(bench.count(Ask::Unlock), 1);

    let bench = Bench::new(unlocking())
        .answers(Ask::RadioState, vec![off(); 10])
        .answers(
            Ask::RadioOn,
            vec![status(Status::OPERATION_NOT_ALLOWED, Vec::new()); 10],
        )
        .answers(Ask::LockState, [locked()])
        .climb();
    assert_eq!(bench.count(Ask::Unlock), 1);
    let failure = bench.failure();
    assert!(failure.why[1].contains("did not help"), "{failure}");
    assert!(bench.said("the FCC lock is not lifted: no_device_support"));
}

#[test]
fn a_lock_hides_the_sim() {
    let bench = Bench::new(unlocking())
        .answers(Ask::Subscriber, vec![missing(); 3])
        .answers(Ask::RadioState, [off()])
        .answers(Ask::LockState, [locked()])
        .answers(Ask::Unlock, [state(quectel::QuectelRadioSwitchState::ON)])
        .climb();
    assert!(bench.ladder.is_online());
    assert_eq!(
        (bench.count(Ask::Unlock), bench.count(Ask::Subscriber)),
        (1, 4)
    );
    // Another program may lift the lock meanwhile.
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![missing(); 25])
        .answers(Ask::RadioState, [off()])
        .answers(Ask::LockState, [locked()])
        .climb();
    assert!(bench.ladder.is_online());
    assert!(bench.said("~ sim: the SIM, which the FCC lock hides"));
    let bench = Bench::new(Options::default())
        .answers(Ask::Subscriber, vec![missing(); 100])
        .answers(Ask::RadioState, [off()])
        .answers(Ask::LockState, [locked()])
        .climb();
    let failure = bench.failure();
    assert_eq!(failure.rung(), Some(Rung::Sim));
    assert!(failure.why[0].contains("FCC lock"), "{failure}");
    assert!(failure.what.contains("waited 58 s"), "{failure}");
    // A bring-up that ends meanwhile has the same failure.
    let late = || explain::failure(Rung::Sim, false, "not online in 10 s".into(), "waiting", "");
    let told = bench.ladder.explained_by_lock(late());
    assert_eq!(told.what, "not online in 10 s");
    let why = told.why.join("; ");
    assert!(
        why.contains("FCC lock") && why.contains("waiting"),
        "{told}"
    );
    assert!(told.next.join("; ").contains("radio unlock"), "{told}");
    // With the radio on the failure names no lock.
    let bench = Bench::new(Options::default()).climb();
    assert_eq!(bench.ladder.explained_by_lock(late()), late());
}
