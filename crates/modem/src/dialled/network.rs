//! Registration, operators, packet service and signal.

use uwwan_at::codes::{access_technology, operator_mode, operator_state};
use uwwan_at::commands::identity::{NetworkDigits, Subscriber};
use uwwan_at::commands::registration::{
    CircuitRegistration, LteRegistration, Operator, OperatorScan, PacketRegistration, Registration,
    RegistrationState as AtState,
};
use uwwan_at::values::{Values, after};
use uwwan_mbim::services::basic_connect::{
    CellularClass, DataClass, HomeProvider, PacketServiceAction, PacketServiceInfo,
    PacketServiceSet, PacketServiceState, Provider, ProviderState, RegisterAction, RegisterMode,
    RegisterState, RegisterStateSet, RegistrationFlag, RegistrationState, SignalState,
    VisibleProviders,
};
use uwwan_mbim::status::{NwError, Status};

use super::function::{Function, Refused};

/// Strength and error rate that are not known (3GPP TS 27.007, 8.5).
const UNKNOWN: u32 = 99;

impl Function {
    pub(super) fn registration(&mut self) -> Result<Vec<u8>, Refused> {
        let state = self.registered()?;
        let told = match state.state {
            AtState::Home | AtState::Roaming => self.operators(),
            _ => [None, None],
        };
        let (mut mode, mut technology) = (None, state.technology);
        for operator in told.iter().flatten() {
            mode = Some(operator.mode);
            technology = operator.technology.or(technology);
        }
        let [id, name] = told.map(|told| told.and_then(|one| one.name).unwrap_or_default());
        Ok(RegistrationState {
            nw_error: NwError::NONE,
            register_state: match state.state {
                AtState::Home => RegisterState::HOME,
                AtState::Roaming => RegisterState::ROAMING,
                AtState::Denied => RegisterState::DENIED,
                AtState::Searching => RegisterState::SEARCHING,
                AtState::NotSearching => RegisterState::DEREGISTERED,
                _ => RegisterState::UNKNOWN,
            },
            register_mode: match mode {
                Some(operator_mode::MANUAL | operator_mode::MANUAL_OR_AUTOMATIC) => {
                    RegisterMode::MANUAL
                }
                _ => RegisterMode::AUTOMATIC,
            },
            available_data_classes: technology.map_or(DataClass::default(), class),
            current_cellular_class: CellularClass::GSM,
            provider_id: id,
            provider_name: name,
            roaming_text: String::new(),
            registration_flag: RegistrationFlag::PACKET_SERVICE_AUTOMATIC_ATTACH,
        }
        .encode())
    }

    /// Queries the operator by its number, and by its name.
    fn operators(&mut self) -> [Option<Operator>; 2] {
        // The format setting persists, so it is made before each query.
        ["AT+COPS=3,2", "AT+COPS=3,0"].map(|format| {
            let told = self.run(format).and_then(|_| self.query::<Operator>());
            told.ok()
        })
    }

    /// Returns the registration in the domain that has one: packet domain before circuit domain,
    /// LTE first.
    fn registered(&mut self) -> Result<Registration, Refused> {
        let told = [
            self.query::<LteRegistration>().map(|one| one.0),
            self.query::<PacketRegistration>().map(|one| one.0),
            self.query::<CircuitRegistration>().map(|one| one.0),
        ];
        let rank = |state: AtState| match state {
            AtState::Home | AtState::Roaming => 0,
            AtState::Searching => 1,
            AtState::Denied => 2,
            AtState::NotSearching => 3,
            _ => 4,
        };
        let refusal = told.iter().find_map(|one| one.err());
        let best = told.into_iter().flatten().min_by_key(|one| rank(one.state));
        best.ok_or(refusal.unwrap_or(Status::NO_DEVICE_SUPPORT.into()))
    }

    pub(super) fn register(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let wanted = RegisterStateSet::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        let id = wanted.provider_id;
        match wanted.register_action {
            RegisterAction::MANUAL => {
                let digits = id.bytes().all(|byte| byte.is_ascii_digit());
                if !(5..=6).contains(&id.len()) || !digits {
                    return Err(Status::INVALID_PARAMETERS.into());
                }
                self.run(&format!("AT+COPS=1,2,\"{id}\""))?;
            }
            _ => {
                self.run("AT+COPS=0")?;
            }
        }
        self.registration()
    }

