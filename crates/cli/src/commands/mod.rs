//! The commands, one file or folder each: arguments with their help and examples, and what they do.

pub mod demo;
pub mod down;
pub mod emulate;
pub mod list;
pub mod mbim;
pub mod ntb;
pub mod progress;
pub mod status;
pub mod up;
pub mod usb;
