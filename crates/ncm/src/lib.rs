//! NCM transfer blocks.
