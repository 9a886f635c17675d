//! The host end.
