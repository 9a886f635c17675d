//! The MBIM control protocol (USB-IF MBIM 1.0, with Microsoft's extensions), without I/O.
//!
//! - [`message`] and [`fragment`]: control messages to and from bytes.
//! - [`services`]: typed structs for the information buffers of every known command, both
//!   directions; [`registry`] lists them as data.
//! - [`session`]: the host's side of a control session as a state machine, bytes and time in, bytes
//!   and events out.
//! - [`decode`]: any message, complete, partial or broken, as a tree for people and as JSON.
//! - [`qmi`]: messages of the QMI service.
//! - [`gsm`]: alphabets and PDUs of short messages and USSD.
//! - [`status`]: result codes and causes with explanations.
//!
//! Nothing here trusts its input: every offset, size and count is checked against the bytes present.

#![forbid(unsafe_code)]

pub mod decode;
pub mod fields;
pub mod fragment;
pub mod gsm;
pub mod message;
pub mod names;
pub mod print;
pub mod qmi;
pub mod registry;
mod service;
pub mod services;
pub mod session;
pub mod status;
pub mod uuid;

pub use fields::{DecodeError, Layout};
pub use message::{Body, CommandKind, Message, MessageType};
pub use status::{NwError, ProtocolError, Status};
pub use uuid::Uuid;
