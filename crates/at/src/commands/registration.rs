//! Registration: the state, the operator and the technology.

use super::{AnswerError, MOST_ITEMS, Query, first};
use crate::values::{Value, Values};

/// Registration state, in the order in which 3GPP TS 27.007, 7.2 numbers the states from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RegistrationState {
    NotSearching,
    Home,
    Searching,
    Denied,
    Unknown,
    Roaming,
    /// A number that 3GPP does not define.
    Other(u8),
}

impl RegistrationState {
    fn new(number: u8) -> Self {
        match number {
            0 => Self::NotSearching,
            1 => Self::Home,
            2 => Self::Searching,
            3 => Self::Denied,
            4 => Self::Unknown,
            5 => Self::Roaming,
            other => Self::Other(other),
        }
    }
}

/// Answer to `AT+CREG?`, `AT+CGREG?` and `AT+CEREG?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// Registration state.
    pub state: RegistrationState,
    /// Location or tracking area code, if given.
    pub area: Option<u32>,
    /// Cell identity, if given.
    pub cell: Option<u32>,
    /// Access technology, one of [`access_technology`](crate::codes::access_technology).
    pub technology: Option<u8>,
}

impl Registration {
    /// Reads what follows `+CREG:`. An answer has the number of the reporting mode in front, which
    /// the unsolicited form has not. Area and cell are hexadecimal, quoted or not, and may be
    /// missing.
    fn read(text: Values<'_>) -> Option<Self> {
        let values: Vec<Value<'_>> = text.take(8).collect();
        let is_state = |value: &Value<'_>| value.raw().len() <= 2 && value.number::<u8>().is_some();
        // Two plain numbers in front are the mode and the state; one alone is the state.
        let start = usize::from(values.len() > 1 && values.get(1).is_some_and(is_state));
        let mut rest = values.get(start..)?.iter();
        let hex = |value: Option<&Value<'_>>| u32::try_from(value?.hex()?).ok();
        Some(Self {
            state: RegistrationState::new(rest.next()?.number()?),
            area: hex(rest.next()),
            cell: hex(rest.next()),
            technology: rest.next().and_then(|value| value.number()),
        })
    }
}

macro_rules! registration {
    ($($(#[$doc:meta])* $name:ident = $command:literal, $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub Registration);

        impl Query for $name {
            const COMMAND: &'static str = $command;

            fn parse(lines: &[String]) -> Result<Self, AnswerError> {
                Registration::read(first(lines, $prefix)?)
                    .map(Self)
                    .ok_or(AnswerError::Unreadable($prefix))
            }
        }
    )+};
}

registration! {
    /// Answer to `AT+CREG?`: registration for calls.
    CircuitRegistration = "AT+CREG?", "+CREG";
    /// Answer to `AT+CGREG?`: registration for packet data in GSM and UMTS.
    PacketRegistration = "AT+CGREG?", "+CGREG";
    /// Answer to `AT+CEREG?`: registration in LTE.
    LteRegistration = "AT+CEREG?", "+CEREG";
}

/// Answer to `AT+COPS?`: the operator in use (3GPP TS 27.007, 7.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Mode in which the operator is chosen, one of [`operator_mode`](crate::codes::operator_mode).
    pub mode: u8,
    /// Form of the operator's name: 0 long name, 1 short name, 2 number.
    pub format: Option<u8>,
    /// Name or number of the operator; `None` without service.
    pub name: Option<String>,
    /// Access technology, one of [`access_technology`](crate::codes::access_technology).
    pub technology: Option<u8>,
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

impl Query for Operator {
    const COMMAND: &'static str = "AT+COPS?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut values = first(lines, "+COPS")?;
        Ok(Self {
            mode: values.number().ok_or(AnswerError::Unreadable("+COPS"))?,
            format: values.number(),
            name: text(values.text()),
            technology: values.number(),
        })
    }
}

