//! CRC-32 of Ethernet frames (IEEE 802.3), as NCM 1.0 section 3.3 puts it behind datagrams.

/// The table has one step per byte. A faster one would be larger, and CRC mode is rare: only
/// gadgets offer it.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    /// The expected value is the check value of CRC-32/ISO-HDLC in the catalogue of parametrised
    /// CRC algorithms.
    #[test]
    fn the_catalogues_check_value() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b""), 0);
    }
}
