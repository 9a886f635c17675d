//! The files that the driver may open (Landlock, `Documentation/userspace-api/landlock.rst`).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetStatus, Scope,
};

/// The newest rules that are known here. A kernel that knows fewer enforces those it knows.
const RULES: ABI = ABI::V7;

/// What is read: USB devices and who else has them open, the names of users.
const READ: [&str; 5] = ["/sys", "/proc", "/etc/passwd", "/etc/group", "/dev/urandom"];
/// Device nodes that are opened, or the folders they are in: terminals for other programs.
const DEVICES: [&str; 3] = ["/dev/ptmx", "/dev/pts", "/dev/null"];
/// Those that a monitor opens where there is one.
const MONITORS: [&str; 2] = [USB_NODES, "/dev/net/tun"];
/// Folder of the nodes of USB devices.
const USB_NODES: &str = "/dev/bus/usb";
/// Settings of interfaces and of USB devices, which a monitor writes where there is one.
const SETTINGS: [&str; 2] = ["/proc/sys/net", "/sys/devices"];

/// Restricts the calling thread, and those it starts, to these files, and returns which version of
/// Landlock does it. TCP connections and signals to other processes are refused as well where the
/// kernel can.
///
/// # Errors
/// Returns why nothing is restricted, for people.
pub(super) fn restrict(writable: &[PathBuf], monitored: bool) -> Result<String, String> {
    let status = build(writable, monitored)
        .and_then(|rules| rules.restrict_self())
        .map_err(|error| format!("not in force: {error}"))?;
    let version = match status.landlock {
        LandlockStatus::NotEnabled => return Err("this kernel has it switched off".to_owned()),
        LandlockStatus::NotImplemented => return Err("this kernel has none".to_owned()),
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
    };
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("not in force".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => {
            Ok(format!("version {version}"))
        }
    }
}

fn build(writable: &[PathBuf], monitored: bool) -> Result<RulesetCreated, landlock::RulesetError> {
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::ReadDir;
    let all = AccessFs::from_all(RULES) & !AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::Signal)?
        .create()?;
    for path in READ {
        rules = allow(
            rules,
            Path::new(path),
            AccessFs::ReadFile | AccessFs::ReadDir,
        )?;
    }
    let own = !monitored;
    for path in MONITORS.into_iter().filter(|_| own).chain(DEVICES) {
        // A node may appear later, with the module that makes it.
        let path = Path::new(path);
        let there = path.ancestors().find(|path| path.exists());
        rules = allow(rules, there.unwrap_or(path), device)?;
    }
    if !own {
        // libusb looks whether there is one, and opens none.
        let place = Path::new(USB_NODES);
        let there = place.ancestors().find(|path| path.exists());
        rules = allow(rules, there.unwrap_or(place), AccessFs::ReadDir.into())?;
    }
    for path in SETTINGS.into_iter().filter(|_| own) {
        let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        rules = allow(rules, Path::new(path), access)?;
    }
    for path in writable {
        rules = allow(rules, path, all)?;
    }
    Ok(rules)
}

/// Allows what a path, and everything below a folder, may be used for. What cannot be opened cannot be
/// allowed, and is left out.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        tracing::debug!(path = %path.display(), "not there to be allowed");
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(RULES)
    };
    rules.add_rule(PathBeneath::new(opened, access))
}
