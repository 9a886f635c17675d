//! The rights of a process in the sandbox of `up`, tried from inside as root.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketType};

#[allow(dead_code, unused_imports)]
#[path = "../src/sandbox/mod.rs"]
mod sandbox;

use sandbox::{Confinement, Identity, State};

/// A process that the sandboxed one tries to harm.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        let child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.0)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `tries` in a thread that has entered the sandbox.
fn inside<T: Send + 'static>(
    confinement: Confinement,
    tries: impl FnOnce(State) -> T + Send + 'static,
) -> T {
    let thread = std::thread::spawn(move || tries(confinement.enter()));
    thread.join().unwrap()
}

fn refused<T>(what: &str, result: Result<T, impl Into<io::Error>>) {
    match result.map_err(Into::into) {
        Ok(_) => panic!("{what} was possible"),
        Err(error) => assert_eq!(
            error.kind(),
            io::ErrorKind::PermissionDenied,
            "{what}: {error}"
        ),
    }
}

/// Attaches to a process as a debugger does.
fn trace(pid: rustix::process::Pid) -> io::Result<()> {
    let pid = pid.as_raw_nonzero().get();
    // SAFETY: PTRACE_ATTACH reads no memory of this process; address and data are ignored.
    match unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks the kernel to mount a file system.
fn mount() -> io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: null stands for no text in each of the four arguments that may be null.
    match unsafe { libc::mount(none, c"/mnt".as_ptr(), none, 0, none.cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns whether a call of ioctl(2) or fcntl(2) with a number as its argument has succeeded.
fn control(answer: libc::c_int) -> io::Result<()> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Tries to type into a terminal and to have other processes signalled.
fn ways_out(victim: rustix::process::Pid) {
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let own = ours.as_raw_fd();
    let pid = victim.as_raw_nonzero().get();
    for request in [
        libc::TIOCSTI,
        libc::TIOCLINUX,
        libc::TIOCSPGRP,
        0x8901, // FIOSETOWN
        0x8902, // SIOCSPGRP
    ] {
        for upper in [0, 1 << 32] {
            // SAFETY: each of these requests reads at most an `int` at the address, which `pid` is.
            let answer = unsafe { libc::ioctl(own, (request | upper) as _, &raw const pid) };
            let result = control(answer);
            refused(&format!("ioctl {request:#x}"), result);
        }
    }
    for operation in [libc::F_SETOWN, 10 /* F_SETSIG */] {
        // SAFETY: the operation takes a number and no memory.
        let answer = unsafe { libc::fcntl(own, operation, pid) };
        refused(&format!("fcntl {operation}"), control(answer));
    }
    let owner = [1, pid]; // F_OWNER_PID
    // SAFETY: F_SETOWN_EX reads two `int`s, which `owner` has.
    let answer = unsafe { libc::fcntl(own, 15, owner.as_ptr()) };
    refused("fcntl F_SETOWN_EX", control(answer));
    // The other requests of these calls keep working.
    ours.set_nonblocking(true).unwrap();
    ours.try_clone().unwrap();
    let mut flags = rustix::fs::fcntl_getfl(&ours).unwrap();
    flags.insert(rustix::fs::OFlags::NONBLOCK);
    rustix::fs::fcntl_setfl(&ours, flags).unwrap();
}

#[test]
fn the_rest_of_the_machine_is_out_of_reach() {
    let victim = Victim::new();
    let pid = victim.pid();
    let (told, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(secret.path().join("file"), "secret").unwrap();
    let (writable, hidden) = (told.path().to_owned(), secret.path().join("file"));
    inside(
        Confinement {
            writable: vec![writable.clone()],
            ..Confinement::default()
        },
        move |state| {
            assert!(state.landlock.starts_with("version"), "{state:?}");
            assert_eq!(
                (state.no_new_privs, state.seccomp),
                (Some(true), Some(true))
            );
            refused("a program", Command::new("/bin/true").status());
            refused("a password file", File::open("/etc/shadow"));
            refused("another folder", File::open(&hidden));
            refused(
                "a new file elsewhere",
                std::fs::write("/tmp/uwwan-sandbox", ""),
            );
            let ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            refused("the end of another process", ended);
            refused("a debugger", trace(pid));
            ways_out(pid);
            for node in ["/dev/kmsg", "/dev/mem", "/dev/full", "/dev/zero"] {
                let Err(error) = File::open(node) else {
                    panic!("{node} was opened")
                };
                let kind = error.kind();
                let out = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound];
                assert!(out.contains(&kind), "{node}: {error}");
            }
            let memory = format!("/proc/{}/mem", pid.as_raw_nonzero());
            refused("another process's memory", File::open(memory));
            for family in [
                AddressFamily::INET,
                AddressFamily::INET6,
                AddressFamily::PACKET,
            ] {
                for kind in [SocketType::RAW, SocketType::STREAM, SocketType::DGRAM] {
                    let socket = rustix::net::socket(family, kind, None);
                    refused("a socket of the network", socket);
                }
            }
            refused("a mount", mount());
            let limit = rustix::process::Rlimit {
                current: Some(1),
                maximum: Some(1),
            };
            let core = rustix::process::setrlimit(rustix::process::Resource::Core, limit);
            refused("a core dump", core);

            // Rights that the process needs keep working: files of its own, sockets of the machine,
            // threads, memory.
            std::fs::write(writable.join("state"), "kept").unwrap();
            std::fs::rename(writable.join("state"), writable.join("new")).unwrap();
            UnixListener::bind(writable.join("socket")).unwrap();
            let thread = std::thread::Builder::new().name("inside".into());
            let told = thread.spawn(|| {
                let mut text = String::new();
                File::open("/proc/thread-self/status")
                    .and_then(|mut file| file.read_to_string(&mut text))
                    .map(|_| text)
            });
            let told = told.unwrap().join().unwrap().unwrap();
            assert!(told.contains("NoNewPrivs:\t1"), "{told}");
            refused("a program", Command::new("/bin/true").status());
        },
    );
    assert!(std::fs::exists(told.path().join("new")).unwrap());
}

#[test]
fn programs_for_the_name_servers_run_and_are_confined_too() {
    let victim = Victim::new();
    let pid = victim.pid();
    inside(
        Confinement {
            programs: true,
            ..Confinement::default()
        },
        move |state| {
            assert!(state.landlock.starts_with("left open"), "{state:?}");
            refused("a debugger", trace(pid));
            refused("a mount", mount());
            let told = Command::new("cat")
                .arg("/proc/self/status")
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            assert!(
                told.contains("NoNewPrivs:\t1") && told.contains("Seccomp:\t2"),
                "{told}"
            );
        },
    );
}

/// Returns the user that the driver of root's `up` becomes, if this process can change its user.
fn driver() -> Option<Identity> {
    Identity::for_driver(std::path::Path::new("/")).unwrap_or_default()
}

/// The process is a driver beside a monitor.
#[test]
fn the_driver_keeps_no_capability_and_makes_no_socket() {
    let place = tempfile::tempdir().unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(place.path(), all(0o755)).unwrap();
    let path = place.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, all(0o666)).unwrap();
    // Only its owner may use the directory, as that of a container's daemon.
    let closed = place.path().join("closed");
    let _closed = UnixListener::bind(&closed).unwrap();
    std::fs::set_permissions(&closed, all(0o600)).unwrap();
    let hidden = place.path().join("hidden");
    std::fs::write(&hidden, "secret").unwrap();
    std::fs::set_permissions(&hidden, all(0o600)).unwrap();
    let (mut one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
    let tried = path.clone();
    let held = rustix::thread::capabilities(None).unwrap().effective;
    let resource = held.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
    let identity = driver();
    let victim = Victim::new();
    let pid = victim.pid();
    inside(
        Confinement {
            writable: vec![place.path().to_owned()],
            monitored: true,
            identity,
            ..Confinement::default()
        },
        move |state| {
            // Without CAP_SYS_RESOURCE at the start, CAP_SYS_NICE stays so that a thread may have
            // priority.
            let kept = if resource {
                "0000000000000000"
            } else {
                "0000000000800000"
            };
            assert_eq!(state.capabilities, kept);
            let told = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                let kept = match set {
                    "CapPrm" | "CapEff" => kept,
                    _ => "0000000000000000",
                };
                assert!(told.contains(&format!("{set}:\t{kept}")), "{told}");
            }
            if let Some(identity) = identity {
                let (user, group) = (identity.user, identity.group);
                let four = |id: u32| format!("\t{id}\t{id}\t{id}\t{id}\n");
                assert!(
                    told.contains(&format!("Uid:{}", four(user.as_raw())))
                        && told.contains(&format!("Gid:{}", four(group.as_raw())))
                        && told.contains("Groups:\t \n"),
                    "{told}"
                );
                assert_eq!(state.uid, user.as_raw());
                refused("a file of root's", File::open(&hidden));
                let root = rustix::process::Uid::ROOT;
                refused("root", rustix::thread::set_thread_res_uid(root, root, root));
                refused(
                    "a socket of root's",
                    std::os::unix::net::UnixStream::connect(&closed),
                );
            }
            refused("a program", Command::new("/bin/true").status());
            refused("a password file", File::open("/etc/shadow"));
            let ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            refused("the end of another process", ended);
            refused("a debugger", trace(pid));
            refused(
                "a TUN interface",
                File::options().write(true).open("/dev/net/tun"),
            );
            for node in usb_nodes() {
                refused("a USB device", File::options().write(true).open(&node));
                refused("a USB device's descriptors", File::open(&node));
            }
            refused(
                "an interface's setting",
                std::fs::write("/proc/sys/net/ipv6/conf/lo/mtu", ""),
            );
            for (family, kind) in [
                (AddressFamily::NETLINK, SocketType::RAW),
                (AddressFamily::INET, SocketType::RAW),
                (AddressFamily::PACKET, SocketType::RAW),
            ] {
                let socket = rustix::net::socket(family, kind, None);
                refused("the network's configuration and packets", socket);
            }
            let id = rustix::process::Uid::from_raw(1);
            drop(std::os::unix::net::UnixStream::connect(&tried).unwrap());
            sandbox::settle();
            refused(
                "a connection",
                std::os::unix::net::UnixStream::connect(&tried),
            );
            refused("a socket", std::os::unix::net::UnixDatagram::unbound());
            refused(
                "the system bus",
                std::os::unix::net::UnixStream::connect("/run/dbus/system_bus_socket"),
            );
            refused(
                "another user",
                rustix::thread::set_thread_res_uid(id, id, id),
            );
            std::io::Write::write_all(&mut one, b"goes on").unwrap();
        },
    );
    let mut text = [0; 7];
    other.read_exact(&mut text).unwrap();
}

/// Returns the nodes of the USB devices of this machine.
fn usb_nodes() -> Vec<std::path::PathBuf> {
    let buses = std::fs::read_dir("/dev/bus/usb").into_iter().flatten();
    let devices = buses.flatten().map(|bus| std::fs::read_dir(bus.path()));
    let devices = devices.flatten().flatten().flatten();
    devices.map(|node| node.path()).collect()
}

#[test]
fn the_monitor_keeps_what_its_work_takes() {
    let victim = Victim::new();
    let pid = victim.pid();
    let held = rustix::thread::capabilities(None).unwrap().permitted;
    for programs in [false, true] {
        let thread = std::thread::spawn(move || {
            let state = sandbox::enter_as_monitor(programs);
            assert_eq!(
                (state.no_new_privs, state.seccomp),
                (Some(true), Some(true))
            );
            let kept = rustix::thread::capabilities(None).unwrap().permitted;
            for (one, stays) in [
                (rustix::thread::CapabilitySet::NET_ADMIN, true),
                (rustix::thread::CapabilitySet::KILL, true),
                (rustix::thread::CapabilitySet::SYS_ADMIN, false),
                (rustix::thread::CapabilitySet::SYS_MODULE, false),
                (rustix::thread::CapabilitySet::NET_RAW, false),
                (rustix::thread::CapabilitySet::SETPCAP, false),
            ] {
                assert_eq!(kept.contains(one), stays && held.contains(one), "{one:?}");
            }
            refused("a debugger", trace(pid));
            refused("a mount", mount());
            let program = Command::new("/bin/true").status();
            match programs {
                true => assert!(program.unwrap().success()),
                false => refused("a program", program),
            }
        });
        thread.join().unwrap();
    }
}
