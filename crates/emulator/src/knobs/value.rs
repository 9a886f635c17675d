//! The types of the values of knobs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::info::Kind;

/// Type of a knob's values.
pub(super) trait Value: Sized {
    /// Kind of the values.
    const KIND: Kind;
    /// Words of the type, if it is a choice.
    const CHOICES: &'static [&'static str] = &[];
    /// Least and greatest number that the type holds, if it is one of numbers.
    const RANGE: Option<(u64, u64)> = None;
    /// Reads a value. Returns `None` when the text is no value of the type.
    fn read(text: &str) -> Option<Self>;
    /// Writes the value as [`Value::read`] reads it.
    fn write(&self) -> String;
    /// Returns the value as a number, if it is one.
    fn number(&self) -> Option<u64> {
        None
    }
}

/// Returns a description of the values that fit, for error messages. `range` is narrower than the
/// type's own, if it is given.
pub(super) fn expected<T: Value>(range: Option<(u64, u64)>) -> String {
    match (T::KIND, range.or(T::RANGE)) {
        (Kind::Switch, _) => "on or off".to_owned(),
        (Kind::Number, Some((_, u64::MAX)) | None) => "a whole number".to_owned(),
        (Kind::Number, Some((least, most))) => format!("a number from {least} to {most}"),
        (Kind::Text, _) => "text without commas".to_owned(),
        (Kind::Address, _) => "an IP address, or nothing".to_owned(),
        (Kind::Choice, _) => match T::CHOICES {
            [all @ .., last] => format!("{} or {last}", all.join(", ")),
            [] => String::new(),
        },
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Switch;
    fn read(text: &str) -> Option<Self> {
        match text {
            "on" | "true" | "yes" | "1" => Some(true),
            "off" | "false" | "no" | "0" => Some(false),
            _ => None,
        }
    }
    fn write(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

macro_rules! integer_value {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            const KIND: Kind = Kind::Number;
            const RANGE: Option<(u64, u64)> = Some((0, <$kind>::MAX as u64));
            fn read(text: &str) -> Option<Self> {
                match text.strip_prefix("0x") {
                    Some(hex) => <$kind>::from_str_radix(hex, 16).ok(),
                    None => text.parse().ok(),
                }
            }
            fn write(&self) -> String {
                self.to_string()
            }
            fn number(&self) -> Option<u64> {
                Some(u64::from(*self))
            }
        }
    )*};
}
integer_value!(u8, u16, u32, u64);

impl Value for String {
    const KIND: Kind = Kind::Text;
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn write(&self) -> String {
        self.clone()
    }
}

macro_rules! address_value {
    ($($kind:ty),*) => {$(
        impl Value for Option<$kind> {
            const KIND: Kind = Kind::Address;
            fn read(text: &str) -> Option<Self> {
                match text {
                    "" => Some(None),
                    text => text.parse().ok().map(Some),
                }
            }
            fn write(&self) -> String {
                self.map(|address| address.to_string()).unwrap_or_default()
            }
        }
    )*};
}
address_value!(Ipv4Addr, Ipv6Addr);

/// Addresses of data sessions beside session 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionAddresses(Vec<SessionAddress>);

/// Address of a data session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAddress {
    /// Number of the session, from 1.
    pub session: u8,
    /// Address of the host.
    pub address: IpAddr,
    /// Address of the gateway, of the same family.
    pub gateway: Option<IpAddr>,
}

impl SessionAddresses {
    /// Largest number of addresses.
    const MOST: usize = 32;

    /// Returns the address of a session in the family IPv4 or IPv6.
    #[must_use]
    pub fn of(&self, session: u8, ipv4: bool) -> Option<SessionAddress> {
        let mut all = self.0.iter().copied();
        all.find(|known| known.session == session && known.address.is_ipv4() == ipv4)
    }

    /// Returns the addresses of all sessions.
    pub fn iter(&self) -> impl Iterator<Item = SessionAddress> + '_ {
        self.0.iter().copied()
    }
}

