//! Parts of tests that cross crates.

pub mod allocator;
pub mod bench;
pub mod host;
