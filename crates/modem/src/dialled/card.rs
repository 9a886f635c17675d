//! Identity, SIM, PIN and radio.

use uwwan_at::commands::identity::{
    Information, Manufacturer, Model, Revision, Serial, Subscriber,
};
use uwwan_at::commands::sim::{CardNumber, Pin, PinAttempts, PinState as AtPin};
use uwwan_at::values::{Values, after};
use uwwan_mbim::services::basic_connect::{
    CellularClass, CtrlCaps, DataClass, DeviceCaps, DeviceType, PinInfo, PinOperation, PinSet,
    PinState, PinType, RadioState, RadioStateSet, RadioSwitchState, SimClass, SmsCaps,
    SubscriberReadyState, SubscriberReadyStatus, VoiceClass,
};
use uwwan_mbim::status::Status;
use zeroize::Zeroizing;

use super::function::{Function, Refused};
use crate::pin_memory::UNKNOWN_ATTEMPTS;

impl Function {
    pub(super) fn capabilities(&mut self) -> Result<Vec<u8>, Refused> {
        let told = self.query::<Information>().unwrap_or_default();
        let firmware = match told.revision {
            Some(revision) => revision,
            None => self
                .query::<Revision>()
                .map_or_else(|_| String::new(), |one| one.0),
        };
        let model = match told.model {
            Some(model) => model,
            None => self
                .query::<Model>()
                .map_or_else(|_| String::new(), |one| one.0),
        };
        let imei = match told.imei {
            Some(imei) => imei.reveal().to_owned(),
            None => self
                .query::<Serial>()
                .map_or_else(|_| String::new(), |one| one.0.reveal().to_owned()),
        };
        if firmware.is_empty() && model.is_empty() && imei.is_empty() {
            // A device without any of these answers is still starting, or is no modem.
            self.query::<Manufacturer>()?;
        }
        Ok(DeviceCaps {
            device_type: DeviceType::EMBEDDED,
            cellular_class: CellularClass::GSM,
            voice_class: VoiceClass::NO_VOICE,
            sim_class: SimClass::REMOVABLE,
            data_class: DataClass::GPRS
                | DataClass::EDGE
                | DataClass::UMTS
                | DataClass::HSDPA
                | DataClass::HSUPA
                | DataClass::LTE,
            sms_caps: SmsCaps::PDU_RECEIVE | SmsCaps::PDU_SEND,
            control_caps: CtrlCaps::REG_MANUAL,
            max_sessions: 1,
            custom_data_class: String::new(),
            device_id: shortened(imei, 18),
            firmware_info: shortened(firmware, 30),
            hardware_info: shortened(model, 30),
        }
        .encode())
    }

    pub(super) fn subscriber(&mut self) -> Result<Vec<u8>, Refused> {
        let state = match self.query::<Pin>() {
            Ok(Pin(AtPin::Ready | AtPin::Pin2 | AtPin::Puk2)) => SubscriberReadyState::INITIALIZED,
            Ok(Pin(_)) => SubscriberReadyState::DEVICE_LOCKED,
            Err(Refused(Status::SIM_NOT_INSERTED, _)) => SubscriberReadyState::SIM_NOT_INSERTED,
            Err(Refused(Status::BAD_SIM, _)) => SubscriberReadyState::BAD_SIM,
            Err(Refused(Status::PIN_REQUIRED, _)) => SubscriberReadyState::DEVICE_LOCKED,
            // Firmware that has just started refuses the query without a reason.
            Err(_) => SubscriberReadyState::NOT_INITIALIZED,
        };
        let mut ready = SubscriberReadyStatus {
            ready_state: state,
            ..SubscriberReadyStatus::default()
        };
        if let Ok(CardNumber(number)) = self.query::<CardNumber>() {
            number.reveal().clone_into(&mut ready.sim_icc_id);
        }
        if state == SubscriberReadyState::INITIALIZED
            && let Ok(Subscriber(number)) = self.query::<Subscriber>()
        {
            number.reveal().clone_into(&mut ready.subscriber_id);
        }
        Ok(ready.encode())
    }

    pub(super) fn pin(&mut self) -> Result<Vec<u8>, Refused> {
        self.pin_info().map(|info| info.encode())
    }

    fn pin_info(&mut self) -> Result<PinInfo, Refused> {
        let state = self.query::<Pin>()?.0;
        let attempts = self.query::<PinAttempts>().ok();
        let (kind, remaining) = match &state {
            AtPin::Ready => (PinType::PIN1, attempts.and_then(|left| left.pin)),
            AtPin::Pin => (PinType::PIN1, attempts.and_then(|left| left.pin)),
            AtPin::Puk => (PinType::PUK1, attempts.and_then(|left| left.puk)),
            AtPin::Pin2 => (PinType::PIN2, attempts.and_then(|left| left.pin2)),
            AtPin::Puk2 => (PinType::PUK2, attempts.and_then(|left| left.puk2)),
            AtPin::Other(name) => (other_lock(name), None),
        };
        let locked = !matches!(state, AtPin::Ready | AtPin::Pin2 | AtPin::Puk2);
        Ok(PinInfo {
            pin_type: kind,
            pin_state: match locked {
                true => PinState::LOCKED,
                false => PinState::UNLOCKED,
            },
            remaining_attempts: remaining.map_or(UNKNOWN_ATTEMPTS, u32::from),
        })
    }

