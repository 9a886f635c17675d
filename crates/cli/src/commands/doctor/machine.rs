//! The facts of the machine that concern a modem, read from `/sys`, `/proc`, `/etc` and `/dev`.

use std::fs;
use std::path::PathBuf;

use uwwan_tun::rules::{self, MarkRule};

use super::finding::{Finding, Kind, Verdict};
use crate::sharing::{OPERATORS, id_of};

/// Name of the udev rule.
const RULE: &str = "70-uwwan.rules";
/// Directories of udev rules (udev(7)).
const RULES: [&str; 5] = [
    "etc/udev/rules.d",
    "run/udev/rules.d",
    "usr/local/lib/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
];
/// Memory for USB transfers below which the default queues do not fit, in MiB: 24 transfers of 16 KiB, and
/// those of other programs.
const LEAST_MEMORY: u64 = 4;
/// Programs that may use a modem as well, as `/proc/PID/comm` names them, each with a remark.
const OTHERS: [(&str, &str); 4] = [
    (
        "ModemManager",
        "`up` asks it to keep away, and it has the modem back afterwards",
    ),
    (
        "mbim-proxy",
        "while it runs, programs made for libmbim reach `up` at the socket in its runtime directory only",
    ),
    (
        "usb_modeswitch",
        "it may switch the configuration at the same time; `up` starts over then",
    ),
    ("wvdial", "it may hold the AT port"),
];

/// Group to which the udev rule gives modems.
const OWNERS: &str = "plugdev";

/// The machine, or a folder that stands for one in tests.
pub(super) struct Machine {
    pub(super) root: PathBuf,
    /// Whether the user of this process is root.
    pub(super) is_root: bool,
    /// Group ids of the user.
    pub(super) groups: Vec<u32>,
    /// Routing rules that match firewall marks, or the reason why they cannot be read.
    pub(super) marks: Result<Vec<MarkRule>, String>,
}

impl Machine {
    /// Returns the machine on which this process runs.
    pub(super) fn here() -> Self {
        Self {
            root: PathBuf::from("/"),
            is_root: rustix::process::geteuid().is_root(),
            groups: rustix::process::getgroups()
                .unwrap_or_default()
                .into_iter()
                .chain([rustix::process::getegid()])
                .map(rustix::process::Gid::as_raw)
                .collect(),
            marks: rules::mark_rules().map_err(|error| error.to_string()),
        }
    }

    /// Returns a machine whose files stand below a folder, with a user in group 46.
    #[cfg(test)]
    pub(super) fn at(root: &std::path::Path) -> Self {
        Self {
            root: root.to_owned(),
            is_root: false,
            groups: vec![46],
            marks: Ok(Vec::new()),
        }
    }

