//! Layout of NTBs to the device, as far as users and quirks choose it and the healing changes it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// Place of the NDP (datagram pointers) in an NTB.
    Placement {
        /// The NDP stands after the datagrams; Huawei modems carry nothing otherwise.
        End = "end",
        /// The NDP stands before the datagrams.
        Front = "front",
    }
}

words! {
    /// Format of an NTB.
    Format {
        /// 16-bit offsets and lengths (NTB16).
        Ntb16 = "16",
        /// 32-bit offsets and lengths (NTB32).
        Ntb32 = "32",
    }
}

words! {
    /// End of an NTB whose length is a multiple of the packet size.
    Padding {
        /// One zero byte follows, counted in the NTB's length.
        Short = "short",
        /// Long NTBs are filled up to the maximum, as the kernel driver does.
        Full = "full",
        /// A zero-length packet (ZLP) follows the NTB.
        ZeroPacket = "zlp",
    }
}

/// The part of the layout of NTBs to the device that the healing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layout {
    /// Place of the NDP.
    pub ndp: Placement,
    /// End of an NTB that fills its last packet.
    pub padding: Padding,
    /// Format of the NTB.
    pub ntb: Format,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.ndp {
            Placement::End => "at the end",
            Placement::Front => "in front",
        };
        write!(f, "NDP {place}, padding {}, NTB{}", self.padding, self.ntb)
    }
}
