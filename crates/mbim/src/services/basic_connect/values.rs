//! Enumerations and bit sets of the Basic Connect service, some of which other services share.

use crate::fields::{bits, values};

values! {
    /// Way in which the device is attached to the host (`MBIM_DEVICE_TYPE`).
    DeviceType: u32 { UNKNOWN = 0, EMBEDDED = 1, REMOVABLE = 2, REMOTE = 3 }
}

bits! {
    /// Families of cellular technology (`MBIM_CELLULAR_CLASS`).
    CellularClass: u32 { GSM = 0, CDMA = 1 }
}

values! {
    /// Support for voice calls beside data (`MBIM_VOICE_CLASS`).
    VoiceClass: u32 { UNKNOWN = 0, NO_VOICE = 1, SEPARATED_VOICE_DATA = 2, SIMULTANEOUS_VOICE_DATA = 3 }
}

bits! {
    /// Kinds of SIM card the device takes (`MBIM_SIM_CLASS`).
    SimClass: u32 { LOGICAL = 0, REMOVABLE = 1 }
}

bits! {
    /// Data classes, that is radio access technologies (`MBIM_DATA_CLASS`).
    DataClass: u32 { GPRS = 0, EDGE = 1, UMTS = 2, HSDPA = 3, HSUPA = 4, LTE = 5, _5G_NSA = 6, _5G_SA = 7, _1XRTT = 16, _1XEVDO = 17, _1XEVDO_REVA = 18, _1XEVDV = 19, _3XRTT = 20, _1XEVDO_REVB = 21, UMB = 22, CUSTOM = 31 }
}

bits! {
    /// Capabilities for short messages (`MBIM_SMS_CAPS`).
    SmsCaps: u32 { PDU_RECEIVE = 0, PDU_SEND = 1, TEXT_RECEIVE = 2, TEXT_SEND = 3 }
}

bits! {
    /// Capabilities of the control function (`MBIM_CTRL_CAPS`).
    CtrlCaps: u32 { REG_MANUAL = 0, HW_RADIO_SWITCH = 1, CDMA_MOBILE_IP = 2, CDMA_SIMPLE_IP = 3, MULTI_CARRIER = 4, ESIM = 5, UE_POLICY_ROUTE_SELECTION = 6, SIM_HOT_SWAP_CAPABLE = 7 }
}

values! {
    /// State of the SIM card and the subscription (`MBIM_SUBSCRIBER_READY_STATE`).
    SubscriberReadyState: u32 { NOT_INITIALIZED = 0, INITIALIZED = 1, SIM_NOT_INSERTED = 2, BAD_SIM = 3, FAILURE = 4, NOT_ACTIVATED = 5, DEVICE_LOCKED = 6, NO_ESIM_PROFILE = 7 }
}

bits! {
    /// Flags of the subscriber information (`MBIM_READY_INFO_FLAG`).
    ReadyInfoFlag: u32 { PROTECT_UNIQUE_ID = 0 }
}

values! {
    /// State of a radio switch (`MBIM_RADIO_SWITCH_STATE`).
    RadioSwitchState: u32 { OFF = 0, ON = 1 }
}

values! {
    /// Type of a PIN or PUK (`MBIM_PIN_TYPE`).
    PinType: u32 { UNKNOWN = 0, CUSTOM = 1, PIN1 = 2, PIN2 = 3, DEVICE_SIM_PIN = 4, DEVICE_FIRST_SIM_PIN = 5, NETWORK_PIN = 6, NETWORK_SUBSET_PIN = 7, SERVICE_PROVIDER_PIN = 8, CORPORATE_PIN = 9, SUBSIDY_PIN = 10, PUK1 = 11, PUK2 = 12, DEVICE_FIRST_SIM_PUK = 13, NETWORK_PUK = 14, NETWORK_SUBSET_PUK = 15, SERVICE_PROVIDER_PUK = 16, CORPORATE_PUK = 17, NEV = 18, ADM = 19 }
}

values! {
    /// State of a PIN (`MBIM_PIN_STATE`).
    PinState: u32 { UNLOCKED = 0, LOCKED = 1 }
}

values! {
    /// Operation on a PIN (`MBIM_PIN_OPERATION`).
    PinOperation: u32 { ENTER = 0, ENABLE = 1, DISABLE = 2, CHANGE = 3 }
}

values! {
    /// Mode of a PIN (`MBIM_PIN_MODE`).
    PinMode: u32 { NOT_SUPPORTED = 0, ENABLED = 1, DISABLED = 2 }
}

values! {
    /// Characters that a PIN consists of (`MBIM_PIN_FORMAT`).
    PinFormat: u32 { UNKNOWN = 0, NUMERIC = 1, ALPHANUMERIC = 2 }
}

bits! {
    /// Flags of a network provider (`MBIM_PROVIDER_STATE`).
    ProviderState: u32 { HOME = 0, FORBIDDEN = 1, PREFERRED = 2, VISIBLE = 3, REGISTERED = 4, PREFERRED_MULTICARRIER = 5 }
}

values! {
    /// Access media of a data session (`MBIM_ACCESS_MEDIA_TYPE`).
    AccessMediaType: u32 { UNKNOWN = 0, _3GPP = 1, _3GPP_PREFERRED = 2 }
}

