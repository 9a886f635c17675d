//! A client of the proxies of `up --net userspace` sends any bytes: as an HTTP request, and as a SOCKS
//! datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| uwwan::fuzz::proxy_clients(bytes));
