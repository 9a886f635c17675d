//! The information buffer that many commands share: none.

use crate::fields::layout;

layout! {
    /// An information buffer without content.
    Empty {}
}
