//! Check of the capabilities that the program's file carries (`setcap`) and of who may use them.
//!
//! With `cap_net_admin` on a file that everybody may execute, every local user could redirect the
//! machine's traffic with `up --route default`. As with dumpcap, such a file must belong to a group
//! and be closed to others.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;

use rustix::io::Errno;

use crate::failure::{Failure, FailureKind};

/// Link to the file of the running program, which holds even when the file is renamed.
const PROGRAM: &str = "/proc/self/exe";
/// Extended attribute in which a file carries its capabilities, see capabilities(7).
const ATTRIBUTE: &str = "security.capability";

/// Returns an error when this process has its capabilities from a file that everybody may execute.
///
/// # Errors
/// [`FailureKind::Permission`], with the commands that close the file to others.
pub fn refuse_for_everybody() -> Result<(), Failure> {
    // Root needs no capabilities of the file, and a process without any cannot misuse one.
    let held = rustix::thread::capabilities(None);
    if rustix::process::getuid().is_root() || held.is_ok_and(|held| held.permitted.is_empty()) {
        return Ok(());
    }
    let carries = match rustix::fs::getxattr_query(PROGRAM, ATTRIBUTE) {
        Ok(size) => size > 0,
        Err(Errno::NODATA | Errno::NOTSUP) => false,
        // A file whose attribute cannot be read may carry capabilities; its mode decides.
        Err(_) => true,
    };
    let metadata = std::fs::metadata(PROGRAM);
    if !carries || metadata.is_ok_and(|metadata| !everybody_may_execute(&metadata)) {
        return Ok(());
    }
    let path = std::env::current_exe().unwrap_or_else(|_| PROGRAM.into());
    let path = path.display();
    Err(Failure::new(
        FailureKind::Permission,
        "this program has capabilities that everybody could use",
    )
    .at(path.to_string())
    .because("its file carries them and every user may execute it: each could redirect the machine's traffic")
    .next(format!(
        "close it to others and give it to a group of operators, as root:\n\
         chown root:uwwan {path} && chmod 750 {path} && setcap cap_net_admin,cap_sys_nice+ep {path}"
    )))
}

fn everybody_may_execute(file: &Metadata) -> bool {
    file.permissions().mode() & 0o001 != 0
}
