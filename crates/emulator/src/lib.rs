//! The modem emulator.
