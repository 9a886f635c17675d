//! Load against a host or a network that does not cooperate.

use std::process::Command;
use std::time::Duration;

use crate::Mode;
use crate::bench::{Bench, count};
use crate::flows;
use uwwan_tests::allocator;

/// Time for which the network takes nothing, as the stimulus of a test. It is several times as long
/// as the flow up waits before it gives up the datagrams under way and sends further ones.
const CLOSED: Duration = Duration::from_secs(2);

/// Time for which the interface is down, as the stimulus of a test. It is several times as long as
/// the flow down continues before the datagrams under way have arrived.
const DOWN: Duration = Duration::from_millis(700);

/// The network reports another MTU while data flow. The interface follows, and of the flows, whose
/// datagrams fit every MTU, the driver loses nothing. The stream to the modem may fill the kernel's
/// queue, whose losses the interface counts.
pub fn the_mtu_changes_under_load(mode: Mode) {
    let bench = Bench::online(mode, "");
    let flows = bench.flows();
    let streams = [
        std::thread::spawn(|| flows::download(16 << 20)),
        std::thread::spawn(|| flows::upload(16 << 20)),
    ];
    for mtu in [1400, 1280, 1500, 1300, 1460, 1280, 1500] {
        bench.emulator.adjust(move |knobs| knobs.mtu = mtu);
        let file = format!("/sys/class/net/{}/mtu", bench.interface());
        let told = |bench: &Bench| {
            bench
                .handle
                .status()
                .addresses()
                .is_some_and(|a| a.mtu == mtu)
        };
        bench.wait_for("the MTU was not taken over", told);
        // /sys shows the namespace in which it was mounted, so the program `ip` is asked.
        bench.wait_for(&file, |bench| {
            shown(&bench.interface()).contains(&format!("mtu {mtu} "))
        });
        bench.flow_on(500);
    }
    for stream in streams {
        stream.join().expect("a stream");
    }
    let (sent, down) = flows.end();
    let up = bench.far.up();
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    assert_eq!(down.missing(), 0);
    let refused = refused_by_queue(&bench.interface());
    assert!(up.missing() <= refused, "{up:?}, {refused} refused");
    bench.stop();
}

/// The network takes nothing for a while. NTBs wait at the device and packets in the kernel's
/// queue, and nothing in the driver grows. The datagrams that the driver has taken are not lost.
pub fn a_network_that_takes_nothing_holds_up_the_host(mode: Mode) {
    let bench = Bench::online(mode, "");
    let flows = bench.flows();
    bench.flow_on(500);
    let in_use = allocator::in_use();
    for _ in 0..3 {
        bench.far.close(true);
        std::thread::sleep(CLOSED);
        assert!(bench.handle.status().online);
        bench.far.close(false);
        bench.flow_on(500);
    }
    let grown = allocator::in_use() - in_use;
    let (sent, down) = flows.end();
    let up = bench.far.up();
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    assert_eq!((up.missing(), down.missing()), (0, 0));
    assert!(grown < 256 << 10, "{grown} bytes more in use");
    bench.stop();
}

/// Another program sets the interface down and up again. Packets that come meanwhile are refused by
/// the kernel and counted, and then everything continues.
pub fn an_interface_that_goes_down_ends_nothing(mode: Mode) {
    let bench = Bench::online(mode, "");
    let interface = bench.interface();
    let flows = bench.flows();
    for _ in 0..3 {
        bench.flow_on(500);
        ip(&["link", "set", &interface, "down"]);
        std::thread::sleep(DOWN);
        ip(&["link", "set", &interface, "up"]);
        // The kernel has removed the routes with the link.
        ip(&["route", "replace", "198.51.100.0/24", "dev", &interface]);
        bench.flow_on(500);
    }
    let (sent, down) = flows.end();
    let up = bench.far.up();
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    let traffic = bench.traffic();
    assert!(count(&traffic.dropped, "host_refused") > 0, "{traffic:?}");
    assert_eq!(bench.handle.status().attempts, 1, "it has stayed online");
    bench.stop();
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ip {arguments:?}"
    );
}

/// Returns the number of packets that the kernel's queue of an interface had no room for: the fourth
/// number on the way out in proc_pid_net(5)'s `dev`.
fn refused_by_queue(interface: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").expect("the table");
    let row = table
        .lines()
        .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let dropped = row.and_then(|row| row.split_whitespace().nth(11));
    dropped.expect("a row").parse().expect("a number")
}

fn shown(interface: &str) -> String {
    let output = Command::new("ip")
        .args(["link", "show", "dev", interface])
        .output();
    String::from_utf8_lossy(&output.expect("ip").stdout).into_owned()
}
