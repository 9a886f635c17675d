//! A listener to the kernel's announcements of changes.

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

/// Socket that receives every change of addresses that the kernel announces. An announcement is
/// queued before the change is complete, so that all of them are there when `replace` returns.
pub struct Monitor(netlink_sys::Socket);

impl Monitor {
    pub fn start() -> Monitor {
        let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE).expect("a netlink socket");
        // The groups are RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
        let groups = 0x10 | 0x100;
        socket
            .bind(&netlink_sys::SocketAddr::new(0, groups))
            .expect("bound");
        socket.set_non_blocking(true).expect("set");
        Monitor(socket)
    }

    pub fn stop(self) -> Vec<String> {
        let mut changes = Vec::new();
        while let Ok((bytes, _)) = self.0.recv_from_full() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes);
            changes.push(format!("{:?}", message.expect("a message").payload));
        }
        changes
    }
}
