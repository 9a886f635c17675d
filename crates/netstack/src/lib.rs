//! Userspace IP stack.
