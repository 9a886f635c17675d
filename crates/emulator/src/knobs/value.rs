//! The types of values that knobs have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::info::Kind;

/// A type of values a knob can have.
pub(super) trait Value: Sized {
    /// The kind of the values.
    const KIND: Kind;
    /// The words there are, of a choice.
    const CHOICES: &'static [&'static str] = &[];
    /// The least and the greatest number the type holds, of numbers.
    const RANGE: Option<(u64, u64)> = None;
    /// Reads a value; `None` when the text is none.
    fn read(text: &str) -> Option<Self>;
    /// Writes the value as [`Value::read`] reads it.
    fn write(&self) -> String;
    /// Returns the value as a number, if it is one.
    fn number(&self) -> Option<u64> {
        None
    }
}

/// Returns the values that fit, for error messages. `range` is narrower than the type's own, if given.
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

    /// Returns the address of a session in the family of IPv4 or the other.
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
    /// The company whose sticker the module carries.
    Brand {
        /// HP lt4132, 03f0:a31d, USB 2.00.
        Hp = "hp",
        /// Huawei ME906s-158, 12d1:15c1, USB 2.10 with a BOS descriptor.
        Huawei = "huawei",
    }
}

choice! {
    /// Where the NDP of an NTB from the modem stands.
    NdpPlace {
        /// After the datagrams.
        End = "end",
        /// Before the datagrams.
        Front = "front",
    }
}

choice! {
    /// By what the modem sees the end of an NTB whose length without padding depends on it.
    NtbEnd {
        /// By whatever the host does.
        Any = "any",
        /// One byte more, in a short packet.
        Short = "short",
        /// A zero-length packet.
        ZeroPacket = "zlp",
        /// Zeros up to the longest NTB, where the NTB is not much shorter.
        Full = "full",
    }
}

choice! {
    /// Which wSequence the modem takes, compared with that of the NTB before.
    SequenceTaken {
        /// Any.
        Any = "any",
        /// One more.
        Next = "next",
        /// Any but the same.
        Other = "other",
    }
}

choice! {
    /// What is in the SIM slot.
    SimState {
        /// A working SIM (locked, if a PIN is set).
        Ready = "ready",
        /// An empty slot.
        Absent = "absent",
        /// A card that does not answer.
        Bad = "bad",
        /// A card that is still being read, for ever.
        NotInitialized = "not_initialized",
    }
}

choice! {
    /// What the network says to a registration.
    Registration {
        /// Registered at home.
        Home = "home",
        /// Registered abroad.
        Roaming = "roaming",
        /// Registered with a partner.
        Partner = "partner",
        /// Refused with cause 11, PLMN not allowed.
        Denied = "denied",
        /// Nothing in reach.
        Searching = "searching",
    }
}

choice! {
    /// What a query of MBIM's IP configuration is answered with.
    IpConfigurationAnswer {
        /// Addresses, gateways and name servers.
        Told = "told",
        /// Those of IPv4 alone, although the data session has both.
        Ipv4 = "ipv4",
        /// Those of IPv6 alone.
        Ipv6 = "ipv6",
        /// An answer in which nothing is available.
        Empty = "empty",
        /// MBIM_STATUS_NO_DEVICE_SUPPORT.
        Refused = "refused",
    }
}

impl IpConfigurationAnswer {
    /// Returns whether the modem tells the IPv4 addresses of a data session.
    #[must_use]
    pub fn tells_v4(self) -> bool {
        matches!(self, Self::Told | Self::Ipv4)
    }

    /// Returns whether the modem tells the IPv6 addresses of a data session.
    #[must_use]
    pub fn tells_v6(self) -> bool {
        matches!(self, Self::Told | Self::Ipv6)
    }
}

choice! {
    /// The Ethernet functions that carry nothing before `^NDISDUP` has dialled.
    Dialling {
        /// As the maker has it: Huawei's own NCM and the ECM of its modems want it, NCM of the class
        /// does not.
        Usual = "usual",
        /// Every Ethernet function wants it.
        Wanted = "wanted",
        /// No Ethernet function wants it.
        Needless = "needless",
    }
}

choice! {
    /// The outcome of a call that `^NDISDUP` dials.
    DialOutcome {
        /// It comes up.
        Connects = "connects",
        /// The command succeeds, and nothing comes of it.
        Nothing = "nothing",
        /// The modem says that it is up, and the link stays down.
        NoCarrier = "no_carrier",
    }
}

choice! {
    /// The answer to `^DHCP?` and `^DHCPV6?` while a call is up.
    AddressAnswer {
        /// The addresses.
        Told = "told",
        /// Zeros.
        Zeros = "zeros",
        /// ERROR.
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
        /// It leases the address of the data session.
        Right = "right",
        /// It does not answer.
        Silent = "silent",
        /// It offers the address and refuses to lease it.
        Refuses = "refuses",
        /// It leases an address of 169.254.0.0/16, to which no packet finds its way.
        Wrong = "wrong",
    }
}

choice! {
    /// The way in which the modem resolves Ethernet addresses.
    ArpManner {
        /// It answers ARP and neighbour solicitations for every address but the host's own.
        Answers = "answers",
        /// It answers neither.
        Silent = "silent",
        /// It asks for the host's address, and sends no IPv4 before that is answered.
        Asks = "asks",
        /// It takes the host's Ethernet address for its own.
        Own = "own",
    }
}

choice! {
    /// Kernel drivers the host of the in-process backend pretends to have.
    HostDrivers {
        /// `cdc_ether`, `option` and `cdc_mbim` bind as a configuration is selected.
        Bound = "bound",
        /// The drivers bind to what is free 50 ms after the selection, as modules loaded late.
        Late = "late",
        /// The host has no drivers.
        None = "none",
    }
}

choice! {
    /// What is wrong with the descriptors of configuration 3.
    DescriptorFault {
        /// The descriptors are right.
        None = "none",
        /// The device sends less than `wTotalLength` says, and stops inside the MBIM functional
        /// descriptor.
        Truncated = "truncated",
        /// `wTotalLength` is 65535, and the MBIM functional descriptor's `bLength` passes the end.
        Oversized = "oversized",
        /// The MBIM functional descriptor's `bLength` is 0.
        Empty = "empty",
    }
}