impl Value for SessionAddresses {
    const KIND: Kind = Kind::Text;
    fn read(text: &str) -> Option<Self> {
        let one = |text: &str| {
            let (session, addresses) = text.split_once(':')?;
            let (address, gateway) = match addresses.split_once('-') {
                Some((address, gateway)) => (address, Some(gateway.parse().ok()?)),
                None => (addresses, None),
            };
            let address: IpAddr = address.parse().ok()?;
            let session = session.parse().ok().filter(|session| *session > 0)?;
            let alike = |gateway: &IpAddr| gateway.is_ipv4() == address.is_ipv4();
            gateway
                .as_ref()
                .is_none_or(alike)
                .then_some(SessionAddress {
                    session,
                    address,
                    gateway,
                })
        };
        let all: Vec<_> = match text {
            "" => Vec::new(),
            text => text.split('+').map(one).collect::<Option<_>>()?,
        };
        (all.len() <= Self::MOST).then_some(Self(all))
    }
    fn write(&self) -> String {
        let one = |known: &SessionAddress| {
            let gateway = known.gateway.map(|gateway| format!("-{gateway}"));
            let gateway = gateway.unwrap_or_default();
            format!("{}:{}{gateway}", known.session, known.address)
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("+")
    }
}

impl TryFrom<String> for SessionAddresses {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or("expected session:address-gateway, joined by +")
    }
}

impl From<SessionAddresses> for String {
    fn from(addresses: SessionAddresses) -> Self {
        addresses.write()
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant),* }
        impl Value for $name {
            const KIND: Kind = Kind::Choice;
            const CHOICES: &'static [&'static str] = &[$($text),*];
            fn read(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
            fn write(&self) -> String {
                match self { $(Self::$variant => $text,)* }.to_owned()
            }
        }
    };
}

choice! {
    /// Brand of the module.
    Brand {
        /// HP lt4132, 03f0:a31d, USB 2.00.
        Hp = "hp",
        /// Huawei ME906s-158, 12d1:15c1, USB 2.10 with a BOS descriptor.
        Huawei = "huawei",
    }
}

choice! {
    /// Place of the NDP in an NTB from the modem.
    NdpPlace {
        /// After the datagrams.
        End = "end",
        /// Before the datagrams.
        Front = "front",
    }
}

choice! {
    /// What the modem needs to see the end of an NTB that fills its last packet without padding.
    NtbEnd {
        /// The modem sees the end whatever the host does.
        Any = "any",
        /// The modem needs one byte more, in a short packet.
        Short = "short",
        /// The modem needs a zero-length packet.
        ZeroPacket = "zlp",
        /// The modem needs zeros up to the longest NTB, where the NTB is not much shorter.
        Full = "full",
    }
}

choice! {
    /// The wSequence that the modem takes, compared with that of the NTB before.
    SequenceTaken {
        /// Any number is taken.
        Any = "any",
        /// Only the next number is taken.
        Next = "next",
        /// Any number but the same is taken.
        Other = "other",
    }
}

choice! {
    /// State of the SIM slot.
    SimState {
        /// The SIM works (and is locked, if a PIN is set).
        Ready = "ready",
        /// The slot is empty.
        Absent = "absent",
        /// The card does not answer.
        Bad = "bad",
        /// The card is still being read, and never becomes ready.
        NotInitialized = "not_initialized",
    }
}

choice! {
    /// Answer of the network to a registration.
    Registration {
        /// The module is registered with its home network.
        Home = "home",
        /// The module is registered abroad.
        Roaming = "roaming",
        /// The module is registered with a partner.
        Partner = "partner",
        /// The registration is refused with cause 11, PLMN not allowed.
        Denied = "denied",
        /// No network is in reach.
        Searching = "searching",
    }
}

