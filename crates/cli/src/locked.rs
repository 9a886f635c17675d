//! Memory for a secret that has to stay: it is overwritten at the end, and never written to swap.
#![allow(unsafe_code)]

use zeroize::Zeroizing;

/// A text in memory that is locked.
pub struct Locked(Zeroizing<String>);

impl Locked {
    /// Locks the memory of a text. Where the system does not allow that (`RLIMIT_MEMLOCK`), the text may be
    /// written to swap, which a warning says.
    pub fn new(text: Zeroizing<String>) -> Self {
        // SAFETY: mlock(2) changes nothing of the memory's content, and the range is that of the text. The
        // page stays locked when the text is gone, which costs this process a page.
        let locked = unsafe { rustix::mm::mlock(text.as_ptr().cast_mut().cast(), text.len()) };
        if let Err(error) = locked {
            tracing::warn!(%error, "a secret that cannot be read again may be written to swap");
        }
        Self(text)
    }

    /// Returns a copy of the text.
    pub fn text(&self) -> Zeroizing<String> {
        self.0.clone()
    }
}
