//! The description of a service: its commands and the layouts of their information buffers.

use crate::fields::Schema;
use crate::uuid::Uuid;

/// Address of a command: its service and number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CidId {
    /// Identifier of the service.
    pub service: Uuid,
    /// Number of the command within the service.
    pub cid: u32,
}

/// Version of Microsoft's extensions in force (MBIMEx), which changes some layouts for the whole
/// device. It is MBIM 1.0 unless the host negotiated another one through the `VERSION` command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// MBIM 1.0 and MBIMEx 1.0 are in force.
    #[default]
    V1,
    /// MBIMEx 2.0 is in force.
    V2,
    /// MBIMEx 3.0 is in force.
    V3,
}

/// Part of an exchange in which an information buffer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A query.
    Query,
    /// A set.
    Set,
    /// The answer to a query or a set.
    Done,
    /// An indication.
    Notify,
}

/// Layouts of a command's information buffers; `None` where there is no such buffer or only raw bytes.
#[derive(Debug, Clone, Copy)]
pub struct Layouts {
    /// Layout of a query.
    pub query: Option<&'static Schema>,
    /// Layout of a set.
    pub set: Option<&'static Schema>,
    /// Layout of the answer to a query or a set.
    pub done: Option<&'static Schema>,
    /// Layout of the indication.
    pub notify: Option<&'static Schema>,
}

impl Layouts {
    /// Layouts of a command whose information buffers have none.
    pub const NONE: Self = Self {
        query: None,
        set: None,
        done: None,
        notify: None,
    };

    pub(crate) const fn part(&self, part: Part) -> Option<&'static Schema> {
        match part {
            Part::Query => self.query,
            Part::Set => self.set,
            Part::Done => self.done,
            Part::Notify => self.notify,
        }
    }
}

/// A command of a service.
#[derive(Debug)]
pub struct Cid {
    /// Name in snake case, as the command line takes it.
    pub name: &'static str,
    /// Number of the command within the service.
    pub number: u32,
    /// Layouts of MBIM 1.0, and of commands that exist in later versions only.
    pub base: Layouts,
    /// Layouts that MBIMEx 2.0 changes.
    pub v2: Layouts,
    /// Layouts that MBIMEx 3.0 changes.
    pub v3: Layouts,
}

impl Cid {
    /// Returns the layout of one part under a version: the newest one that is not above the
    /// version.
    #[must_use]
    pub fn layout(&self, part: Part, version: Version) -> Option<&'static Schema> {
        let v3 = self.v3.part(part).filter(|_| version >= Version::V3);
        let v2 = || self.v2.part(part).filter(|_| version >= Version::V2);
        v3.or_else(v2).or_else(|| self.base.part(part))
    }
}

/// Description of a service.
#[derive(Debug)]
pub struct Service {
    /// Name in snake case, as the command line takes it.
    pub name: &'static str,
    /// Identifier of the service.
    pub uuid: Uuid,
    /// Commands of the service in the order of their numbers.
    pub cids: &'static [Cid],
}

impl Service {
    /// Returns the command with this number.
    #[must_use]
    pub fn cid(&self, number: u32) -> Option<&'static Cid> {
        self.cids.iter().find(|cid| cid.number == number)
    }

    /// Returns the command with this name (snake case, `-` for `_` allowed) or number.
    #[must_use]
    pub fn cid_named(&self, text: &str) -> Option<&'static Cid> {
        let wanted = text.to_ascii_lowercase().replace('-', "_");
        self.cids
            .iter()
            .find(|cid| cid.name == wanted || text.parse() == Ok(cid.number))
    }
}

/// States a service: its name, identifier and commands with the layout of each part. Generates
/// `SERVICE`, `UUID` and for each command a constant to address it.
macro_rules! service_table {
    (
        $name:ident = $uuid:literal {
            $($cid:ident $constant:ident = $number:literal {
                $($part:ident: $layout:ty),* $(,)?
                $(; v2 $($part2:ident: $layout2:ty),*)?
                $(; v3 $($part3:ident: $layout3:ty),*)?
            })*
        }
    ) => {
        /// Identifier of the service.
        pub const UUID: $crate::uuid::Uuid = $crate::uuid::Uuid::literal($uuid);

        $(
            #[doc = concat!("Id of command ", stringify!($number), " of the service, `", stringify!($cid), "`.")]
            pub const $constant: $crate::service::CidId =
                $crate::service::CidId { service: UUID, cid: $number };
        )*

        /// Description of the service.
        #[allow(clippy::needless_update)]
        pub static SERVICE: $crate::service::Service = $crate::service::Service {
            name: stringify!($name),
            uuid: UUID,
            cids: &[$($crate::service::Cid {
                name: stringify!($cid),
                number: $number,
                base: $crate::service::layouts!($($part: $layout),*),
                v2: $crate::service::layouts!($($($part2: $layout2),*)?),
                v3: $crate::service::layouts!($($($part3: $layout3),*)?),
            },)*],
        };
    };
}
pub(crate) use service_table;

macro_rules! layouts {
    ($($part:ident: $layout:ty),*) => {
        $crate::service::Layouts {
            $($part: Some(<$layout as $crate::fields::Layout>::SCHEMA),)*
            ..$crate::service::Layouts::NONE
        }
    };
}
pub(crate) use layouts;
