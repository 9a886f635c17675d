//! Dialling, the state of the connection, and its addresses.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use uwwan_at::codes::ndis_authentication;
use uwwan_at::commands::context::{Dhcp, Dhcpv6, NetworkInterface};
use uwwan_at::values::{Values, after};
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, ActivationState, AuthProtocol, ConnectInfo, ConnectSet,
    ContextIpType, IPConfigurationAvailableFlag as Available, IpConfiguration, Ipv4Element,
    Ipv6Element, VoiceCallState, context_type,
};
use uwwan_mbim::status::{NwError, Status};
use zeroize::{Zeroize, Zeroizing};

use super::call::State;
use super::function::{Function, Refused};

/// Pause before a modem that dials is asked again; it also reports by itself.
const DIAL_PAUSE: Duration = Duration::from_millis(500);
/// Pause before a modem that is connected is asked whether it still is. It reports by itself, unless
/// another program has silenced it.
const WATCH_PAUSE: Duration = Duration::from_secs(15);
/// Time within which the second address family has to come up once the first has.
const FAMILY_GRACE: Duration = Duration::from_secs(2);
/// Time within which dialling has to succeed.
const DIAL_PATIENCE: Duration = Duration::from_secs(180);

impl Function {
    pub(super) fn connection_state(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let asked = ConnectInfo::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        if asked.session_id != 0 {
            return Err(Status::INVALID_PARAMETERS.into());
        }
        let state = match self.interface() {
            Ok(up) if up.contains(&true) => ActivationState::ACTIVATED,
            Ok(_) => ActivationState::DEACTIVATED,
            Err(_) => ActivationState::UNKNOWN,
        };
        Ok(self.connect_info(state, NwError::NONE))
    }

    fn connect_info(&self, state: ActivationState, cause: NwError) -> Vec<u8> {
        ConnectInfo {
            session_id: 0,
            activation_state: state,
            voice_call_state: VoiceCallState::NONE,
            ip_type: self.connection.kind(),
            context_type: context_type::INTERNET,
            nw_error: cause,
        }
        .encode()
    }

    /// Asks which families are up.
    fn interface(&mut self) -> Result<[bool; 2], Refused> {
        // Some firmware refuses the query now and then (MU736).
        let told = self.query::<NetworkInterface>();
        let told = told.or_else(|_| self.query::<NetworkInterface>())?;
        let v4 = told.ipv4 == Some(true);
        // Where the answer leaves IPv6 out, it may be up together with IPv4; the link shows whether
        // it is.
        let v6 = told
            .ipv6
            .unwrap_or(v4 && self.connection.family != ContextIpType::IPV4);
        Ok([v4, v6])
    }

    pub(super) fn connect(&mut self, now: Instant, info: &[u8]) -> (Status, Vec<u8>) {
        let Ok(mut wanted) = ConnectSet::decode(info) else {
            return (Status::INVALID_PARAMETERS, Vec::new());
        };
        let password = Zeroizing::new(std::mem::take(&mut wanted.password));
        let result = match (wanted.session_id, wanted.activation_command) {
            (0, ActivationCommand::ACTIVATE) => self.dial(now, &wanted, &password),
            (0, ActivationCommand::DEACTIVATE) => {
                self.hang_up().map(|()| ActivationState::DEACTIVATED)
            }
            // The modem has one connection.
            (_, ActivationCommand::ACTIVATE) => Err(Status::MAX_ACTIVATED_CONTEXTS.into()),
            _ => Err(Status::CONTEXT_NOT_ACTIVATED.into()),
        };
        wanted.user_name.zeroize();
        match result {
            Ok(state) => (Status::NONE, self.connect_info(state, NwError::NONE)),
            Err(Refused(status, cause)) => (
                status,
                self.connect_info(ActivationState::DEACTIVATED, cause),
            ),
        }
    }

    fn dial(
        &mut self,
        now: Instant,
        wanted: &ConnectSet,
        password: &str,
    ) -> Result<ActivationState, Refused> {
        let apn = &wanted.access_string;
        for text in [apn.as_str(), &wanted.user_name, password] {
            // A quotation mark would end the parameter; AT has no way to write one.
            if !text
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"')
            {
                return Err(Status::INVALID_PARAMETERS.into());
            }
        }
        let kind = match wanted.ip_type {
            ContextIpType::IPV4 => Some("IP"),
            ContextIpType::IPV6 => Some("IPV6"),
            ContextIpType::IPV4V6 | ContextIpType::IPV4_AND_IPV6 => Some("IPV4V6"),
            _ => None,
        };
        if let Some(kind) = kind
            && let Err(refused) = self.run(&format!("AT+CGDCONT=1,\"{kind}\",\"{apn}\""))
            && kind != "IP"
        {
            // The firmware does not have the family, or not with this SIM.
            return Err(match refused {
                Refused(Status::BUSY, _) => refused,
                _ => Status::NO_DEVICE_SUPPORT.into(),
            });
        }
        let auth = match wanted.auth_protocol {
            AuthProtocol::PAP => ndis_authentication::PAP,
            AuthProtocol::CHAP => ndis_authentication::CHAP,
            AuthProtocol::MSCHAPV2 => ndis_authentication::MSCHAPV2,
            _ => ndis_authentication::NONE,
        };
        let line = Zeroizing::new(match (apn.as_str(), auth) {
            ("", ndis_authentication::NONE) => "AT^NDISDUP=1,1".to_owned(),
            (apn, ndis_authentication::NONE) => format!("AT^NDISDUP=1,1,\"{apn}\""),
            (apn, auth) => {
                let user = &wanted.user_name;
                format!("AT^NDISDUP=1,1,\"{apn}\",\"{user}\",\"{password}\",{auth}")
            }
        });
        self.connection.down();
        self.connection.family = wanted.ip_type;
        self.run_secret(line).map_err(|refused| match refused {
            // `ERROR` alone means no more than a refusal.
            Refused(Status::NO_DEVICE_SUPPORT, cause) => Refused(Status::FAILURE, cause),
            refused => refused,
        })?;
        self.connection.state = State::Dialling(now, None);
        self.connection.poll_at = Some(now);
        Ok(ActivationState::ACTIVATING)
    }

