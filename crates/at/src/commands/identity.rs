//! Identity of the modem: maker, model, firmware and serial numbers.

use super::{AnswerError, MOST_ITEMS, Personal, Query};
use crate::values::{Values, after};

/// Answer to `ATI`: the manufacturer, the model and the firmware of the modem.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Information {
    /// Manufacturer (`Manufacturer:`).
    pub manufacturer: Option<String>,
    /// Model (`Model:`).
    pub model: Option<String>,
    /// Version of the firmware (`Revision:`).
    pub revision: Option<String>,
    /// IMEI (`IMEI:`).
    pub imei: Option<Personal>,
    /// Capabilities (`+GCAP:`).
    pub capabilities: Vec<String>,
}

impl Query for Information {
    const COMMAND: &'static str = "ATI";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut found = Self::default();
        for (label, text) in lines.iter().filter_map(|line| line.split_once(':')) {
            let text = text.trim().to_owned();
            match label.trim() {
                "Manufacturer" => found.manufacturer = Some(text),
                "Model" => found.model = Some(text),
                "Revision" => found.revision = Some(text),
                "IMEI" => found.imei = Some(Personal(text)),
                "+GCAP" => {
                    found.capabilities = text
                        .split(',')
                        .take(MOST_ITEMS)
                        .map(|capability| capability.trim().to_owned())
                        .collect();
                }
                _ => {}
            }
        }
        if found == Self::default() {
            return Err(AnswerError::Missing("Model"));
        }
        Ok(found)
    }
}

/// Returns the only line of an answer, without the command's name where the modem puts it in front.
fn bare<'a>(lines: &'a [String], name: &'static str) -> Result<&'a str, AnswerError> {
    let line = lines.first().ok_or(AnswerError::Missing(name))?;
    let text = crate::values::after(line, name).unwrap_or(line).trim();
    let text = text.trim_matches('"');
    if text.is_empty() {
        return Err(AnswerError::Unreadable(name));
    }
    Ok(text)
}

/// Reads a serial number, which has digits only.
fn digits(lines: &[String], name: &'static str) -> Result<Personal, AnswerError> {
    let text = bare(lines, name)?;
    if text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AnswerError::Unreadable(name));
    }
    Ok(Personal(text.to_owned()))
}

macro_rules! one_line {
    ($($(#[$doc:meta])* $name:ident($inner:ty) = $command:literal, $prefix:literal, $read:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl Query for $name {
            const COMMAND: &'static str = $command;

            fn parse(lines: &[String]) -> Result<Self, AnswerError> {
                $read(lines, $prefix).map(|text| Self(text.into()))
            }
        }
    )+};
}

one_line! {
    /// Answer to `AT+CGMI`: the manufacturer.
    Manufacturer(String) = "AT+CGMI", "+CGMI", bare;
    /// Answer to `AT+CGMM`: the model.
    Model(String) = "AT+CGMM", "+CGMM", bare;
    /// Answer to `AT+CGMR`: the version of the firmware.
    Revision(String) = "AT+CGMR", "+CGMR", bare;
    /// Answer to `AT+CGSN`: the IMEI.
    Serial(Personal) = "AT+CGSN", "+CGSN", digits;
    /// Answer to `AT+CIMI`: the IMSI of the SIM.
    Subscriber(Personal) = "AT+CIMI", "+CIMI", digits;
}

/// Country codes whose network codes have three digits by custom (ITU-T E.212): North America, most of
/// the Caribbean and a few other countries.
const THREE_DIGITS: [u16; 25] = [
    302, 310, 311, 312, 313, 314, 315, 316, 334, 338, 342, 344, 346, 348, 352, 354, 356, 358, 360,
    365, 366, 376, 708, 722, 732,
];

impl Subscriber {
    /// Returns the number of digits that network codes have in the operator's country by custom.
    #[must_use]
    pub fn usual_digits(&self) -> u8 {
        let country = self.0.reveal().get(..3).and_then(|code| code.parse().ok());
        match country.is_some_and(|country| THREE_DIGITS.contains(&country)) {
            true => 3,
            false => 2,
        }
    }

