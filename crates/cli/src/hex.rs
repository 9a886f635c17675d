//! Hexadecimal text.

/// Returns the bytes that hexadecimal text stands for: pairs of digits, with any white space,
/// colons, commas, dashes or `0x` between them. Returns `None` for any other text.
pub fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for word in text
        .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b':' | b',' | b'-'))
        .filter(|word| !word.is_empty())
    {
        let word = word.strip_prefix(b"0x").unwrap_or(word);
        if word.len() % 2 != 0 {
            return None;
        }
        for pair in word.chunks_exact(2) {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            bytes.push((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
        }
    }
    Some(bytes)
}

/// Returns bytes as pairs of digits, sixteen bytes a line.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    let pairs = |line: &[u8]| {
        let pairs: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(" ")
    };
    bytes.chunks(16).map(pairs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_hexadecimal() {
        let expected = Some(vec![0x01, 0xab, 0xff]);
        for text in [
            "01abff",
            "01:AB:ff",
            "01 ab\nff\n",
            "0x01, 0xab, 0xff",
            "01-ab-ff",
        ] {
            assert_eq!(from_hex(text.as_bytes()), expected, "{text}");
        }
        for text in ["0", "0g", "hello", "01 a"] {
            assert_eq!(from_hex(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn lines_read_back() {
        let bytes: Vec<u8> = (0..40).collect();
        let lines = lines(&bytes);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "20 21 22 23 24 25 26 27");
        assert_eq!(from_hex(lines.join("\n").as_bytes()), Some(bytes));
    }
}
