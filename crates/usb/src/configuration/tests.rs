use super::*;
use crate::fake::{FakeDevice, State, busy};

/// Returns the usual plan with shorter times.
fn plan() -> SwitchPlan {
    SwitchPlan {
        settle: Duration::from_millis(20),
        patience: Duration::from_secs(20),
        pause: Duration::from_millis(1),
        ..SwitchPlan::new(3, [0, 1])
    }
}

fn impatient() -> SwitchPlan {
    SwitchPlan {
        patience: Duration::from_millis(60),
        ..plan()
    }
}

fn run(device: &FakeDevice, plan: &SwitchPlan) -> (Result<Switched, Error>, Vec<Step>) {
    let mut steps = Vec::new();
    let result = switch(device, plan, &mut |step| steps.push(step));
    (result, steps)
}

#[track_caller]
fn assert_online(state: &State) {
    assert_eq!(state.active, 3);
    assert!(!state.mute, "the firmware fell silent");
    assert!(
        state.claims.contains(&0) && state.claims.contains(&1),
        "{:?}",
        state.claims
    );
    assert!(!state.drivers.contains_key(&0) && !state.drivers.contains_key(&1));
}

#[test]
fn every_start_state_ends_claimed_and_talking() {
    for before in 0..=3 {
        let device = FakeDevice::new(before);
        let (result, steps) = run(&device, &plan());
        let switched = result.unwrap();
        assert_eq!(
            (switched.before, switched.after, switched.rounds),
            (before, 3, 1)
        );
        assert!(switched.via_zero);
        assert_online(&device.state.lock().unwrap());
        assert_eq!(
            steps[0],
            Step::Start {
                configuration: before
            }
        );
        let took_back = Step::TookBack {
            interface: 0,
            driver: "cdc_mbim".to_owned(),
        };
        assert!(steps.contains(&took_back), "{steps:?}");
        assert_eq!(
            steps[steps.len() - 2..],
            [Step::Claimed(0), Step::Claimed(1)]
        );
    }
}

#[test]
fn everything_bound_in_configuration_2_is_detached_before_it_is_left() {
    let device = FakeDevice::new(2);
    let (result, steps) = run(&device, &plan());
    let mut detached = result.unwrap().detached;
    detached.retain(|d| d.0 == 2);
    // The driver of interface 0 holds interface 1 as well.
    let numbers: Vec<u8> = detached.iter().map(|d| d.1).collect();
    assert_eq!(numbers, [0, 2, 3, 4, 5, 6]);
    let unconfigured = steps.iter().position(|s| *s == Step::Unconfigured).unwrap();
    let last_detached = steps
        .iter()
        .rposition(|s| matches!(s, Step::Detached { .. }))
        .unwrap();
    assert!(last_detached < unconfigured);
}

#[test]
fn a_direct_change_makes_this_firmware_mute_and_the_way_round_cures_it() {
    let device = FakeDevice::new(2);
    let direct = SwitchPlan {
        via_zero: ViaZero::Never,
        ..plan()
    };
    assert!(!run(&device, &direct).0.unwrap().via_zero);
    assert!(device.state.lock().unwrap().mute);

    run(&device, &plan()).0.unwrap();
    assert_online(&device.state.lock().unwrap());
}

#[test]
fn too_short_a_rest_makes_it_mute() {
    let device = FakeDevice::new(2);
    device.state.lock().unwrap().settle = Duration::from_secs(3600);
    run(&device, &plan()).0.unwrap();
    assert!(device.state.lock().unwrap().mute);
}

#[test]
fn a_device_in_the_target_stays_there_if_asked() {
    let device = FakeDevice::new(3);
    let stay = SwitchPlan {
        via_zero: ViaZero::IfDifferent,
        ..plan()
    };
    assert!(!run(&device, &stay).0.unwrap().via_zero);
    let state = device.state.lock().unwrap();
    assert_online(&state);
    assert!(!state.calls.iter().any(|call| call.starts_with("select")));
}

#[test]
fn our_own_claims_do_not_stand_in_the_way() {
    let device = FakeDevice::new(3);
    run(&device, &plan()).0.unwrap();
    run(&device, &plan()).0.unwrap();
    assert_online(&device.state.lock().unwrap());
}

#[test]
fn busy_for_a_while_is_waited_for() {
    for times in [1, 5, 20] {
        let mut left = times;
        let device = FakeDevice::with_hook(2, move |call, _| {
            (call == "select 3" && left > 0).then(|| {
                left -= 1;
                busy(None)
            })
        });
        let (result, steps) = run(&device, &plan());
        assert_eq!(result.unwrap().rounds, times + 1);
        let refused = steps
            .iter()
            .filter(|s| matches!(s, Step::Refused { .. }))
            .count();
        assert_eq!(refused, times as usize);
        assert_online(&device.state.lock().unwrap());
    }
}

#[test]
fn a_slow_firmware_is_waited_for() {
    let mut left = 3;
    let device = FakeDevice::with_hook(2, move |call, _| {
        (call == "select 3" && left > 0).then(|| {
            left -= 1;
            Error::Timeout {
                operation: call.to_owned(),
            }
        })
    });
    assert_eq!(run(&device, &plan()).0.unwrap().rounds, 4);
}

#[test]
fn busy_for_ever_ends_with_the_holder_named() {
    let device = FakeDevice::new(2);
    device
        .state
        .lock()
        .unwrap()
        .drivers
        .insert(2, Holder::Program("other, process 12".to_owned()));
    let (result, _) = run(&device, &impatient());
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::Busy { holder: Some(Holder::Program(who)), .. } if who.contains("process 12")),
        "{error}"
    );
    let state = device.state.lock().unwrap();
    // Kernel drivers may be forced out, other programs not.
    assert_eq!(state.forced, 0);
    assert_eq!(state.active, 2);
}

