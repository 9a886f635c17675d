//! Provisioned contexts, preferred operators and packet filters of Basic Connect (MBIM 1.0,
//! sections 10.5.13, 10.5.7 and 10.5.23).

use std::collections::BTreeMap;

use uwwan_mbim::services::basic_connect::{
    CellularClass, IpPacketFilters, PacketFilter, PreferredProviders, Provider, ProviderState,
    ProvisionedContextElement, ProvisionedContexts, ProvisionedContextsSet,
};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::Outcome;
use super::state::UNKNOWN_SIGNAL;

/// Largest number of contexts that the module keeps.
const CONTEXTS: u32 = 16;
/// Largest number of operators that the card keeps.
const PREFERRED: usize = 80;
/// Value of bNumberFilters in the functional descriptor.
const FILTERS: usize = 32;
/// Value of bMaxFilterSize in the functional descriptor, in bytes.
const FILTER_SIZE: usize = 128;

/// Answers a PROVISIONED_CONTEXTS query.
pub(super) fn provisioned(context: &MbimContext<'_>) -> Outcome {
    let contexts = &context.firmware.persistent.card.contexts;
    Outcome::of(&ProvisionedContexts {
        provisioned_contexts: contexts.values().cloned().collect(),
    })
}

/// Executes a PROVISIONED_CONTEXTS set.
pub(super) fn provision(
    wanted: ProvisionedContextsSet,
    context: &mut MbimContext<'_>,
) -> Result<Outcome, Status> {
    let contexts = &mut context.firmware.persistent.card.contexts;
    if !(1..=CONTEXTS).contains(&wanted.context_id) {
        return Err(Status::INVALID_PARAMETERS);
    }
    contexts.insert(
        wanted.context_id,
        ProvisionedContextElement {
            context_id: wanted.context_id,
            context_type: wanted.context_type,
            access_string: wanted.access_string,
            user_name: wanted.user_name,
            password: wanted.password,
            compression: wanted.compression,
            auth_protocol: wanted.auth_protocol,
        },
    );
    Ok(provisioned(context))
}

/// Answers a PREFERRED_PROVIDERS query.
pub(super) fn preferred(context: &MbimContext<'_>) -> Outcome {
    let preferred = &context.firmware.persistent.card.preferred;
    Outcome::of(&PreferredProviders {
        providers: preferred
            .iter()
            .map(|(plmn, name)| Provider {
                provider_id: plmn.clone(),
                provider_state: ProviderState::PREFERRED,
                provider_name: name.clone(),
                cellular_class: CellularClass::GSM,
                rssi: UNKNOWN_SIGNAL,
                error_rate: UNKNOWN_SIGNAL,
            })
            .collect(),
    })
}

/// Executes a PREFERRED_PROVIDERS set.
pub(super) fn prefer(
    wanted: PreferredProviders,
    context: &mut MbimContext<'_>,
) -> Result<Outcome, Status> {
    if wanted.providers.len() > PREFERRED {
        return Err(Status::MEMORY_FULL);
    }
    context.firmware.persistent.card.preferred = wanted
        .providers
        .into_iter()
        .map(|provider| (provider.provider_id, provider.provider_name))
        .collect();
    Ok(preferred(context))
}

/// Packet filters of the data sessions, by session id.
#[derive(Debug, Default)]
pub(super) struct Filters(BTreeMap<u32, Vec<PacketFilter>>);

impl Filters {
    /// Answers an IP_PACKET_FILTERS query.
    pub(super) fn of(&self, session_id: u32) -> Outcome {
        Outcome::of(&IpPacketFilters {
            session_id,
            packet_filters: self.0.get(&session_id).cloned().unwrap_or_default(),
        })
    }

    /// Executes an IP_PACKET_FILTERS set, on a module with that many sessions.
    pub(super) fn set(
        &mut self,
        wanted: IpPacketFilters,
        sessions: u32,
    ) -> Result<Outcome, Status> {
        let sound = wanted.session_id < sessions
            && wanted.packet_filters.len() <= FILTERS
            && wanted
                .packet_filters
                .iter()
                .all(|filter| filter.packet_filter.len() <= FILTER_SIZE);
        if !sound {
            return Err(Status::INVALID_PARAMETERS);
        }
        let session = wanted.session_id;
        self.0.insert(session, wanted.packet_filters);
        Ok(self.of(session))
    }
}
