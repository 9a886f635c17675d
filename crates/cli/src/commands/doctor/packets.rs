//! The settings of the kernel that decide about packets: filters, and routing rules.

use super::finding::{Finding, Kind, Verdict};
use super::machine::Machine;

/// Most routing rules that are named.
const MOST_RULES: usize = 4;

impl Machine {
    /// Checks the settings of the kernel that drop or forbid packets.
    pub(super) fn filters(&self) -> Vec<Finding> {
        let set = |path: &str, value: &str| self.read(path).as_deref() == Some(value);
        let mut findings = Vec::new();
        // An interface begins with the value of 'default', and the higher of the two counts
        // (ip-sysctl.rst of the kernel): 2 is loose.
        let value = |of: &str| {
            let text = self.read(&format!("proc/sys/net/ipv4/conf/{of}/rp_filter"))?;
            text.parse::<u8>().ok()
        };
        if value("all").max(value("default")) == Some(1) {
            let found = "answers over the modem are dropped while the route back leads elsewhere (rp_filter is strict)";
            findings.push(
                Finding::new("packet filter", Kind::ReversePathStrict, Verdict::Note, found)
                    .next("sysctl net.ipv4.conf.all.rp_filter=2 (as root), where the modem is not the default route"),
            );
        }
        if set("proc/sys/net/ipv6/conf/all/disable_ipv6", "1") {
            let found =
                "the kernel has IPv6 switched off: the modem's IPv6 addresses cannot be set";
            findings.push(
                Finding::new("IPv6", Kind::Ipv6Off, Verdict::Note, found)
                    .next("sysctl net.ipv6.conf.all.disable_ipv6=0 (as root), or --ip-type ipv4"),
            );
        }
        findings
    }

    /// Checks the rules that choose routes by the firewall mark of a packet.
    pub(super) fn marks(&self) -> Option<Finding> {
        let check = "firewall marks";
        let rules = match &self.marks {
            Ok(rules) => rules,
            Err(why) => {
                return Some(Finding::new(check, Kind::MarksUnknown, Verdict::Note, why));
            }
        };
        if rules.is_empty() {
            return None;
        }
        let mut told: Vec<String> = rules
            .iter()
            .take(MOST_RULES)
            .map(|rule| match rule.ipv6 {
                true => format!("{rule} (IPv6)"),
                false => rule.to_string(),
            })
            .collect();
        if rules.len() > MOST_RULES {
            told.push(format!("and {} more", rules.len() - MOST_RULES));
        }
        let found = format!(
            "rules of routing look at marks, as those of VPNs do, before the routes that `up` sets: {}",
            told.join("; ")
        );
        Some(
            Finding::new(check, Kind::MarksDecide, Verdict::Note, found)
                .next("ip rule, and ip route show table N, tell where packets go that they take")
                .next("end the VPN for a try, or keep one program to the modem alone: uwwan exec -- PROGRAM"),
        )
    }
}

#[cfg(test)]
mod tests {
    use uwwan_tun::rules::MarkRule;

    use super::*;

    #[test]
    fn rules_of_a_vpn_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let rule = MarkRule {
            ipv6: true,
            priority: 32765,
            mark: 0xca6c,
            mask: u32::MAX,
            inverted: true,
            table: Some(51820),
        };
        let of = |marks| {
            let machine = Machine {
                marks,
                ..Machine::at(folder.path())
            };
            machine.marks()
        };
        let finding = of(Ok(vec![rule; 9])).unwrap();
        assert_eq!(finding.kind, Kind::MarksDecide);
        let told = "32765: not fwmark 0xca6c lookup 51820 (IPv6)";
        assert!(finding.found.contains(told), "{finding:?}");
        assert!(finding.found.ends_with("; and 5 more"), "{finding:?}");
        assert_eq!(of(Ok(Vec::new())), None);
        assert_eq!(of(Err("no".into())).unwrap().kind, Kind::MarksUnknown);
    }

    #[test]
    fn the_filter_of_the_way_back_is_what_a_new_interface_gets() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (all, default, strict) in [
            ("0", "1", true),
            ("1", "0", true),
            ("2", "1", false),
            ("0", "2", false),
        ] {
            for (of, text) in [("all", all), ("default", default)] {
                let folder = root.join("proc/sys/net/ipv4/conf").join(of);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join("rp_filter"), text).unwrap();
            }
            let found = Machine::at(root).filters();
            let told: Vec<Kind> = found.iter().map(|one| one.kind).collect();
            let expected: &[Kind] = if strict {
                &[Kind::ReversePathStrict]
            } else {
                &[]
            };
            assert_eq!(told, expected, "{all} {default}");
        }
    }
}