values! {
    /// Extent of a scan for network providers (`MBIM_VISIBLE_PROVIDERS_ACTION`).
    VisibleProvidersAction: u32 { FULL_SCAN = 0, RESTRICTED_SCAN = 1 }
}

values! {
    /// Way of network registration that the host asks for (`MBIM_REGISTER_ACTION`).
    RegisterAction: u32 { AUTOMATIC = 0, MANUAL = 1 }
}

values! {
    /// State of the network registration (`MBIM_REGISTER_STATE`).
    RegisterState: u32 { UNKNOWN = 0, DEREGISTERED = 1, SEARCHING = 2, HOME = 3, ROAMING = 4, PARTNER = 5, DENIED = 6 }
}

values! {
    /// Mode of the network registration (`MBIM_REGISTER_MODE`).
    RegisterMode: u32 { UNKNOWN = 0, AUTOMATIC = 1, MANUAL = 2 }
}

bits! {
    /// Flags of the network registration (`MBIM_REGISTRATION_FLAG`).
    RegistrationFlag: u32 { MANUAL_SELECTION_NOT_AVAILABLE = 0, PACKET_SERVICE_AUTOMATIC_ATTACH = 1 }
}

values! {
    /// Action on the packet service (`MBIM_PACKET_SERVICE_ACTION`).
    PacketServiceAction: u32 { ATTACH = 0, DETACH = 1 }
}

values! {
    /// State of the packet service (`MBIM_PACKET_SERVICE_STATE`).
    PacketServiceState: u32 { UNKNOWN = 0, ATTACHING = 1, ATTACHED = 2, DETACHING = 3, DETACHED = 4 }
}

values! {
    /// Action on a data session (`MBIM_ACTIVATION_COMMAND`).
    ActivationCommand: u32 { DEACTIVATE = 0, ACTIVATE = 1 }
}

values! {
    /// Compression of a data session (`MBIM_COMPRESSION`).
    Compression: u32 { NONE = 0, ENABLE = 1 }
}

values! {
    /// Protocol that authenticates the user of a data session (`MBIM_AUTH_PROTOCOL`).
    AuthProtocol: u32 { NONE = 0, PAP = 1, CHAP = 2, MSCHAPV2 = 3 }
}

values! {
    /// IP versions of a data session (`MBIM_CONTEXT_IP_TYPE`).
    ContextIpType: u32 { DEFAULT = 0, IPV4 = 1, IPV6 = 2, IPV4V6 = 3, IPV4_AND_IPV6 = 4 }
}

values! {
    /// State of a data session (`MBIM_ACTIVATION_STATE`).
    ActivationState: u32 { UNKNOWN = 0, ACTIVATED = 1, ACTIVATING = 2, DEACTIVATED = 3, DEACTIVATING = 4 }
}

values! {
    /// State of a voice call (`MBIM_VOICE_CALL_STATE`).
    VoiceCallState: u32 { NONE = 0, IN_PROGRESS = 1, HANG_UP = 2 }
}

bits! {
    /// Parts of the IP configuration that are available (`MBIM_IP_CONFIGURATION_AVAILABLE_FLAG`).
    IPConfigurationAvailableFlag: u32 { ADDRESS = 0, GATEWAY = 1, DNS = 2, MTU = 3 }
}

values! {
    /// State of the network idle hint (`MBIM_NETWORK_IDLE_HINT_STATE`).
    NetworkIdleHintState: u32 { DISABLED = 0, ENABLED = 1 }
}

values! {
    /// State of the emergency mode (`MBIM_EMERGENCY_MODE_STATE`).
    EmergencyModeState: u32 { OFF = 0, ON = 1 }
}

bits! {
    /// Frequency ranges of 5G (FR1 and FR2) (`MBIM_FREQUENCY_RANGE`).
    FrequencyRange: u32 { _1 = 0, _2 = 1 }
}

bits! {
    /// Flags of the SIM card in MBIMEx 3.0 (`MBIM_SUBSCRIBER_READY_STATUS_FLAG`).
    SubscriberReadyStatusFlag: u32 { ESIM = 0, SIM_REMOVABILITY_KNOWN = 1, SIM_REMOVABLE = 2 }
}

bits! {
    /// Data classes in MBIMEx 3.0, that is radio access technologies (`MBIM_DATA_CLASS_V3`).
    DataClassV3: u32 { GPRS = 0, EDGE = 1, UMTS = 2, HSDPA = 3, HSUPA = 4, LTE = 5, _5G = 6, _1XRTT = 16, _1XEVDO = 17, _1XEVDO_REVA = 18, _1XEVDV = 19, _3XRTT = 20, _1XEVDO_REVB = 21, UMB = 22, CUSTOM = 31 }
}

bits! {
    /// Subclasses of the data class 5G in MBIMEx 3.0 (`MBIM_DATA_SUBCLASS`).
    DataSubclass: u32 { _5G_ENDC = 0, _5G_NR = 1, _5G_NEDC = 2, _5G_ELTE = 3, _5G_NGENDC = 4 }
}
