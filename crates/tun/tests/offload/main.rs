//! Tests of cutting and merging without a kernel: properties for any traffic and for any bytes.

#[path = "../traffic/mod.rs"]
mod traffic;

mod ack_filter;
mod anything;
mod merging;
mod placing;
