//! The control session for programs other than the driver, on the emulated modem: the program's own
//! client with and without a running driver, and Debian's `mbimcli` through every entrance.

mod direct;
mod mbimcli;
mod shared;
mod through;
