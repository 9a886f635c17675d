//! Enumerations and bit sets of the Basic Connect extensions.

use crate::fields::{bits, values};

values! {
    /// Kind of event that woke the host (`MBIM_WAKE_TYPE`).
    WakeType: u32 { CID_RESPONSE = 0, CID_INDICATION = 1, PACKET = 2 }
}

bits! {
    /// Lists that keep the modem from registering (`MBIM_MS_NETWORK_BLACKLIST_STATE`).
    NetworkDenylistState: u32 { SIM_PROVIDER_ACTUATED = 0, NETWORK_PROVIDER_ACTUATED = 1 }
}

values! {
    /// Owner of the number that a denied network is compared with
    /// (`MBIM_MS_NETWORK_BLACKLIST_TYPE`).
    NetworkDenylistType: u32 { SIM = 0, NETWORK = 1 }
}

values! {
    /// Completeness of protocol configuration options (PCO) (`MBIM_PCO_TYPE`).
    PcoType: u32 { COMPLETE = 0, PARTIAL = 1 }
}

values! {
    /// Operation on the LTE attach contexts (`MBIM_LTE_ATTACH_CONTEXT_OPERATION`).
    LteAttachContextOperation: u32 { DEFAULT = 0, RESTORE_FACTORY = 1 }
}

values! {
    /// Roaming state that an LTE attach context is for (`MBIM_LTE_ATTACH_CONTEXT_ROAMING_CONTROL`).
    LteAttachContextRoamingControl: u32 { HOME = 0, PARTNER = 1, NON_PARTNER = 2 }
}

values! {
    /// Source of a context (`MBIM_CONTEXT_SOURCE`).
    ContextSource: u32 { ADMIN = 0, USER = 1, OPERATOR = 2, MODEM = 3, DEVICE = 4 }
}

values! {
    /// State of the LTE attach (`MBIM_LTE_ATTACH_STATE`).
    LteAttachState: u32 { DETACHED = 0, ATTACHED = 1 }
}

values! {
    /// State of a SIM slot (`MBIM_UICC_SLOT_STATE`).
    UiccSlotState: u32 { STATE_UNKNOWN = 0, SATE_OFF_EMPTY = 1, STATE_OFF = 2, STATE_EMPTY = 3, STATE_NOT_READY = 4, STATE_ACTIVE = 5, STATE_ERROR = 6, STATE_ACTIVE_ESIM = 7, STATE_ACTIVE_ESIM_NO_PROFILES = 8 }
}

values! {
    /// Status of the modem configuration (`MBIM_MODEM_CONFIGURATION_STATUS`).
    ModemConfigurationStatus: u32 { UNKNOWN = 0, STARTED = 1, COMPLETED = 2 }
}

values! {
    /// Roaming states in which a context may be used (`MBIM_CONTEXT_ROAMING_CONTROL`).
    ContextRoamingControl: u32 { HOME_ONLY = 0, PARTNER_ONLY = 1, NON_PARTNER_ONLY = 2, HOME_AND_PARTNER = 3, HOME_AND_NON_PARTNER = 4, PARTNER_AND_NON_PARTNER = 5, ALLOW_ALL = 6 }
}

values! {
    /// Media over which a context may be used (`MBIM_CONTEXT_MEDIA_TYPE`).
    ContextMediaType: u32 { CELLULAR_ONLY = 0, WIFI_ONLY = 1, ALL = 2 }
}

values! {
    /// State of a provisioned context (`MBIM_CONTEXT_STATE`).
    ContextState: u32 { DISABLED = 0, ENABLED = 1 }
}

values! {
    /// Operation on a provisioned context (`MBIM_CONTEXT_OPERATION`).
    ContextOperation: u32 { DEFAULT = 0, DELETE = 1, RESTORE_FACTORY = 2 }
}

values! {
    /// Mode of mobile initiated connections only (MICO) (`MBIM_MICO_MODE`).
    MicoMode: u32 { DISABLED = 0, ENABLED = 1, UNSUPPORTED = 2, DEFAULT = 3 }
}

values! {
    /// Hint whether the host activates the default PDU session
    /// (`MBIM_DEFAULT_PDU_ACTIVATION_HINT`).
    DefaultPduActivationHint: u32 { UNLIKELY = 0, LIKELY = 1 }
}

values! {
    /// Need for information on local area data networks (LADN) (`MBIM_LADN_INFO`).
    LadnInfo: u32 { NOT_NEEDED = 0, REQUESTED = 1 }
}

values! {
    /// Length of the discontinuous reception (DRX) cycle in radio frames (`MBIM_DRX_CYCLE`).
    DrxCycle: u32 { NOT_SPECIFIED = 0, NOT_SUPPORTED = 1, _32 = 2, _64 = 3, _128 = 4, _256 = 5 }
}
