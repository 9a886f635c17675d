//! Signal quality, the cell and the band it is measured on, and temperatures.

use super::{AnswerError, MOST_ITEMS, Query, all, first};

/// Answer to `AT+CSQ` (3GPP TS 27.007, 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalQuality {
    /// Signal strength, 0 to 31 in steps of 2 dBm from -113; 99 for unknown.
    pub rssi: u8,
    /// Bit error rate class 0 to 7; 99 for unknown.
    pub error_rate: u8,
}

impl SignalQuality {
    /// Returns the received signal strength in dBm; `None` when it is unknown.
    #[must_use]
    pub fn dbm(&self) -> Option<i16> {
        (self.rssi <= 31).then(|| i16::from(self.rssi) * 2 - 113)
    }
}

impl Query for SignalQuality {
    const COMMAND: &'static str = "AT+CSQ";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut values = first(lines, "+CSQ")?;
        match (values.number(), values.number()) {
            (Some(rssi), Some(error_rate)) => Ok(Self { rssi, error_rate }),
            _ => Err(AnswerError::Unreadable("+CSQ")),
        }
    }
}

/// Answer to `AT^HCSQ?`: signal by radio technology, in dBm and dB, converted with the tables for
/// this family of modems. What the modem does not know is `None`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the quantities are named as in the 3GPP specifications
pub enum Signal {
    NoService,
    /// Signal in GSM; `rssi` is in dBm.
    Gsm {
        rssi: Option<f32>,
    },
    /// Signal in WCDMA and `TD-SCDMA`; `rssi` and `rscp` are in dBm, `ecio` in dB.
    Wcdma {
        rssi: Option<f32>,
        rscp: Option<f32>,
        ecio: Option<f32>,
    },
    /// Signal in LTE; `rssi` and `rsrp` are in dBm, `sinr` and `rsrq` in dB.
    Lte {
        rssi: Option<f32>,
        rsrp: Option<f32>,
        sinr: Option<f32>,
        rsrq: Option<f32>,
    },
}

/// Returns `base + value × step`; a value of 255, or none, is unknown.
fn scaled(value: Option<u8>, base: f32, step: f32) -> Option<f32> {
    value
        .filter(|value| *value != 255)
        .map(|value| base + f32::from(value) * step)
}

impl Query for Signal {
    const COMMAND: &'static str = "AT^HCSQ?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut values = first(lines, "^HCSQ")?;
        let technology = values.text();
        let mut next = |base, step| scaled(values.number(), base, step);
        match technology {
            "NOSERVICE" => Ok(Self::NoService),
            "GSM" => Ok(Self::Gsm {
                rssi: next(-121.0, 1.0),
            }),
            "WCDMA" | "TD-SCDMA" => Ok(Self::Wcdma {
                rssi: next(-121.0, 1.0),
                rscp: next(-121.0, 1.0),
                ecio: next(-32.5, 0.5),
            }),
            "LTE" => Ok(Self::Lte {
                rssi: next(-121.0, 1.0),
                rsrp: next(-141.0, 1.0),
                sinr: next(-20.2, 0.2),
                rsrq: next(-20.0, 0.5),
            }),
            _ => Err(AnswerError::Unreadable("^HCSQ")),
        }
    }
}

/// Answer to `AT^CHIPTEMP?`: the temperature of each sensor of the modem in degrees Celsius; `None`
/// for a sensor without a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Temperatures(pub Vec<Option<f32>>);

impl Query for Temperatures {
    const COMMAND: &'static str = "AT^CHIPTEMP?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let read = first(lines, "^CHIPTEMP")?
            .take(MOST_ITEMS)
            .map(|value| match value.number::<i32>() {
                None | Some(65535) => None,
                // Some sensors count in tenths of a degree.
                Some(value) if value.abs() > 100 => Some(value as f32 / 10.0),
                Some(value) => Some(value as f32),
            })
            .collect::<Vec<_>>();
        if read.is_empty() {
            return Err(AnswerError::Unreadable("^CHIPTEMP"));
        }
        Ok(Self(read))
    }
}

