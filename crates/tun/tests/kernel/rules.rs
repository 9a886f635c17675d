//! Test of policy routing rules that ip(8) of iproute2 sets.

use std::process::Command;

use uwwan_tun::rules::mark_rules;

/// The rules of wg-quick and tailscale are read back, and those without a mark are left out.
pub fn rules_with_marks_are_read() {
    assert_eq!(mark_rules().expect("the kernel's own rules"), []);
    for rule in [
        "rule add pref 5210 fwmark 0x80000/0xff0000 table main",
        "rule add pref 5250 fwmark 0x80000/0xff0000 type unreachable",
        "rule add pref 32765 not fwmark 0xca6c table 51820",
        "rule add pref 32764 table main suppress_prefixlength 0",
        "-6 rule add pref 100 fwmark 1 table 100",
    ] {
        let status = Command::new("ip").args(rule.split(' ')).status();
        assert!(status.expect("ip (iproute2) runs").success(), "{rule}");
    }
    let told: Vec<String> = mark_rules()
        .expect("rules")
        .iter()
        .map(|rule| format!("{} {rule}", if rule.ipv6 { 6 } else { 4 }))
        .collect();
    assert_eq!(
        told,
        [
            "4 5210: fwmark 0x80000/0xff0000 lookup main",
            "4 5250: fwmark 0x80000/0xff0000",
            "4 32765: not fwmark 0xca6c lookup 51820",
            "6 100: fwmark 0x1 lookup 100",
        ]
    );
}
