//! Recognition of NMEA 0183 sentences, which share the channel with AT commands on GPS ports.

/// Returns whether `line` is an NMEA 0183 sentence: `$`, talker and type, a comma, and a checksum
/// that fits if there is one.
#[must_use]
pub(crate) fn is_sentence(line: &str) -> bool {
    let Some(body) = line.strip_prefix('$') else {
        return false;
    };
    let Some((tag, _)) = body.split_once(',') else {
        return false;
    };
    let tagged = (4..=8).contains(&tag.len())
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let sum = match body.rsplit_once('*') {
        None => true,
        Some((summed, sum)) => {
            let expected = summed.bytes().fold(0, |sum, byte| sum ^ byte);
            u8::from_str_radix(sum, 16) == Ok(expected)
        }
    };
    tagged && sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_and_others() {
        // The sentence comes from the NMEA 0183 article of Wikipedia.
        assert!(is_sentence(
            "$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76"
        ));
        assert!(is_sentence("$GPGSV,1,1,00"));
        assert!(!is_sentence(
            "$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*77"
        ));
        for line in ["$QCRMCALL: 1", "$", "$GP", "+CSQ: 1,2", "", "$gpgga,1*00"] {
            assert!(!is_sentence(line), "{line}");
        }
    }
}
