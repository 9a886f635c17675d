//! What the TCP sockets of a network namespace hold that no peer has acknowledged.
//!
//! A program may end right after it has written: the kernel goes on sending for it, which takes the
//! modem.

use std::fs;
use std::time::Duration;

/// Longest time for which what is left is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Time from one look to the next.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Numbers of the states in which a socket has nothing to send (`include/net/tcp_states.h`): it
/// waits for the first answer of a peer, or listens.
const NOTHING: [&str; 2] = ["02", "0A"];

/// Returns whether a TCP socket of this process's network namespace holds something that its peer has
/// not acknowledged, the end of the stream among it. Where the kernel does not tell there is nothing.
pub(super) fn any() -> bool {
    let lists = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let lists = lists
        .iter()
        .filter_map(|list| fs::read_to_string(list).ok());
    lists.into_iter().any(|list| list.lines().any(is_unsent))
}

/// Returns whether a line of `/proc/net/tcp` (proc_pid_net(5)) is that of such a socket.
fn is_unsent(line: &str) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(3);
    let (Some(state), Some(queues)) = (fields.next(), fields.next()) else {
        return false;
    };
    let queue = queues.split(':').next();
    let bytes = queue.and_then(|queue| u32::from_str_radix(queue, 16).ok());
    !NOTHING.contains(&state) && bytes.is_some_and(|bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_hold_something_are_told_from_others() {
        let line = |state: &str, queues: &str| {
            format!(
                "   0: 0200600A:A4D2 010200C0:0009 {state} {queues} 01:00000014 00000000     0        0 0 4 00 20 4 30 10 -1"
            )
        };
        for (state, queues, unsent) in [
            ("04", "00030D41:00000000", true),
            ("01", "00000001:00000000", true),
            ("01", "00000000:00000100", false),
            ("06", "00000000:00000000", false),
            ("02", "00000001:00000000", false),
            ("0A", "00000001:00000000", false),
        ] {
            assert_eq!(is_unsent(&line(state, queues)), unsent, "{state} {queues}");
        }
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        for other in [head, "", "0: a b 04", "0: a b 04 x:y", "0: a b 04 :"] {
            assert!(!is_unsent(other), "{other}");
        }
    }
}
