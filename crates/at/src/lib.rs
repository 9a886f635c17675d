//! AT dialogue.
