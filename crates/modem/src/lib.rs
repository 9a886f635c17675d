//! One modem.
