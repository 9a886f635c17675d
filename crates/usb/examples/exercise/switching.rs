//! Trials of finding, switching and guarding a device.

use super::*;

pub fn listed(bench: &Bench) -> Outcome {
    let found = bench.found()?;
    expect("faults", found.descriptors.faults.clone(), Vec::new())?;
    expect("configurations", found.descriptors.configurations.len(), 2)?;
    ensure(
        "has an active configuration",
        found.active_configuration.is_some(),
    )?;
    println!(
        "  {} in configuration {:?}, drivers {:?}",
        found.identity, found.active_configuration, found.kernel_drivers
    );
    Ok(())
}

pub fn switched(bench: &Bench) -> Outcome {
    let device = bench.open()?;
    for target in [LOOPBACK, SOURCE_SINK, LOOPBACK] {
        let mut steps = Vec::new();
        let switched = switch(&*device, target, |step| steps.push(step.to_string()))?;
        println!("  {}", steps.join(", "));
        expect("after", switched.after, target)?;
        expect("active", device.active_configuration()?, target)?;
        expect("driver beside our claim", device.holder(0)?, None)?;
    }
    // The device is given back unconfigured, and found unconfigured.
    give_back::release(&*device, &[0], None)?;
    device.set_configuration(0)?;
    expect("unconfigured", device.active_configuration()?, 0)?;
    expect("listed as", bench.found()?.active_configuration, Some(0))?;
    let switched = switch(&*device, SOURCE_SINK, |_| {})?;
    expect("before", switched.before, 0)?;
    // The kernel's driver gets the interface when asked. It then stands in the way, root can force
    // it out, and it can be detached.
    give_back::release(&*device, &[0], Some(0))?;
    let plan = GiveBack {
        configuration: SOURCE_SINK,
        left_in: Some(SOURCE_SINK),
        via_zero: ViaZero::Always,
        settle: Duration::ZERO,
    };
    give_back::give_back(&*device, &plan, &mut |_| {})?;
    let driver = device.holder(0)?;
    ensure(
        &format!("the kernel's driver is bound: {driver:?}"),
        driver == Some(Holder::Driver("usbtest".to_owned())),
    )?;
    let refused = device.set_configuration(0).err();
    ensure(
        &format!("bound is busy: {refused:?}"),
        matches!(refused, Some(Error::Busy { holder, .. }) if holder == driver),
    )?;
    device.force_configuration(0)?;
    expect("forced", device.active_configuration()?, 0)?;
    device.set_configuration(SOURCE_SINK)?;
    let stay = SwitchPlan {
        via_zero: ViaZero::IfDifferent,
        ..SwitchPlan::new(SOURCE_SINK, [0])
    };
    let switched = configuration::switch(&*device, &stay, &mut |_| {})?;
    expect(
        "detached",
        switched.detached,
        vec![(SOURCE_SINK, 0, "usbtest".to_owned())],
    )
}

pub fn guarded(bench: &Bench) -> Outcome {
    let device = bench.open()?;
    let plan = SwitchPlan {
        settle: Duration::ZERO,
        ..SwitchPlan::new(SOURCE_SINK, [0])
    };
    let mut steps = Vec::new();
    let switched = configuration::switch(&*device, &plan, &mut |step| steps.push(step))?;
    ensure(
        "guarded",
        steps.contains(&Step::Guarded) && switched.guard.is_some(),
    )?;
    ensure(
        "nothing to take back behind a guard",
        !steps
            .iter()
            .any(|step| matches!(step, Step::TookBack { .. })),
    )?;
    ensure(
        "one guard at a time",
        matches!(device.guard_port(), Err(Error::Busy { .. })),
    )?;
    drop(switched);
    drop(device.guard_port()?);
    Ok(())
}