/// An operator found by a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundOperator {
    /// State of the operator, one of [`operator_state`](crate::codes::operator_state).
    pub status: u8,
    /// Long name of the operator.
    pub long_name: Option<String>,
    /// Short name of the operator.
    pub short_name: Option<String>,
    /// Country and network code of the operator, in digits.
    pub number: String,
    /// Access technology, one of [`access_technology`](crate::codes::access_technology).
    pub technology: Option<u8>,
}

/// Answer to `AT+COPS=?`: the operators a scan found. The scan takes minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorScan(pub Vec<FoundOperator>);

impl Query for OperatorScan {
    const COMMAND: &'static str = "AT+COPS=?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        // Behind the operators, after an empty value, the supported modes and formats follow.
        let found = first(lines, "+COPS")?
            .take(MOST_ITEMS)
            .take_while(|value| !value.is_empty())
            .filter_map(|value| {
                let mut values = value.list();
                Some(FoundOperator {
                    status: values.number()?,
                    long_name: text(values.text()),
                    short_name: text(values.text()),
                    number: text(values.text())?,
                    technology: values.number(),
                })
            })
            .collect();
        Ok(Self(found))
    }
}

/// Answer to `AT^SYSINFOEX`: everything about the service at once, in the numbers of Huawei's AT
/// command specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemInformation {
    /// Service: 0 none, 1 restricted, 2 valid, 3 restricted to a region, 4 saving power.
    pub service: u8,
    /// Domain of the service: 0 none, 1 circuit, 2 packet, 3 both, 4 searching.
    pub domain: Option<u8>,
    /// Whether the modem is roaming.
    pub roaming: Option<bool>,
    /// State of the SIM: 0 invalid, 1 valid, 255 none.
    pub sim: Option<u8>,
    /// System mode: 0 none, 1 GSM, 3 WCDMA, 4 TD-SCDMA, 6 LTE.
    pub mode: Option<u8>,
    /// Name of [`SystemInformation::mode`] in the modem's words.
    pub mode_name: Option<String>,
    /// System submode: 1 GSM, 2 GPRS, 3 EDGE, 41 WCDMA, 45 HSPA, 46 HSPA+, 101 LTE, …
    pub submode: Option<u16>,
    /// Name of [`SystemInformation::submode`] in the modem's words.
    pub submode_name: Option<String>,
}

impl Query for SystemInformation {
    const COMMAND: &'static str = "AT^SYSINFOEX";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut values = first(lines, "^SYSINFOEX")?;
        let service = values.number();
        let domain = values.number();
        let roaming = values.number::<u8>().map(|roaming| roaming != 0);
        let sim = values.number();
        let _ = values.next(); // SIM lock
        Ok(Self {
            service: service.ok_or(AnswerError::Unreadable("^SYSINFOEX"))?,
            domain,
            roaming,
            sim,
            mode: values.number(),
            mode_name: text(values.text()),
            submode: values.number(),
            submode_name: text(values.text()),
        })
    }
}

/// Answer to `AT^SYSCFGEX?`: the technologies and bands the modem may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemConfiguration {
    /// Technologies by preference: `00` automatic, otherwise pairs of digits: 01 GSM, 02 UMTS,
    /// 03 LTE.
    pub order: String,
    /// GSM and UMTS bands, one bit for each, in Huawei's order.
    pub bands: u64,
    /// Roaming: 0 not allowed, 1 allowed, 2 unchanged.
    pub roaming: Option<u8>,
    /// Domain of the service: 0 circuit, 1 packet, 2 both.
    pub domain: Option<u8>,
    /// LTE bands, bit 0 for band 1.
    pub lte_bands: u64,
}

impl SystemConfiguration {
    /// Returns the numbers of the allowed LTE bands.
    pub fn lte_band_numbers(&self) -> impl Iterator<Item = u8> + '_ {
        (0..64_u8)
            .filter(|bit| self.lte_bands >> bit & 1 == 1)
            .map(|bit| bit + 1)
    }
}

