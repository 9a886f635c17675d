//! Any control message as a tree: complete, cut short or broken, as far as it goes, with what is
//! wrong and where. For people ([`Decoded::text`]) and as JSON ([`Decoded::json`]).

mod message;
mod stream;

pub use message::*;
pub use stream::decode_all;
