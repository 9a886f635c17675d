//! A network and a host on one link, for the tests.

use std::net::IpAddr;
use std::time::Duration;

use uwwan_netstack::StackConfig;
use uwwan_netstack::client::{Client, ClientConfig};
use uwwan_netstack::memory;
use uwwan_netstack::server::{DEFAULT_V4, DEFAULT_V6, Server, ServerConfig, ServerThread};

/// Time that is far more than anything here takes, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a host's configuration as a modem would give it.
pub fn host() -> ClientConfig {
    ClientConfig {
        addresses: vec![(address("10.64.0.2"), 30), (address("2001:db8:1::2"), 64)],
        name_servers: vec![DEFAULT_V4.into(), DEFAULT_V6.into()],
        stack: StackConfig::default(),
    }
}

/// Returns a network and a host connected in memory.
pub fn connected() -> (ServerThread, Client) {
    let (far, near) = memory::pair(memory::Capacity::default());
    let server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let client = Client::start(host(), near).expect("a client");
    (server, client)
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