    pub(super) fn providers(&mut self) -> Result<Vec<u8>, Refused> {
        let found = self.query::<OperatorScan>()?.0;
        let providers = found.into_iter().map(|one| Provider {
            provider_id: one.number,
            provider_state: match one.status {
                operator_state::CURRENT => ProviderState::REGISTERED | ProviderState::VISIBLE,
                operator_state::FORBIDDEN => ProviderState::FORBIDDEN | ProviderState::VISIBLE,
                _ => ProviderState::VISIBLE,
            },
            provider_name: one.long_name.or(one.short_name).unwrap_or_default(),
            cellular_class: CellularClass::GSM,
            rssi: UNKNOWN,
            error_rate: UNKNOWN,
        });
        let providers = providers.collect();
        Ok(VisibleProviders { providers }.encode())
    }

    /// Returns the SIM's operator: its code from the IMSI, and its name where the network is the
    /// operator's.
    pub(super) fn home(&mut self) -> Result<Vec<u8>, Refused> {
        let subscriber = self.query::<Subscriber>()?;
        let digits = match self.query::<NetworkDigits>() {
            Ok(NetworkDigits(digits)) => digits,
            Err(_) => subscriber.usual_digits(),
        };
        let (country, short, long) = subscriber.operator().ok_or(Status::NO_DEVICE_SUPPORT)?;
        let network = if digits == 3 { long } else { short };
        let provider_id = format!("{country}{network}");
        let [id, name] = self
            .operators()
            .map(|told| told.and_then(|one| one.name).unwrap_or_default());
        let provider_name = match id == provider_id {
            true => name,
            false => String::new(),
        };
        let provider = Provider {
            provider_id,
            provider_state: ProviderState::HOME,
            provider_name,
            cellular_class: CellularClass::GSM,
            rssi: UNKNOWN,
            error_rate: UNKNOWN,
        };
        Ok(HomeProvider { provider }.encode())
    }

    pub(super) fn packet_service(&mut self) -> Result<Vec<u8>, Refused> {
        let lines = self.run("AT+CGATT?")?;
        let attached = lines
            .iter()
            .find_map(|line| Values::new(after(line, "+CGATT")?).number::<u8>())
            .ok_or(Status::NO_DEVICE_SUPPORT)?;
        let technology = match attached {
            1 => self.query::<Operator>().ok().and_then(|one| one.technology),
            _ => None,
        };
        Ok(PacketServiceInfo {
            nw_error: NwError::NONE,
            packet_service_state: match attached {
                1 => PacketServiceState::ATTACHED,
                _ => PacketServiceState::DETACHED,
            },
            highest_available_data_class: technology.map_or(DataClass::default(), class),
            uplink_speed: 0,
            downlink_speed: 0,
        }
        .encode())
    }

    pub(super) fn set_packet_service(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let wanted = PacketServiceSet::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        self.run(match wanted.packet_service_action {
            PacketServiceAction::ATTACH => "AT+CGATT=1",
            _ => "AT+CGATT=0",
        })?;
        self.packet_service()
    }

    pub(super) fn signal(&mut self) -> Result<Vec<u8>, Refused> {
        let lines = self.run("AT+CSQ")?;
        let mut values = lines
            .iter()
            .find_map(|line| after(line, "+CSQ"))
            .map(Values::new)
            .ok_or(Status::NO_DEVICE_SUPPORT)?;
        Ok(SignalState {
            rssi: values.number().unwrap_or(UNKNOWN),
            error_rate: values.number().unwrap_or(UNKNOWN),
            ..SignalState::default()
        }
        .encode())
    }
}

/// Returns the data class of an access technology (3GPP TS 27.007, 7.3).
fn class(technology: u8) -> DataClass {
    use access_technology::{
        GSM, GSM_COMPACT, GSM_EGPRS, UTRAN, UTRAN_HSDPA, UTRAN_HSPA, UTRAN_HSUPA,
    };
    match technology {
        GSM | GSM_COMPACT => DataClass::GPRS,
        GSM_EGPRS => DataClass::EDGE,
        UTRAN => DataClass::UMTS,
        UTRAN_HSDPA => DataClass::UMTS | DataClass::HSDPA,
        UTRAN_HSUPA => DataClass::UMTS | DataClass::HSUPA,
        UTRAN_HSPA => DataClass::UMTS | DataClass::HSDPA | DataClass::HSUPA,
        _ => DataClass::LTE,
    }
}