choice! {
    /// Answer to a query of MBIM's IP configuration.
    IpConfigurationAnswer {
        /// The answer has addresses, gateways and name servers.
        Told = "told",
        /// The answer has those of IPv4 only, although the data session has both families.
        Ipv4 = "ipv4",
        /// The answer has those of IPv6 only.
        Ipv6 = "ipv6",
        /// The answer says that nothing is available.
        Empty = "empty",
        /// The query is refused with MBIM_STATUS_NO_DEVICE_SUPPORT.
        Refused = "refused",
    }
}

impl IpConfigurationAnswer {
    /// Returns whether the answer has the IPv4 addresses of a data session.
    #[must_use]
    pub fn tells_v4(self) -> bool {
        matches!(self, Self::Told | Self::Ipv4)
    }

    /// Returns whether the answer has the IPv6 addresses of a data session.
    #[must_use]
    pub fn tells_v6(self) -> bool {
        matches!(self, Self::Told | Self::Ipv6)
    }
}

choice! {
    /// Choice of the Ethernet functions that carry nothing before `^NDISDUP` has dialled.
    Dialling {
        /// The function's maker decides: Huawei's own NCM and the ECM of its modems must be
        /// dialled, NCM of the standard class need not.
        Usual = "usual",
        /// Every Ethernet function must be dialled.
        Wanted = "wanted",
        /// No Ethernet function must be dialled.
        Needless = "needless",
    }
}

choice! {
    /// Outcome of a call that `^NDISDUP` dials.
    DialOutcome {
        /// The call comes up.
        Connects = "connects",
        /// The command succeeds, and no call comes up.
        Nothing = "nothing",
        /// The modem says that the call is up, and the link stays down.
        NoCarrier = "no_carrier",
    }
}

choice! {
    /// Answer to `^DHCP?` and `^DHCPV6?` while a call is up.
    AddressAnswer {
        /// The answer has the addresses.
        Told = "told",
        /// The answer has zeros in place of the addresses.
        Zeros = "zeros",
        /// The answer is ERROR.
        Refused = "refused",
    }
}

choice! {
    /// The form of texts in `+CUSD`.
    UssdForm {
        /// Octets in hexadecimal digits, GSM 7-bit packed, until `AT^USSDMODE=0`.
        Packed = "packed",
        /// Text, until `AT^USSDMODE=1`.
        Text = "text",
        /// Text; the firmware has no `^USSDMODE`.
        TextAlways = "text_always",
    }
}

choice! {
    /// The behaviour of the DHCP server of the link.
    DhcpManner {
        /// The server leases the address of the data session.
        Right = "right",
        /// The server does not answer.
        Silent = "silent",
        /// The server offers the address and refuses to lease it.
        Refuses = "refuses",
        /// The server leases an address of 169.254.0.0/16, which no packet reaches.
        Wrong = "wrong",
    }
}

choice! {
    /// Way in which the modem resolves Ethernet addresses.
    ArpManner {
        /// The modem answers ARP and neighbour solicitations for every address but the host's own.
        Answers = "answers",
        /// The modem answers neither.
        Silent = "silent",
        /// The modem asks for the host's address, and sends no IPv4 until it is answered.
        Asks = "asks",
        /// The modem takes the host's Ethernet address for its own.
        Own = "own",
    }
}

choice! {
    /// Kernel drivers that the host of the in-process backend simulates.
    HostDrivers {
        /// `cdc_ether`, `option` and `cdc_mbim` bind as a configuration is selected.
        Bound = "bound",
        /// The drivers bind to free interfaces 50 ms after the selection, as modules loaded late.
        Late = "late",
        /// The host has no drivers.
        None = "none",
    }
}

choice! {
    /// Fault of the descriptors of configuration 3.
    DescriptorFault {
        /// The descriptors have no fault.
        None = "none",
        /// The device sends fewer bytes than `wTotalLength` says, and stops inside the MBIM
        /// functional descriptor.
        Truncated = "truncated",
        /// `wTotalLength` is 65535, and the `bLength` of the MBIM functional descriptor passes the
        /// end.
        Oversized = "oversized",
        /// The `bLength` of the MBIM functional descriptor is 0.
        Empty = "empty",
    }
}
