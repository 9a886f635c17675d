//! Tests that cross crates.

pub mod host;
