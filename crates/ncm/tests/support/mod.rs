//! Models of receivers other than this crate's and of the sender of Linux, written from their rules
//! and independent of this crate's code.

pub mod gadget;
pub mod linux_host;
pub mod linux_tx;

/// A datagram that a receiver delivers: NDP signature, offset and length in bytes.
pub type Delivered = ([u8; 4], usize, usize);

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}
