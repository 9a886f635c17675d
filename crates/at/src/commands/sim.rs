//! The SIM and its PIN.

use super::{AnswerError, Personal, Query, first};

/// Code or state that the SIM waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinState {
    /// The SIM waits for nothing: it is ready.
    Ready,
    /// The SIM waits for the PIN (`SIM PIN`).
    Pin,
    /// The SIM waits for the PUK (`SIM PUK`).
    Puk,
    /// The SIM waits for the PIN2 (`SIM PIN2`).
    Pin2,
    /// The SIM waits for the PUK2 (`SIM PUK2`).
    Puk2,
    /// The SIM or the modem waits for another code, as the modem calls it: `PH-NET PIN` and the like.
    Other(String),
}

impl PinState {
    fn new(text: &str) -> Self {
        match text {
            "READY" => Self::Ready,
            "SIM PIN" => Self::Pin,
            "SIM PUK" => Self::Puk,
            "SIM PIN2" => Self::Pin2,
            "SIM PUK2" => Self::Puk2,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Answer to `AT+CPIN?`: what the SIM waits for (3GPP TS 27.007, 8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin(pub PinState);

impl Query for Pin {
    const COMMAND: &'static str = "AT+CPIN?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        match first(lines, "+CPIN")?.text() {
            "" => Err(AnswerError::Unreadable("+CPIN")),
            state => Ok(Self(PinState::new(state))),
        }
    }
}

/// Answer to `AT^CPIN?`: what the SIM waits for, with the attempts remaining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinAttempts {
    /// Code or state that the SIM waits for.
    pub state: PinState,
    /// PUK attempts remaining.
    pub puk: Option<u8>,
    /// PIN attempts remaining.
    pub pin: Option<u8>,
    /// PUK2 attempts remaining.
    pub puk2: Option<u8>,
    /// PIN2 attempts remaining.
    pub pin2: Option<u8>,
}

impl Query for PinAttempts {
    const COMMAND: &'static str = "AT^CPIN?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut values = first(lines, "^CPIN")?;
        let state = values.text();
        if state.is_empty() {
            return Err(AnswerError::Unreadable("^CPIN"));
        }
        // The first number is the attempts remaining of the code that the state asks for, which
        // comes again below.
        let _ = values.next();
        Ok(Self {
            state: PinState::new(state),
            puk: values.number(),
            pin: values.number(),
            puk2: values.number(),
            pin2: values.number(),
        })
    }
}

/// Answer to `AT^ICCID?`: the number of the SIM card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNumber(pub Personal);

impl Query for CardNumber {
    const COMMAND: &'static str = "AT^ICCID?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let number = first(lines, "^ICCID")?.text();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(AnswerError::Unreadable("^ICCID"));
        }
        Ok(Self(Personal::new(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    #[test]
    fn states() {
        assert_eq!(parse::<Pin>("+CPIN: READY\nOK").0, PinState::Ready);
        assert_eq!(parse::<Pin>("+CPIN: SIM PUK").0, PinState::Puk);
        assert_eq!(
            parse::<Pin>("+CPIN: PH-NET PIN").0,
            PinState::Other("PH-NET PIN".to_owned())
        );
        refuses::<Pin>("+CPIN:");
    }

    #[test]
    fn attempts() {
        let attempts: PinAttempts = parse("^CPIN: READY,,10,3,10,3\nOK");
        assert_eq!(attempts.state, PinState::Ready);
        assert_eq!((attempts.puk, attempts.pin), (Some(10), Some(3)));
        assert_eq!((attempts.puk2, attempts.pin2), (Some(10), Some(3)));
        let attempts: PinAttempts = parse("^CPIN: SIM PIN");
        assert_eq!((attempts.state, attempts.pin), (PinState::Pin, None));
    }

    #[test]
    fn card_numbers() {
        assert_eq!(
            parse::<CardNumber>("^ICCID: 89310000000000000000")
                .0
                .reveal(),
            "89310000000000000000"
        );
        refuses::<CardNumber>("^ICCID: none");
    }
}