    /// Returns all findings. `may_configure` is whether this user may configure interfaces.
    pub(super) fn findings(&self, may_configure: bool) -> Vec<Finding> {
        let mut findings = vec![
            self.rule(),
            self.groups(),
            self.tun(),
            self.capability(may_configure),
            self.drivers(),
            self.memory(),
            self.name_servers(),
        ];
        findings.extend(self.others());
        findings.extend(self.rfkill());
        findings.extend(self.autosuspend());
        findings.extend(self.filters());
        findings.extend(self.marks());
        findings
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Returns the content of a file without the white space at its ends, if it can be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    fn entries(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn rule(&self) -> Finding {
        let check = "udev rule";
        let rule = RULES
            .iter()
            .map(|directory| self.path(directory).join(RULE));
        match rule.into_iter().find(|file| file.exists()) {
            Some(file) => Finding::new(
                check,
                Kind::RuleInstalled,
                Verdict::Good,
                file.display().to_string(),
            ),
            None if self.is_root => {
                let found = format!("{RULE} is not installed; root needs none");
                Finding::new(check, Kind::RuleMissing, Verdict::Note, found)
            }
            None => Finding::new(
                check,
                Kind::RuleMissing,
                Verdict::Bad,
                format!("{RULE} is not installed"),
            )
            .next(
                "install the package, or packaging/70-uwwan.rules in /etc/udev/rules.d, and plug the modem in again",
            ),
        }
    }

    /// Checks the groups of this user: the one that has modems by the udev rule, and the one of
    /// operators.
    fn groups(&self) -> Finding {
        let check = "groups";
        if self.is_root {
            return Finding::new(check, Kind::GroupsEnough, Verdict::Good, "root needs none");
        }
        let file = self.path("etc/group");
        let mut lacking = Vec::new();
        let mut advice = Vec::new();
        for (name, gives) in [
            (
                OWNERS,
                "modems, by the udev rule, also to users who do not sit at the machine",
            ),
            (
                OPERATORS,
                "the use of a modem that a service or root's `up` runs",
            ),
        ] {
            match id_of(&file, name) {
                Some(id) if self.groups.contains(&id) => {}
                Some(_) => {
                    lacking.push(format!("not a member of {name}, which gives {gives}"));
                    advice.push(format!(
                        "usermod --append --groups {name} USER (as root), and a new login"
                    ));
                }
                None => {
                    lacking.push(format!("there is no group {name}, which gives {gives}"));
                    advice.push(format!(
                        "groupadd --system {name} (as root), which the package does"
                    ));
                }
            }
        }
        if lacking.is_empty() {
            let found = format!("a member of {OWNERS} and {OPERATORS}");
            return Finding::new(check, Kind::GroupsEnough, Verdict::Good, found);
        }
        let finding = Finding::new(
            check,
            Kind::GroupsLacking,
            Verdict::Note,
            lacking.join("; "),
        );
        advice.into_iter().fold(finding, Finding::next)
    }

    fn tun(&self) -> Finding {
        use rustix::fs::Access;
        let check = "TUN device";
        let node = self.path("dev/net/tun");
        if !node.exists() {
            let found = "/dev/net/tun is not there";
            return Finding::new(check, Kind::TunMissing, Verdict::Bad, found)
                .next("modprobe tun (as root); a container needs the device passed in");
        }
        match rustix::fs::access(&node, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => {
                let found = "/dev/net/tun can be opened";
                Finding::new(check, Kind::TunReady, Verdict::Good, found)
            }
            Err(errno) => Finding::new(
                check,
                Kind::TunForbidden,
                Verdict::Bad,
                format!("/dev/net/tun: {errno}"),
            )
            .next("chmod 666 /dev/net/tun (as root), which is what udev gives it"),
        }
    }

    fn capability(&self, may_configure: bool) -> Finding {
        let check = "CAP_NET_ADMIN";
        if may_configure {
            return Finding::new(
                check,
                Kind::InterfacesAllowed,
                Verdict::Good,
                "interfaces and routes may be configured",
            );
        }
        let found = "this user may not configure interfaces";
        Finding::new(check, Kind::InterfacesForbidden, Verdict::Note, found)
            .next("use the service: systemctl enable --now uwwan@NAME (as root)")
            .next("or prepare an interface: ip tuntap add mode tun multi_queue name wwan0 user USER (as root)")
    }

    fn drivers(&self) -> Finding {
        let loaded: Vec<&str> = [
            "cdc_mbim",
            "cdc_ncm",
            "cdc_ether",
            "option",
            "huawei_cdc_ncm",
        ]
        .into_iter()
        .filter(|name| self.path("sys/module").join(name).exists())
        .collect();
        let (kind, found) = match &loaded[..] {
            [] => (
                Kind::DriversAbsent,
                "none of the kernel's modem drivers is loaded".to_owned(),
            ),
            _ => (
                Kind::DriversLoaded,
                format!(
                    "{} loaded; `up` takes the modem from them",
                    loaded.join(", ")
                ),
            ),
        };
        Finding::new("kernel drivers", kind, Verdict::Good, found)
    }

    fn memory(&self) -> Finding {
        let check = "USB memory";
        let file = "sys/module/usbcore/parameters/usbfs_memory_mb";
        let Some(size) = self.read(file).and_then(|text| text.parse::<u64>().ok()) else {
            let found = "the kernel does not tell how much USB transfers may have";
            return Finding::new(check, Kind::MemoryUnknown, Verdict::Note, found);
        };
        let found = match size {
            0 => "USB transfers may have any amount of memory".to_owned(),
            _ => format!("USB transfers of all programs may have {size} MiB"),
        };
        if size == 0 || size >= LEAST_MEMORY {
            return Finding::new(check, Kind::MemoryEnough, Verdict::Good, found);
        }
        Finding::new(check, Kind::MemoryScarce, Verdict::Bad, found)
            .next(format!("echo 16 > /{file} (as root)"))
            .next("or fewer transfers: uwwan up --in-flight 4")
    }

    fn name_servers(&self) -> Finding {
        let check = "name servers";
        if self.path("run/systemd/resolve/stub-resolv.conf").exists() {
            let found = "systemd-resolved runs: --dns resolved hands it the network's";
            return Finding::new(check, Kind::ResolvedRuns, Verdict::Good, found);
        }
        let programs = [
            "usr/sbin/resolvconf",
            "sbin/resolvconf",
            "usr/bin/resolvconf",
        ];
        if programs.iter().any(|program| self.path(program).exists()) {
            let found = "resolvconf is installed: --dns resolvconf hands it the network's";
            return Finding::new(check, Kind::ResolvconfInstalled, Verdict::Good, found);
        }
        let found = "neither systemd-resolved nor resolvconf is there to take the network's";
        Finding::new(check, Kind::ResolverMissing, Verdict::Note, found)
            .next("write /etc/resolv.conf by hand; `uwwan status` shows the addresses")
    }

    fn others(&self) -> Vec<Finding> {
        let mut running: Vec<String> = self
            .entries("proc")
            .into_iter()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .filter_map(|process| self.read(&format!("proc/{process}/comm")))
            .collect();
        running.sort();
        running.dedup();
        let known = OTHERS
            .iter()
            .filter(|(name, _)| running.iter().any(|one| one == name));
        known
            .map(|(name, about)| {
                Finding::new(
                    "other program",
                    Kind::OtherProgram,
                    Verdict::Note,
                    format!("{name} runs: {about}"),
                )
            })
            .collect()
    }

    fn rfkill(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for entry in self.entries("sys/class/rfkill") {
            let of = |file: &str| self.read(&format!("sys/class/rfkill/{entry}/{file}"));
            if of("type").as_deref() != Some("wwan") {
                continue;
            }
            let name = of("name").unwrap_or(entry.clone());
            let blocked = |file: &str| of(file).as_deref() == Some("1");
            let finding = |kind, verdict, state: &str| {
                Finding::new("rfkill", kind, verdict, format!("{name}: the radio{state}"))
            };
            findings.push(match (blocked("hard"), blocked("soft")) {
                (true, _) => finding(Kind::RadioOff, Verdict::Bad, "'s switch is off")
                    .next("turn the switch or key of the machine, or allow it in the BIOS"),
                (_, true) => finding(Kind::RadioBlocked, Verdict::Bad, " is blocked")
                    .next("rfkill unblock wwan (as root)"),
                _ => finding(Kind::RadioFree, Verdict::Good, " is not blocked"),
            });
        }
        findings
    }

    fn autosuspend(&self) -> Vec<Finding> {
        let delay = self.read("sys/module/usbcore/parameters/autosuspend");
        match delay.and_then(|text| text.parse::<i64>().ok()) {
            Some(seconds) if seconds >= 0 => {
                let found = format!(
                    "idle USB devices may be suspended after {seconds} s; a device that `up` has open is not"
                );
                vec![Finding::new(
                    "autosuspend",
                    Kind::AutosuspendOn,
                    Verdict::Good,
                    found,
                )]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Writes a file of a test's machine, with its folders.
    fn put(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn findings(root: &Path, is_root: bool) -> Vec<Finding> {
        let machine = Machine {
            is_root,
            ..Machine::at(root)
        };
        machine.findings(false)
    }

    fn kinds(findings: &[Finding], check: &str) -> Vec<Kind> {
        let of = findings.iter().filter(|one| one.check == check);
        of.map(|one| one.kind).collect()
    }

    fn verdict(findings: &[Finding], check: &str) -> Vec<Verdict> {
        let of = findings.iter().filter(|one| one.check == check);
        of.map(|one| one.verdict).collect()
    }

    #[test]
    fn a_machine_without_anything_is_told_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let all = findings(folder.path(), false);
        assert_eq!(verdict(&all, "udev rule"), [Verdict::Bad]);
        assert_eq!(verdict(&all, "TUN device"), [Verdict::Bad]);
        assert_eq!(verdict(&all, "name servers"), [Verdict::Note]);
        for finding in all.iter().filter(|one| one.verdict == Verdict::Bad) {
            assert!(!finding.next.is_empty(), "{finding:?}");
        }
        assert_eq!(
            verdict(&findings(folder.path(), true), "udev rule"),
            [Verdict::Note]
        );
    }

    #[test]
    fn what_is_in_the_way_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "usr/lib/udev/rules.d/70-uwwan.rules", "");
        put(root, "dev/net/tun", "");
        put(root, "sys/module/usbcore/parameters/usbfs_memory_mb", "1\n");
        put(root, "run/systemd/resolve/stub-resolv.conf", "");
        put(root, "proc/12/comm", "ModemManager\n");
        put(root, "proc/13/comm", "bash\n");
        put(root, "proc/sys/net/ipv4/conf/all/rp_filter", "1\n");
        for (number, kind, soft, hard) in [
            (0, "wlan", "1", "0"),
            (1, "wwan", "1", "0"),
            (2, "wwan", "0", "1"),
        ] {
            let of = |file: &str| format!("sys/class/rfkill/rfkill{number}/{file}");
            put(root, &of("type"), kind);
            put(root, &of("name"), "hp-wwan");
            put(root, &of("soft"), soft);
            put(root, &of("hard"), hard);
        }
        let all = findings(root, false);
        assert_eq!(verdict(&all, "udev rule"), [Verdict::Good]);
        assert_eq!(verdict(&all, "TUN device"), [Verdict::Good]);
        assert_eq!(verdict(&all, "USB memory"), [Verdict::Bad]);
        assert_eq!(verdict(&all, "name servers"), [Verdict::Good]);
        assert_eq!(verdict(&all, "other program"), [Verdict::Note]);
        assert_eq!(verdict(&all, "packet filter"), [Verdict::Note]);
        assert_eq!(verdict(&all, "rfkill"), [Verdict::Bad, Verdict::Bad]);
        assert_eq!(kinds(&all, "rfkill"), [Kind::RadioBlocked, Kind::RadioOff]);
        put(root, "sys/module/usbcore/parameters/usbfs_memory_mb", "0\n");
        assert_eq!(
            verdict(&findings(root, false), "USB memory"),
            [Verdict::Good]
        );
    }

    #[test]
    fn a_missing_group_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let of = |file: &str| {
            put(root, "etc/group", file);
            let all = findings(root, false);
            let finding = all.iter().find(|one| one.check == "groups");
            finding.cloned().unwrap()
        };
        let finding = of("root:x:0:\nplugdev:x:46:me\nuwwan:x:990:\n");
        assert_eq!(finding.kind, Kind::GroupsLacking);
        assert!(
            finding.found.starts_with("not a member of uwwan"),
            "{finding:?}"
        );
        assert!(!finding.found.contains("plugdev"), "{finding:?}");
        assert!(finding.next[0].contains("--groups uwwan"), "{finding:?}");
        let finding = of("plugdev:x:46:me\n");
        assert!(
            finding.found.contains("there is no group uwwan"),
            "{finding:?}"
        );
        let finding = of("plugdev:x:46:me\nuwwan:x:46:me\n");
        assert_eq!(finding.kind, Kind::GroupsEnough);
        let all = findings(root, true);
        assert_eq!(kinds(&all, "groups"), [Kind::GroupsEnough]);
    }

    #[test]
    fn garbage_in_files_of_the_kernel_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(
            root,
            "sys/module/usbcore/parameters/usbfs_memory_mb",
            "\u{fffd}many",
        );
        put(root, "sys/module/usbcore/parameters/autosuspend", "");
        put(root, "proc/99999999999999999999/comm", "\u{1b}[2J");
        let all = findings(root, false);
        assert_eq!(verdict(&all, "USB memory"), [Verdict::Note]);
        assert!(verdict(&all, "autosuspend").is_empty());
    }
}