    /// Returns the operator's country code and the two forms its network code may have, of two and
    /// of three digits; which one holds, only the SIM knows. An IMSI that starts with 242016 gives
    /// `("242", "01", "016")`.
    #[must_use]
    pub fn operator(&self) -> Option<(&str, &str, &str)> {
        let imsi = self.0.reveal();
        Some((imsi.get(..3)?, imsi.get(3..5)?, imsi.get(3..6)?))
    }
}

/// Answer to `AT+CRSM` with READ BINARY (176) for the four bytes of the SIM's file EF-AD (28589,
/// 0x6FAD): the number of digits of its operator's network code, 2 or 3 (3GPP TS 27.007, 8.18; TS
/// 31.102, 4.2.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkDigits(pub u8);

impl Query for NetworkDigits {
    const COMMAND: &'static str = "AT+CRSM=176,28589,0,0,4";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let line = lines.iter().find_map(|line| after(line, "+CRSM"));
        let mut values = Values::new(line.ok_or(AnswerError::Missing("+CRSM"))?);
        let mut digits = || {
            // The card answers with status 90 00 or 91 xx when it has read the file (ETSI TS 102
            // 221, 10.2.1).
            values
                .number::<u8>()
                .filter(|first| matches!(first, 0x90 | 0x91))?;
            let content = values.nth(1)?.text();
            let byte = u8::from_str_radix(content.get(6..8)?, 16).ok()? & 0x0f;
            matches!(byte, 2 | 3).then_some(byte)
        };
        digits().map(Self).ok_or(AnswerError::Unreadable("+CRSM"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    #[test]
    fn the_me906s() {
        let information: Information = parse(
            "Manufacturer: Huawei Technologies Co., Ltd.\n\
             Model: ME906s-158\n\
             Revision: 11.617.00.00.00\n\
             IMEI: 860000000000000\n\
             +GCAP: +CGSM,+DS,+ES\n\nOK",
        );
        assert_eq!(
            information.manufacturer.as_deref(),
            Some("Huawei Technologies Co., Ltd.")
        );
        assert_eq!(information.model.as_deref(), Some("ME906s-158"));
        assert_eq!(information.revision.as_deref(), Some("11.617.00.00.00"));
        assert_eq!(information.capabilities, ["+CGSM", "+DS", "+ES"]);
        assert!(!format!("{information:?}").contains("86000"));
        refuses::<Information>("hello");
    }

    #[test]
    fn bare_lines_and_named_ones() {
        assert_eq!(parse::<Model>("ME906s-158\nOK").0, "ME906s-158");
        assert_eq!(
            parse::<Revision>("+CGMR: 11.617.13.00.00").0,
            "11.617.13.00.00"
        );
        assert_eq!(parse::<Manufacturer>("\"HP\"").0, "HP");
        assert_eq!(
            parse::<Serial>("864172044791624\nOK").0.reveal(),
            "864172044791624"
        );
        refuses::<Serial>("ERR 5");
        refuses::<Model>("");
    }

    #[test]
    fn the_operator_of_a_sim() {
        let subscriber: Subscriber = parse("242016000000001");
        assert_eq!(subscriber.operator(), Some(("242", "01", "016")));
        let short: Subscriber = parse("24201");
        assert_eq!(short.operator(), None);
    }

    /// The answers have the form of 3GPP TS 27.007, 8.18.
    #[test]
    fn ef_ad_tells_the_length_of_the_network_code() {
        for (line, digits) in [
            ("+CRSM: 144,0,\"00000002\"", 2),
            ("+CRSM: 144,0,\"00000003\"", 3),
            ("+CRSM: 144,0,00000003", 3),
        ] {
            assert_eq!(parse::<NetworkDigits>(&format!("{line}\nOK")).0, digits);
        }
        for odd in [
            "+CRSM: 144,0,\"000000\"",
            "+CRSM: 106,130",
            "+CRSM: 144,0,\"000000FF\"",
            "+CRSM: 106,130,\"00000002\"",
            "+CRSM:",
            "OK",
        ] {
            refuses::<NetworkDigits>(odd);
        }
        let usual = |imsi: &str| parse::<Subscriber>(imsi).usual_digits();
        assert_eq!(usual("242016000000001\nOK"), 2);
        assert_eq!(usual("310260000000001\nOK"), 3);
    }
}
