//! The files that the driver may open (Landlock, `Documentation/userspace-api/landlock.rst`).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetStatus, Scope,
};

use super::state::Landlock;

/// The newest rules that are known here. A kernel that knows fewer enforces those it knows.
const RULES: ABI = ABI::V7;

/// The files that are read: USB devices, this process's own state, the names of users. The
/// descriptors of other processes cannot be read under Landlock, so the programs that have a device
/// open cannot be found.
const READ: [&str; 5] = ["/sys", "/proc", "/etc/passwd", "/etc/group", "/dev/urandom"];
/// Device nodes that are opened, or the folders they are in: terminals for other programs.
const DEVICES: [&str; 3] = ["/dev/ptmx", "/dev/pts", "/dev/null"];
/// The nodes that a monitor opens where there is one.
const MONITORS: [&str; 2] = [USB_NODES, "/dev/net/tun"];
/// Folder of the nodes of USB devices.
const USB_NODES: &str = "/dev/bus/usb";
/// Settings of interfaces and of USB devices, which a monitor writes where there is one.
const SETTINGS: [&str; 2] = ["/proc/sys/net", "/sys/devices"];

/// Restricts the calling thread, and those it starts, to these files, and the removal of those in
/// `removable`, and returns what
/// Landlock does. TCP connections and signals to other processes are refused as well where the
/// kernel can.
///
/// # Errors
/// The reason in words why nothing is restricted.
pub(super) fn restrict(
    writable: &[PathBuf],
    readable: &[PathBuf],
    removable: Option<&Path>,
    monitored: bool,
) -> Result<Landlock, String> {
    let missing: Vec<&'static str> = devices(!monitored)
        .filter(|path| place(Path::new(path)).is_none())
        .collect();
    let status = build(writable, readable, removable, monitored)
        .and_then(|rules| rules.restrict_self())
        .map_err(|error| format!("not in force: {error}"))?;
    let version = match status.landlock {
        LandlockStatus::NotEnabled => return Err("this kernel has it switched off".to_owned()),
        LandlockStatus::NotImplemented => return Err("this kernel has none".to_owned()),
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
    };
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("not in force".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => {
            Ok(Landlock { version, missing })
        }
    }
}

/// Returns the device nodes that a process uses. With `own` they include those that a monitor would
/// open.
fn devices(own: bool) -> impl Iterator<Item = &'static str> {
    MONITORS.into_iter().filter(move |_| own).chain(DEVICES)
}

/// Returns the node, or the nearest folder above it where it may appear later, with the module that
/// makes it. `/dev` itself is never returned, because it holds the machine's disks and memory.
fn place(node: &Path) -> Option<&Path> {
    let mut places = node
        .ancestors()
        .take_while(|path| *path != Path::new("/dev"));
    places.find(|path| path.exists())
}

fn build(
    writable: &[PathBuf],
    readable: &[PathBuf],
    removable: Option<&Path>,
    monitored: bool,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::ReadDir;
    let all = AccessFs::from_all(RULES) & !AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::Signal)?
        .create()?;
    let readable = readable.iter().map(PathBuf::as_path);
    for path in READ.into_iter().map(Path::new).chain(readable) {
        rules = allow(rules, path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    let own = !monitored;
    for path in devices(own) {
        if let Some(place) = place(Path::new(path)) {
            rules = allow(rules, place, device)?;
        }
    }
    if !own {
        // libusb checks whether the folder exists, and opens no node.
        if let Some(place) = place(Path::new(USB_NODES)) {
            rules = allow(rules, place, AccessFs::ReadDir.into())?;
        }
    }
    for path in SETTINGS.into_iter().filter(|_| own) {
        let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        rules = allow(rules, Path::new(path), access)?;
    }
    for path in writable {
        rules = allow(rules, path, all)?;
    }
    if let Some(path) = removable {
        rules = allow(rules, path, AccessFs::RemoveFile.into())?;
    }
    Ok(rules)
}

/// Permits the uses of a path, and of everything below a folder. A path that cannot be opened cannot
/// be permitted, and is left out.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_missing_node_opens_all_nodes() {
        for (node, expected) in [
            ("/dev/uwwan-none/usb", None),
            ("/dev/uwwan-none", None),
            ("/dev/pts/uwwan-none", Some("/dev/pts")),
            ("/dev/null", Some("/dev/null")),
        ] {
            assert_eq!(place(Path::new(node)), expected.map(Path::new), "{node}");
        }
    }
}