#[test]
fn a_driver_that_cannot_be_detached_is_forced_out_after_a_while() {
    let refuse = |call: &str, state: &mut State| {
        (call == "detach 4" && state.active == 2).then(|| Error::Other {
            operation: call.to_owned(),
            reason: "no".to_owned(),
        })
    };
    let device = FakeDevice::with_hook(2, refuse);
    let (result, steps) = run(
        &device,
        &SwitchPlan {
            patience: Duration::from_millis(400),
            ..plan()
        },
    );
    result.unwrap();
    assert!(steps.contains(&Step::Forced { configuration: 0 }));
    assert_online(&device.state.lock().unwrap());

    let device = FakeDevice::with_hook(2, refuse);
    let (result, _) = run(
        &device,
        &SwitchPlan {
            force: false,
            ..impatient()
        },
    );
    assert!(
        matches!(result, Err(Error::Busy { holder: Some(Holder::Driver(h)), .. }) if h == "option")
    );
}

#[test]
fn a_concurrent_switcher_makes_it_start_over() {
    // The other program sees the device unconfigured and configures it, twice, too early for the
    // firmware.
    let mut left = 2;
    let device = FakeDevice::with_hook(2, move |call, state| {
        if call == "active" && state.active == 0 && left > 0 {
            left -= 1;
            state.select(3);
        }
        None
    });
    let (result, steps) = run(&device, &plan());
    assert_eq!(result.unwrap().rounds, 3);
    assert_eq!(
        steps
            .iter()
            .filter(|s| **s == Step::Interfered { found: 3 })
            .count(),
        2
    );
    assert_online(&device.state.lock().unwrap());
}

#[test]
fn a_switcher_between_selection_and_claim_makes_it_start_over() {
    let mut left = 1;
    let device = FakeDevice::with_hook(2, move |call, state| {
        if call == "claim 1" && left > 0 {
            left -= 1;
            state.claims.clear();
            state.select(2);
        }
        None
    });
    let (result, steps) = run(&device, &plan());
    assert_eq!(result.unwrap().rounds, 2);
    assert!(steps.contains(&Step::Interfered { found: 2 }));
    assert_online(&device.state.lock().unwrap());
}

#[test]
fn a_switcher_that_never_stops_wins_after_the_patience() {
    let device = FakeDevice::with_hook(2, |call, state| {
        if call == "active" && state.active == 0 {
            state.select(1);
        }
        None
    });
    let error = run(&device, &impatient()).0.unwrap_err();
    assert!(error.to_string().contains("configuration 1"), "{error}");
    assert!(device.state.lock().unwrap().claims.is_empty());
}

#[test]
fn a_module_that_loads_late_is_pushed_out_again() {
    let mut left = 3;
    let device = FakeDevice::with_hook(0, move |call, state| {
        if call == "claim 1" && left > 0 {
            left -= 1;
            state
                .drivers
                .insert(1, Holder::Driver("cdc_mbim".to_owned()));
        }
        None
    });
    let (result, steps) = run(&device, &plan());
    assert_eq!(result.unwrap().rounds, 1);
    let took_back = Step::TookBack {
        interface: 1,
        driver: "cdc_mbim".to_owned(),
    };
    assert_eq!(steps.iter().filter(|s| **s == took_back).count(), 3);
    assert_online(&device.state.lock().unwrap());
}

#[test]
fn behind_a_guard_no_driver_binds() {
    let device = FakeDevice::new(2);
    device.state.lock().unwrap().guard_offered = true;
    let (result, steps) = run(&device, &plan());
    assert!(result.unwrap().guard.is_some());
    assert!(steps.contains(&Step::Guarded));
    assert!(
        !steps.iter().any(|s| matches!(s, Step::TookBack { .. })),
        "{steps:?}"
    );
    assert_online(&device.state.lock().unwrap());
}

#[test]
fn unplugged_at_any_step_it_says_so_at_once() {
    for before in 0..=3 {
        let device = FakeDevice::new(before);
        run(&device, &plan()).0.unwrap();
        let calls = device.state.lock().unwrap().calls.len();
        for unplugged in 0..calls {
            let mut left = unplugged;
            let device = FakeDevice::with_hook(before, move |_, state| {
                state.present &= left > 0;
                left = left.saturating_sub(1);
                None
            });
            let quick = SwitchPlan {
                settle: Duration::ZERO,
                ..plan()
            };
            let (result, _) = run(&device, &quick);
            assert!(
                matches!(result, Err(Error::Gone { .. })),
                "call {unplugged}: {result:?}"
            );
        }
    }
}

#[test]
fn without_permission_it_does_not_insist() {
    let device = FakeDevice::with_hook(2, |call, _| {
        (call == "select 0").then(|| Error::NoPermission {
            operation: call.to_owned(),
            node: None,
        })
    });
    let (result, steps) = run(&device, &plan());
    assert!(matches!(result, Err(Error::NoPermission { .. })));
    assert!(!steps.iter().any(|s| matches!(s, Step::Refused { .. })));
}

#[test]
fn steps_read_as_sentences() {
    let driver = "cdc_mbim".to_owned();
    assert_eq!(
        Step::TookBack {
            interface: 0,
            driver
        }
        .to_string(),
        "interface 0 taken back from cdc_mbim"
    );
    assert_eq!(
        Step::Settling(Duration::from_secs(1)).to_string(),
        "settling for 1000 ms"
    );
}