    /// Enters, changes or switches the PIN, once. The answer has the state of the SIM after that, also
    /// where it was refused.
    pub(super) fn set_pin(&mut self, info: &[u8]) -> (Status, Vec<u8>) {
        let Ok(mut wanted) = PinSet::decode(info) else {
            return (Status::INVALID_PARAMETERS, Vec::new());
        };
        let pin = Zeroizing::new(std::mem::take(&mut wanted.pin));
        let new_pin = Zeroizing::new(std::mem::take(&mut wanted.new_pin));
        let digits = |text: &str| text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
        if pin.is_empty() || !digits(&pin) || !digits(&new_pin) {
            return (Status::INVALID_PARAMETERS, Vec::new());
        }
        let puk = wanted.pin_type == PinType::PUK1;
        if !puk && wanted.pin_type != PinType::PIN1 {
            return (Status::NO_DEVICE_SUPPORT, Vec::new());
        }
        let line = Zeroizing::new(match wanted.pin_operation {
            PinOperation::ENTER if puk => format!("AT+CPIN=\"{}\",\"{}\"", &*pin, &*new_pin),
            PinOperation::ENTER => format!("AT+CPIN=\"{}\"", &*pin),
            PinOperation::ENABLE => format!("AT+CLCK=\"SC\",1,\"{}\"", &*pin),
            PinOperation::DISABLE => format!("AT+CLCK=\"SC\",0,\"{}\"", &*pin),
            PinOperation::CHANGE => format!("AT+CPWD=\"SC\",\"{}\",\"{}\"", &*pin, &*new_pin),
            _ => return (Status::INVALID_PARAMETERS, Vec::new()),
        });
        let status = match self.run_secret(line) {
            Ok(_) => Status::NONE,
            // A refusal without a reason is taken for one of the PIN.
            Err(Refused(Status::NO_DEVICE_SUPPORT, _)) => Status::OPERATION_NOT_ALLOWED,
            Err(Refused(status, _)) => status,
        };
        let info = self
            .pin_info()
            .map_or_else(|_| Vec::new(), |info| info.encode());
        (status, info)
    }

    pub(super) fn radio(&mut self) -> Result<Vec<u8>, Refused> {
        let lines = self.run("AT+CFUN?")?;
        let level = lines
            .iter()
            .find_map(|line| Values::new(after(line, "+CFUN")?).number::<u8>())
            .ok_or(Status::NO_DEVICE_SUPPORT)?;
        let switch = |on: bool| match on {
            true => RadioSwitchState::ON,
            false => RadioSwitchState::OFF,
        };
        // The answer is `^RFSWITCH: software, hardware`, where the modem has the switch of a
        // laptop.
        let hardware = self.run("AT^RFSWITCH?").ok().and_then(|lines| {
            lines.iter().find_map(|line| {
                let mut values = Values::new(after(line, "^RFSWITCH")?);
                values.next();
                values.number::<u8>()
            })
        });
        Ok(RadioState {
            hw_radio_state: switch(hardware != Some(0)),
            sw_radio_state: switch(level == 1),
        }
        .encode())
    }

    pub(super) fn set_radio(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let wanted = RadioStateSet::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        self.run(match wanted.radio_state {
            RadioSwitchState::ON => "AT+CFUN=1",
            _ => "AT+CFUN=0",
        })?;
        self.radio()
    }
}

/// Returns the kind of a lock that is not the SIM's PIN (3GPP TS 27.007, 8.3).
fn other_lock(name: &str) -> PinType {
    match name {
        "PH-SIM PIN" => PinType::DEVICE_SIM_PIN,
        "PH-FSIM PIN" => PinType::DEVICE_FIRST_SIM_PIN,
        "PH-FSIM PUK" => PinType::DEVICE_FIRST_SIM_PUK,
        "PH-NET PIN" => PinType::NETWORK_PIN,
        "PH-NET PUK" => PinType::NETWORK_PUK,
        "PH-NETSUB PIN" => PinType::NETWORK_SUBSET_PIN,
        "PH-NETSUB PUK" => PinType::NETWORK_SUBSET_PUK,
        "PH-SP PIN" => PinType::SERVICE_PROVIDER_PIN,
        "PH-SP PUK" => PinType::SERVICE_PROVIDER_PUK,
        "PH-CORP PIN" => PinType::CORPORATE_PIN,
        "PH-CORP PUK" => PinType::CORPORATE_PUK,
        _ => PinType::CUSTOM,
    }
}

/// Returns the first characters of a text, as many as its field holds.
fn shortened(text: String, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most).collect(),
        false => text,
    }
}
