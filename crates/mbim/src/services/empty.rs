//! Empty information buffer that many commands share.

use crate::fields::layout;

layout! {
    /// Information buffer without content.
    Empty {}
}