    pub(super) fn hang_up(&mut self) -> Result<(), Refused> {
        self.connection.down();
        match self.run("AT^NDISDUP=1,0") {
            // A modem refuses to end a connection that is down.
            Ok(_) | Err(Refused(Status::NO_DEVICE_SUPPORT | Status::FAILURE, _)) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Handles `^NDISSTAT`: state, error, an unused value and the family.
    pub(super) fn connection_told(&mut self, now: Instant, line: &str) {
        let Some(mut values) = after(line, "^NDISSTAT").map(Values::new) else {
            return;
        };
        let state = values.number::<u8>();
        let cause = values.number::<u32>().unwrap_or(0);
        // A network without IPv6 refuses that family, and gives IPv4.
        let beside_ipv4 = matches!(
            self.connection.family,
            ContextIpType::IPV4V6 | ContextIpType::IPV4_AND_IPV6
        ) && values.nth(1).is_some_and(|family| family.text() == "IPV6");
        let dials = matches!(self.connection.state, State::Dialling(..));
        if state == Some(0) && cause != 0 && dials && !beside_ipv4 {
            return self.ended(NwError(cause));
        }
        // The other family may still be up: the query returns both.
        self.connection.look(now);
    }

    /// Asks for the state of the connection, and indicates changes.
    pub(super) fn follow_connection(&mut self, now: Instant) {
        self.connection.poll_at = None;
        if !self.connection.is_active() {
            return;
        }
        let told = self.interface();
        match (self.connection.state, told) {
            (State::Dialling(since, first), told) => {
                let up = told.unwrap_or_default();
                self.connection.up = up;
                let first = first.or_else(|| up.contains(&true).then_some(now));
                let waited = first.is_some_and(|first| now.duration_since(first) >= FAMILY_GRACE);
                if up.contains(&true) && (self.connection.is_whole() || waited) {
                    self.connection.state = State::Up;
                    self.connection.poll_at = Some(now + WATCH_PAUSE);
                    let info = self.connect_info(ActivationState::ACTIVATED, NwError::NONE);
                    return self.indications.push_back((bc::CONNECT, info));
                }
                if now.duration_since(since) >= DIAL_PATIENCE {
                    let _ = self.hang_up();
                    return self.ended(NwError::NONE);
                }
                self.connection.state = State::Dialling(since, first);
                self.connection.poll_at = Some(now + DIAL_PAUSE);
            }
            (State::Up, Ok([false, false])) => self.ended(NwError::NONE),
            (State::Up, _) => self.connection.poll_at = Some(now + WATCH_PAUSE),
            (State::Down, _) => {}
        }
    }

    /// Indicates that the connection has ended, or was not made.
    fn ended(&mut self, cause: NwError) {
        self.connection.down();
        let info = self.connect_info(ActivationState::DEACTIVATED, cause);
        self.indications.push_back((bc::CONNECT, info));
    }

    pub(super) fn addresses(&mut self, info: &[u8]) -> Result<Vec<u8>, Refused> {
        let asked = IpConfiguration::decode(info).map_err(|_| Status::INVALID_PARAMETERS)?;
        if asked.session_id != 0 || !self.connection.is_active() {
            return Err(Status::CONTEXT_NOT_ACTIVATED.into());
        }
        let family = self.connection.family;
        let v4 = (family != ContextIpType::IPV6).then(|| self.query::<Dhcp>());
        let v6 = (family != ContextIpType::IPV4).then(|| self.query::<Dhcpv6>());
        if let (Some(Err(refused)), None | Some(Err(_))) | (None, Some(Err(refused))) = (&v4, &v6) {
            return Err(*refused);
        }
        let mut given = IpConfiguration::default();
        if let Some(Ok(dhcp)) = v4
            && !dhcp.address.is_unspecified()
        {
            given.ipv4_configuration_available =
                Available::ADDRESS | Available::GATEWAY | Available::DNS;
            given.ipv4_address = vec![Ipv4Element {
                on_link_prefix_length: u32::from(dhcp.mask).leading_ones(),
                ipv4_address: dhcp.address,
            }];
            given.ipv4_gateway = Some(dhcp.gateway).filter(|one| !one.is_unspecified());
            given.ipv4_dns_server = known(dhcp.dns, Ipv4Addr::is_unspecified);
        }
        if let Some(Ok(dhcp)) = v6
            && !dhcp.address.is_unspecified()
        {
            given.ipv6_configuration_available =
                Available::ADDRESS | Available::GATEWAY | Available::DNS;
            given.ipv6_address = vec![Ipv6Element {
                on_link_prefix_length: dhcp.prefix.into(),
                ipv6_address: dhcp.address,
            }];
            given.ipv6_gateway = Some(dhcp.gateway).filter(|one| !one.is_unspecified());
            given.ipv6_dns_server = known(dhcp.dns, Ipv6Addr::is_unspecified);
        }
        Ok(given.encode())
    }
}

/// Returns the name servers that are known.
fn known<A: Copy>(servers: [A; 2], missing: fn(&A) -> bool) -> Vec<A> {
    servers
        .into_iter()
        .filter(|server| !missing(server))
        .collect()
}
