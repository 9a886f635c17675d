//! The flag by which a completion callback hands a transfer back to its owner.

use std::sync::atomic::{AtomicI32, Ordering};

/// Value of the flag while the transfer is in flight.
const IN_FLIGHT: i32 = 0;
/// Value of the flag when the transfer has ended. libusb takes every value but 0 for an end.
const DONE: i32 = 1;
/// Value of the flag while the transfer is in flight and a thread sleeps until it ends. libusb
/// would take it for an end, so the flag has this value only while a thread sleeps outside of
/// libusb.
const AWAITED: i32 = 2;

/// Flag that says whether a transfer has ended, and whether a thread sleeps until it does.
///
/// All operations are sequentially consistent. One exchange ends the transfer and tells whether to
/// wake a thread, so transfers that stream through a pump wake nobody.
#[derive(Debug)]
pub(in crate::libusb) struct DoneFlag(AtomicI32);

impl DoneFlag {
    /// Makes the flag of a transfer that has not ended.
    pub(super) fn new() -> Self {
        Self(AtomicI32::new(IN_FLIGHT))
    }

    /// Returns whether the transfer has ended since it was submitted.
    pub(in crate::libusb) fn is_done(&self) -> bool {
        self.0.load(Ordering::SeqCst) == DONE
    }

    /// Notes that a thread is about to sleep until the transfer ends. Returns `false` when it has
    /// ended, or when another thread sleeps for it.
    pub(in crate::libusb) fn begin_sleep(&self) -> bool {
        self.exchange(IN_FLIGHT, AWAITED)
    }

    /// Returns whether the transfer is still in flight after [`DoneFlag::begin_sleep`].
    pub(in crate::libusb) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::SeqCst) == AWAITED
    }

    /// Notes that the thread of [`DoneFlag::begin_sleep`] no longer sleeps.
    pub(in crate::libusb) fn end_sleep(&self) {
        self.exchange(AWAITED, IN_FLIGHT);
    }

    /// Notes that the transfer is about to be submitted.
    pub(super) fn submit(&self) {
        self.0.store(IN_FLIGHT, Ordering::SeqCst);
    }

    /// Ends the transfer. Returns whether a thread sleeps until it does.
    ///
    /// # Safety
    /// Neither libusb nor the kernel uses the transfer or its memory any more, and the caller does
    /// not use the flag after this: its owner may free it.
    pub(super) unsafe fn finish(&self) -> bool {
        self.0.swap(DONE, Ordering::SeqCst) == AWAITED
    }

    /// Returns where libusb reads whether the transfer has ended.
    pub(super) fn as_ptr(&self) -> *mut i32 {
        self.0.as_ptr()
    }

    fn exchange(&self, from: i32, to: i32) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_known_to_whoever_ends_the_transfer() {
        let flag = DoneFlag::new();
        assert!(!flag.is_done() && !flag.is_awaited());
        assert!(flag.begin_sleep() && flag.is_awaited() && !flag.is_done());
        assert!(!flag.begin_sleep(), "one thread sleeps for a transfer");
        // SAFETY: there is no transfer.
        assert!(unsafe { flag.finish() });
        flag.end_sleep();
        assert!(flag.is_done() && !flag.begin_sleep());
        flag.submit();
        assert!(!flag.is_done());
        // SAFETY: as above.
        assert!(!unsafe { flag.finish() });
    }

    /// The compiler could not infer which implementation `_` stands for if safe code could call the
    /// function that ends a transfer, so this would not compile then. The number itself is private
    /// to the flag.
    #[test]
    fn safe_code_cannot_end_a_transfer() {
        trait Told<A> {
            fn told(&self) {}
        }
        struct Safe;
        impl<T> Told<()> for T {}
        impl<T: Fn(&DoneFlag) -> bool> Told<Safe> for T {}
        Told::<_>::told(&DoneFlag::finish);
        Told::<Safe>::told(&DoneFlag::is_done);
    }
}
