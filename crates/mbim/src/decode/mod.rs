//! Decoding of control messages into trees. A message that is cut short or broken is decoded as far
//! as possible, and its problems are listed with their offsets. A tree is written for people by
//! [`Decoded::text`], and as JSON by [`Decoded::json`].

mod message;
mod personal;
mod stream;
mod text;

pub use message::*;
pub use personal::{PersonalContent, identifying_content, is_credential, personal_content};
pub use stream::decode_all;