impl Query for SystemConfiguration {
    const COMMAND: &'static str = "AT^SYSCFGEX?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let unreadable = AnswerError::Unreadable("^SYSCFGEX");
        let mut values = first(lines, "^SYSCFGEX")?;
        let order = text(values.text()).ok_or(unreadable.clone())?;
        let mut bands = || values.next().and_then(Value::hex).ok_or(unreadable.clone());
        let first_bands = bands()?;
        let roaming = values.number();
        let domain = values.number();
        let lte_bands = values.next().and_then(Value::hex).ok_or(unreadable)?;
        Ok(Self {
            order,
            bands: first_bands,
            roaming,
            domain,
            lte_bands,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    #[test]
    fn registration_with_and_without_place() {
        let plain: CircuitRegistration = parse("+CREG: 0,2\nOK");
        assert_eq!(plain.0.state, RegistrationState::Searching);
        assert_eq!(plain.0.area, None);
        let full: LteRegistration = parse("+CEREG: 2,1,\"1A2B\",\"01020304\",7");
        assert_eq!(full.0.state, RegistrationState::Home);
        assert_eq!(
            (full.0.area, full.0.cell),
            (Some(0x1a2b), Some(0x0102_0304))
        );
        assert_eq!(full.0.technology, Some(7));
        refuses::<PacketRegistration>("+CGREG: x");
        refuses::<PacketRegistration>("+CREG: 0,1");
    }

    #[test]
    fn operators() {
        let operator: Operator = parse("+COPS: 0,0,\"Telenor\",7\nOK");
        assert_eq!(operator.name.as_deref(), Some("Telenor"));
        assert_eq!((operator.mode, operator.technology), (0, Some(7)));
        assert_eq!(parse::<Operator>("+COPS: 0").name, None);
        refuses::<Operator>("+COPS:");
    }

    #[test]
    fn a_scan() {
        let scan: OperatorScan = parse(
            "+COPS: (3,\"CHN-UNICOM\",\"UNICOM\",\"46001\",0),\
             (3,\"CHINA MOBILE\",\"CMCC\",\"46000\",0),,(0,1,3),(0,1,2)",
        );
        assert_eq!(scan.0.len(), 2);
        assert_eq!(scan.0[0].number, "46001");
        assert_eq!(scan.0[1].long_name.as_deref(), Some("CHINA MOBILE"));
        assert_eq!(parse::<OperatorScan>("+COPS: ,,(0,1,3),(0,1,2)").0, []);
    }

    #[test]
    fn sysinfoex() {
        let information: SystemInformation = parse("^SYSINFOEX:2,3,0,1,,6,\"LTE\",101,\"LTE\"");
        assert_eq!(information.service, 2);
        assert_eq!(information.roaming, Some(false));
        assert_eq!(
            (information.mode, information.submode),
            (Some(6), Some(101))
        );
        assert_eq!(information.submode_name.as_deref(), Some("LTE"));
        refuses::<SystemInformation>("^SYSINFOEX:");
    }

    #[test]
    fn syscfgex() {
        let all: SystemConfiguration = parse("^SYSCFGEX: \"00\",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF");
        assert_eq!(all.order, "00");
        assert_eq!(
            (all.bands, all.roaming, all.domain),
            (0x3fff_ffff, Some(1), Some(2))
        );
        let few: SystemConfiguration = parse("^SYSCFGEX: \"03\",3fffffff,1,2,800c5");
        let bands: Vec<_> = few.lte_band_numbers().collect();
        // The modem's own list calls 800c5 LTE2100/LTE1800/LTE2600/LTE900/LTE800.
        assert_eq!(bands, [1, 3, 7, 8, 20]);
        refuses::<SystemConfiguration>("^SYSCFGEX: \"00\",xyz,1,2,1");
    }
}
