use super::*;

#[test]
fn every_default_reads_back() {
    for knob in Knobs::catalogue() {
        let mut knobs = Knobs::default();
        knobs.set(knob.name, &knob.default).expect(knob.name);
        assert_eq!(knobs, Knobs::default(), "{}", knob.name);
        assert!(knob.about.len() > 10, "{} is not explained", knob.name);
    }
}

#[test]
fn the_readme_has_the_knobs_by_their_family() {
    let readme = include_str!("../../README.md");
    let all = Knobs::catalogue();
    let mut families: Vec<&str> = all.iter().map(|knob| knob.family).collect();
    families.dedup();
    for family in families {
        let knobs = all.iter().filter(|knob| knob.family == family);
        let names: Vec<String> = knobs.map(|knob| format!("`{}`", knob.name)).collect();
        let row = format!("| {family} | {} |", names.join(" "));
        assert!(
            readme.lines().any(|line| line == row),
            "the row has to be\n{row}"
        );
    }
}

#[test]
fn the_catalogue_tells_what_a_knob_accepts() {
    for knob in Knobs::catalogue() {
        let mut knobs = Knobs::default();
        for choice in knob.choices {
            knobs.set(knob.name, choice).expect(knob.name);
        }
        if let Some((least, most)) = knob.range {
            for inside in [least, most] {
                knobs.set(knob.name, &inside.to_string()).expect(knob.name);
            }
            if let Some(beyond) = most.checked_add(1) {
                let refused = knobs.set(knob.name, &beyond.to_string()).unwrap_err();
                assert!(refused.to_string().contains(&most.to_string()), "{refused}");
            }
        }
        assert_eq!(
            knob.kind == Kind::Choice,
            !knob.choices.is_empty(),
            "{}",
            knob.name
        );
        assert_eq!(
            knob.kind == Kind::Number,
            knob.range.is_some(),
            "{}",
            knob.name
        );
        for (ending, unit) in [("_ms", "ms"), ("_ppm", "per million")] {
            if knob.name.ends_with(ending) {
                assert_eq!(knob.unit, Some(unit), "{}", knob.name);
            }
        }
    }
}

#[test]
fn what_is_for_the_start_is_not_turned_later() {
    let mut knobs = Knobs::default();
    assert_eq!(knobs.turn("settle-ms=7"), Ok(("settle_ms", Effect::Now)));
    assert_eq!(
        knobs.turn("ntb_in_max=8192"),
        Ok(("ntb_in_max", Effect::Selection))
    );
    let refused = knobs.turn("host_drivers=none").unwrap_err();
    assert_eq!(refused, KnobError::Fixed("host_drivers"));
}

#[test]
fn a_list_of_assignments_reads_and_writes() {
    let text = "brand=huawei,settle_ms=20,black_hole_ndp_front=off,pin=1234";
    let knobs: Knobs = text.parse().unwrap();
    assert_eq!(knobs.brand, Brand::Huawei);
    assert_eq!(knobs.settle_ms, 20);
    assert!(!knobs.black_hole_ndp_front);
    assert_eq!(knobs.to_string().parse::<Knobs>().unwrap(), knobs);
    assert_eq!(
        "ntb-in-max=0x8000".parse::<Knobs>().unwrap().ntb_in_max,
        32768
    );
}

#[test]
fn knobs_without_effect_are_named() {
    assert_eq!(Knobs::default().without_effect(), []);
    let knobs: Knobs = "connect_cause=33,pin_attempts=1,seed=7".parse().unwrap();
    let idle: Vec<&str> = knobs
        .without_effect()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(idle, ["connect_cause", "pin_attempts", "seed"]);
    let knobs: Knobs = "connect_cause=33,connect_status=2,pin=1234,pin_attempts=1"
        .parse()
        .unwrap();
    assert_eq!(knobs.without_effect(), []);
}

#[test]
fn knobs_are_kept_as_json() {
    let knobs: Knobs = "brand=huawei,pin=1234".parse().unwrap();
    let text = serde_json::to_string(&knobs).unwrap();
    assert_eq!(serde_json::from_str::<Knobs>(&text).unwrap(), knobs);
    let partial: Knobs = serde_json::from_str(r#"{"settle_ms":7}"#).unwrap();
    assert_eq!(partial, "settle_ms=7".parse().unwrap());
}

#[test]
fn nonsense_is_refused_by_name() {
    assert_eq!(
        "settle".parse::<Knobs>(),
        Err(KnobError::Form("settle".into()))
    );
    assert_eq!(
        "colour=red".parse::<Knobs>(),
        Err(KnobError::Unknown("colour".into()))
    );
    assert!(matches!(
        "ntb_divisor=70000".parse::<Knobs>(),
        Err(KnobError::Value {
            name: "ntb_divisor",
            ..
        })
    ));
}
