//! Tests of interfaces whose open file another program has as well.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::mpsc::channel;

use uwwan_tun::{NoWait, Offload, Offloads, Tun, handed};

use crate::PATIENCE;

/// Calls `act` in a thread of its own, and fails when the call does not return.
fn comes_back<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || done.send(act()));
    result.recv_timeout(PATIENCE).expect(what)
}

pub fn a_call_waits_for_nobody_whoever_clears_the_flag() {
    for large in [false, true] {
        let (theirs, kept): (Vec<_>, Box<dyn Send>) = if large {
            let offload = Offload::open(Some("tw%d"), Offloads::all()).unwrap();
            // A single queue is read without a look at whether it has packets.
            let all = offload.descriptors().into_iter().take(1);
            let all = all.map(|one| one.try_clone_to_owned().unwrap());
            (all.collect(), Box::new(offload))
        } else {
            let tun = Tun::open(Some("tw%d")).unwrap();
            let one = tun.as_fd().try_clone_to_owned().unwrap();
            (vec![one], Box::new(tun))
        };
        let ours = theirs.iter().map(|one| one.try_clone().unwrap()).collect();
        let checked = handed::check(&theirs, large, false);
        let Ok((name, waiting)) = checked else {
            // An older kernel has no such calls, and then the program must be trusted.
            let error = checked.unwrap_err().to_string();
            assert!(error.contains("this kernel"), "{error}");
            let (_, waiting) = handed::check(&theirs, large, true).unwrap();
            assert_eq!(waiting, NoWait::File);
            continue;
        };
        assert_eq!(waiting, NoWait::Call);
        for one in &theirs {
            rustix::io::ioctl_fionbio(one, false).unwrap();
        }
        let found = if large {
            let mut offload = Offload::handed(ours, name, 0, Offloads::all(), waiting).unwrap();
            comes_back("an empty queue", move || {
                let mut buffer = [0; 4096];
                offload.receive(&mut [std::io::IoSliceMut::new(&mut buffer)])
            })
        } else {
            let [one] = <[_; 1]>::try_from(ours).unwrap_or_else(|_: Vec<_>| unreachable!());
            let tun = Tun::handed(one, name, 0, waiting);
            comes_back("an empty interface", move || tun.receive(&mut [0; 4096]))
        };
        assert_eq!(found.unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(kept);
    }
}
