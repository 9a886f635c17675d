//! Commands of a data session: CONNECT and IP_CONFIGURATION (MBIM 1.0, 10.5.12 and 10.5.20).

use std::time::Duration;

use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, AuthProtocol, Compression, ConnectInfo, ConnectSet,
    ContextIpType, IpConfiguration, context_type,
};
use uwwan_mbim::session::Command;

use crate::failure::Failure;
use crate::options::{Auth, SessionOptions};

/// Command of a data session. It ties an answer to the state that sent the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SessionAsk {
    /// CONNECT query, which asks whether the session is active.
    State,
    /// CONNECT set, deactivate.
    Deactivate,
    /// CONNECT set, activate.
    Activate,
    /// IP_CONFIGURATION query.
    Addresses,
}

impl SessionAsk {
    /// Returns the name of the command, written for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::State => "CONNECT query",
            Self::Deactivate => "CONNECT deactivate",
            Self::Activate => "CONNECT activate",
            Self::Addresses => "IP_CONFIGURATION query",
        }
    }

    /// Returns the time to wait for the answer (as ModemManager does).
    pub(crate) const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::State => 10,
            Self::Deactivate | Self::Addresses => 60,
            Self::Activate => 180,
        })
    }

    /// Returns the command for the session with these options; `family` is the address family that
    /// an activation asks for.
    ///
    /// # Errors
    /// The failure to fetch the password that an activation sends.
    pub(super) fn command(
        self,
        options: &SessionOptions,
        family: ContextIpType,
    ) -> Result<Command, Failure> {
        let session_id = options.id.into();
        Ok(match self {
            Self::State => Command::query_with(
                bc::CONNECT,
                &ConnectInfo {
                    session_id,
                    ..ConnectInfo::default()
                },
            ),
            Self::Deactivate => deactivation(session_id),
            Self::Activate => Command::set(bc::CONNECT, &activation(options, family)?),
            Self::Addresses => Command::query_with(
                bc::IP_CONFIGURATION,
                &IpConfiguration {
                    session_id,
                    ..IpConfiguration::default()
                },
            ),
        })
    }
}

/// Returns the command that deactivates a session.
pub(super) fn deactivation(session_id: u32) -> Command {
    Command::set(
        bc::CONNECT,
        &ConnectSet {
            session_id,
            activation_command: ActivationCommand::DEACTIVATE,
            context_type: context_type::INTERNET,
            ..ConnectSet::default()
        },
    )
}

fn activation(options: &SessionOptions, family: ContextIpType) -> Result<ConnectSet, Failure> {
    let mut password = options.password.reveal()?;
    Ok(ConnectSet {
        session_id: options.id.into(),
        activation_command: ActivationCommand::ACTIVATE,
        access_string: options.apn.clone(),
        user_name: options.user.clone(),
        password: std::mem::take(&mut *password),
        compression: Compression::NONE,
        auth_protocol: match options.auth {
            Auth::None => AuthProtocol::NONE,
            Auth::Pap => AuthProtocol::PAP,
            Auth::Chap => AuthProtocol::CHAP,
            Auth::MsChapV2 => AuthProtocol::MSCHAPV2,
        },
        ip_type: family,
        context_type: context_type::INTERNET,
    })
}
