//! Tests that cross crates.

pub mod allocator;
pub mod host;
