//! Declarative layouts of information buffers: one statement of a layout serves reading, writing
//! and printing.
//!
//! A layout is written once, with the `layout!` macro. From it come a plain Rust
//! struct and a static [`Schema`]; the schema drives the one reader ([`Reader`]) and the one writer
//! ([`write()`]) of this crate, so typed structs, generic printing, JSON, `key=value` input and the
//! emulator all share the same offset arithmetic.
//!
//! The rules of the wire follow MBIM 1.0 section 10.3 and what libmbim, oFono and devices do: the
//! fixed part comes first, variable data after it; offsets count in bytes from the start of the
//! structure they stand in; every piece of variable data is padded to four bytes and its size
//! excludes the padding; empty data is offset 0, size 0. Numbers are little-endian.

mod layout;
mod named;
mod read;
mod schema;
mod value;
mod wire;
mod write;

pub(crate) use layout::{encoding, kind, layout};
pub(crate) use named::{bits, values, wire_number};
pub use read::{Encoding, FieldError, PersonalPart, Reader};
pub use schema::{Condition, Field, Kind, Schema};
pub use value::{Record, SetError, Tlv, TlvType, Value};
pub use wire::{DecodeError, Layout, List, Wire, WireKind};
pub use write::write;
