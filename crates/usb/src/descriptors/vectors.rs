//! The descriptors of a real lt4132 (03f0:a31d), as Linux shows them in sysfs.

/// The device descriptor followed by the three configurations.
const LT4132: &[u8; 744] =
    include_bytes!("../../tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");

/// The device descriptor.
pub(crate) const DEVICE: [u8; 18] = piece(0);

/// Configuration 1, with vendor-specific functions only.
pub(crate) const CONFIGURATION_1: [u8; 301] = piece(18);

/// Configuration 2, with ECM and serial functions; Linux selects it.
pub(crate) const CONFIGURATION_2: [u8; 288] = piece(18 + 301);

/// Configuration 3, with MBIM and one serial function.
pub(crate) const CONFIGURATION_3: [u8; 137] = piece(18 + 301 + 288);

/// Returns the `N` bytes from `offset` on.
const fn piece<const N: usize>(offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = LT4132[offset + at];
        at += 1;
    }
    bytes
}

/// Returns the device descriptor and all configurations, as sysfs shows them.
pub(crate) fn sysfs() -> Vec<u8> {
    LT4132.to_vec()
}

/// Returns the device descriptor and all configurations, parsed.
pub(crate) fn lt4132() -> super::Descriptors {
    super::Descriptors::parse(
        &DEVICE,
        &[&CONFIGURATION_1[..], &CONFIGURATION_2, &CONFIGURATION_3],
    )
}
