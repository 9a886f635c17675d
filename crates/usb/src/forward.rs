//! Methods of a [`Device`](crate::device::Device), a [`Queue`](crate::device::Queue) or an
//! [`Access`](crate::access::Access) that wraps another one.

/// Writes the named methods so that each calls the same method of the field `inner`. The methods of
/// an [`Access`](crate::access::Access) stand behind `Access:`, because some have the names of a
/// device's.
///
/// ```
/// use std::time::Duration;
/// use uwwan_usb::buffer::Buffer;
/// use uwwan_usb::device::{Completion, Queue, Rejected};
///
/// struct Counting {
///     inner: Box<dyn Queue>,
///     submitted: usize,
/// }
///
/// impl Queue for Counting {
///     uwwan_usb::forward!(endpoint max_packet_size allocate set_zero_packet pending);
///     uwwan_usb::forward!(try_next next cancel_all);
///
///     fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
///         self.submitted += 1;
///         self.inner.submit(buffer)
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward {
    (@ $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty) => {
        fn $name(&self $(, $argument: $type)*) -> $result {
            self.inner.$name($($argument),*)
        }
    };
    (@ $name:ident(&mut self $(, $argument:ident: $type:ty)*) -> $result:ty) => {
        fn $name(&mut self $(, $argument: $type)*) -> $result {
            self.inner.$name($($argument),*)
        }
    };
    // These are the methods of a device.
    (@ identity) => { $crate::forward!(@ identity(&self) -> &$crate::device::Identity); };
    (@ descriptors) => { $crate::forward!(@ descriptors(&self) -> &$crate::descriptors::Descriptors); };
    (@ active_configuration) => { $crate::forward!(@ active_configuration(&self) -> Result<u8, $crate::error::Error>); };
    (@ set_configuration) => { $crate::forward!(@ set_configuration(&self, value: u8) -> Result<(), $crate::error::Error>); };
    (@ force_configuration) => { $crate::forward!(@ force_configuration(&self, value: u8) -> Result<(), $crate::error::Error>); };
    (@ guard_port) => { $crate::forward!(@ guard_port(&self) -> Result<$crate::device::PortGuard, $crate::error::Error>); };
    (@ holder) => { $crate::forward!(@ holder(&self, interface: u8) -> Result<Option<$crate::error::Holder>, $crate::error::Error>); };
    (@ detach_kernel_driver) => { $crate::forward!(@ detach_kernel_driver(&self, interface: u8) -> Result<(), $crate::error::Error>); };
    (@ attach_kernel_driver) => { $crate::forward!(@ attach_kernel_driver(&self, interface: u8) -> Result<(), $crate::error::Error>); };
    (@ claim) => { $crate::forward!(@ claim(&self, interface: u8) -> Result<(), $crate::error::Error>); };
    (@ release) => { $crate::forward!(@ release(&self, interface: u8) -> Result<(), $crate::error::Error>); };
    (@ set_alternate_setting) => { $crate::forward!(@ set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), $crate::error::Error>); };
    (@ control_in) => { $crate::forward!(@ control_in(&self, setup: $crate::device::Setup, data: &mut [u8], timeout: ::std::time::Duration) -> Result<usize, $crate::error::Error>); };
    (@ control_out) => { $crate::forward!(@ control_out(&self, setup: $crate::device::Setup, data: &[u8], timeout: ::std::time::Duration) -> Result<(), $crate::error::Error>); };
    (@ clear_halt) => { $crate::forward!(@ clear_halt(&self, endpoint: u8) -> Result<(), $crate::error::Error>); };
    (@ reset) => { $crate::forward!(@ reset(&self) -> Result<(), $crate::error::Error>); };
    (@ pump) => { $crate::forward!(@ pump(&self) -> Result<Box<dyn $crate::device::Pump>, $crate::error::Error>); };
    // These are the methods of a queue.
    (@ endpoint) => { $crate::forward!(@ endpoint(&self) -> u8); };
    (@ max_packet_size) => { $crate::forward!(@ max_packet_size(&self) -> u16); };
    (@ allocate) => { $crate::forward!(@ allocate(&mut self, capacity: usize) -> $crate::buffer::Buffer); };
    (@ set_zero_packet) => { $crate::forward!(@ set_zero_packet(&mut self, enabled: bool) -> ()); };
    (@ pending) => { $crate::forward!(@ pending(&self) -> usize); };
    (@ try_next) => { $crate::forward!(@ try_next(&mut self) -> Option<$crate::device::Completion>); };
    (@ next) => { $crate::forward!(@ next(&mut self, timeout: ::std::time::Duration) -> Option<$crate::device::Completion>); };
    (@ interrupter) => { $crate::forward!(@ interrupter(&self) -> Option<$crate::device::Interrupter>); };
    (@ cancel_all) => { $crate::forward!(@ cancel_all(&mut self) -> ()); };
    // These are the methods of an access.
    (@access is_local) => { $crate::forward!(@ is_local(&self) -> bool); };
    (@access guard_port) => { $crate::forward!(@ guard_port(&self, port: &str) -> ::std::io::Result<$crate::device::PortGuard>); };
    (@access force_configuration) => { $crate::forward!(@ force_configuration(&self, port: &str, value: u8) -> ::std::io::Result<()>); };
    (@access holder) => { $crate::forward!(@ holder(&self, bus: u8, address: u8) -> $crate::error::Holder); };
    (Access: $($name:ident)+) => { $($crate::forward!(@access $name);)+ };
    ($($name:ident)+) => { $($crate::forward!(@ $name);)+ };
}