/// A carrier that the modem uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// System mode in Huawei's numbers: 6 for LTE.
    pub mode: u8,
    /// Number of the band.
    pub band: u16,
    /// Downlink channel number (EARFCN).
    pub downlink_channel: u32,
    /// Downlink frequency in the modem's unit, 100 kHz.
    pub downlink_frequency: u32,
    /// Downlink bandwidth in kHz.
    pub downlink_bandwidth: u32,
    /// Uplink channel number (EARFCN).
    pub uplink_channel: u32,
    /// Uplink frequency in the modem's unit, 100 kHz.
    pub uplink_frequency: u32,
    /// Uplink bandwidth in kHz.
    pub uplink_bandwidth: u32,
}

/// Answer to `AT^HFREQINFO?`: the carriers in use, more than one with carrier aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carriers(pub Vec<Carrier>);

impl Query for Carriers {
    const COMMAND: &'static str = "AT^HFREQINFO?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut carriers = Vec::new();
        let mut seen = false;
        for mut values in all(lines, "^HFREQINFO").take(MOST_ITEMS) {
            seen = true;
            // The first value is whether the modem reports changes by itself.
            let _ = values.next();
            let Some(mode) = values.number() else {
                continue;
            };
            while let Some(band) = values.number() {
                let mut next = || values.number();
                let all = (next(), next(), next(), next(), next(), next());
                let (Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)) = all else {
                    return Err(AnswerError::Unreadable("^HFREQINFO"));
                };
                carriers.push(Carrier {
                    mode,
                    band,
                    downlink_channel: a,
                    downlink_frequency: b,
                    downlink_bandwidth: c,
                    uplink_channel: d,
                    uplink_frequency: e,
                    uplink_bandwidth: f,
                });
            }
        }
        if !seen {
            return Err(AnswerError::Missing("^HFREQINFO"));
        }
        Ok(Self(carriers))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    fn near(value: Option<f32>, expected: f32) {
        assert!((value.unwrap() - expected).abs() < 0.01, "{value:?}");
    }

    #[test]
    fn csq() {
        assert_eq!(parse::<SignalQuality>("+CSQ: 21,99\nOK").dbm(), Some(-71));
        assert_eq!(parse::<SignalQuality>("+CSQ: 99,99\nOK").dbm(), None);
        refuses::<SignalQuality>("+CSQ: x,99");
        refuses::<SignalQuality>("+CSQ: 300,99");
    }

    #[test]
    fn hcsq_in_every_technology() {
        let Signal::Lte {
            rssi,
            rsrp,
            sinr,
            rsrq,
        } = parse("^HCSQ: \"LTE\",35,29,21,26")
        else {
            panic!()
        };
        near(rssi, -86.0);
        near(rsrp, -112.0);
        near(sinr, -16.0);
        near(rsrq, -7.0);
        let Signal::Wcdma { rssi, rscp, ecio } = parse("^HCSQ: \"WCDMA\",30,30,58") else {
            panic!()
        };
        near(rssi, -91.0);
        near(rscp, -91.0);
        near(ecio, -3.5);
        assert_eq!(
            parse::<Signal>("^HCSQ: \"GSM\",36,255"),
            Signal::Gsm { rssi: Some(-85.0) }
        );
        assert_eq!(parse::<Signal>("^HCSQ: \"NOSERVICE\""), Signal::NoService);
        let Signal::Lte { rsrq, rsrp, .. } = parse("^HCSQ:\"LTE\",30,255,66") else {
            panic!()
        };
        assert_eq!((rsrp, rsrq), (None, None));
        refuses::<Signal>("^HCSQ: \"5G\",1");
    }

    #[test]
    fn temperatures_in_degrees_and_tenths() {
        assert_eq!(
            parse::<Temperatures>("^CHIPTEMP: 304,304,65535,27,65535\nOK").0,
            [Some(30.4), Some(30.4), None, Some(27.0), None]
        );
        refuses::<Temperatures>("^CHIPTEMP:");
    }

    #[test]
    fn carriers() {
        let carriers: Carriers = parse(
            "^HFREQINFO: 0,6,3,1300,18150,20000,19300,17200,20000,7,3100,26550,10000,21100,25350,10000",
        );
        assert_eq!(carriers.0.len(), 2);
        assert_eq!(
            (carriers.0[0].band, carriers.0[0].downlink_channel),
            (3, 1300)
        );
        assert_eq!(carriers.0[1].uplink_bandwidth, 10000);
        assert_eq!(parse::<Carriers>("^HFREQINFO: 0").0, []);
        refuses::<Carriers>("^HFREQINFO: 0,6,3,1300");
    }
}
