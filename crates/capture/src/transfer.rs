//! One event of a USB transfer.

/// Kind of a transfer, as usbmon and USBPcap number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Isochronous transfer.
    Isochronous,
    /// Interrupt transfer.
    Interrupt,
    /// Control transfer.
    Control,
    /// Bulk transfer.
    Bulk,
}

impl Kind {
    /// Returns the number of the kind in a record.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Isochronous => 0,
            Self::Interrupt => 1,
            Self::Control => 2,
            Self::Bulk => 3,
        }
    }

    /// Returns the kind that a number in a record stands for.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Isochronous,
            1 => Self::Interrupt,
            2 => Self::Control,
            3 => Self::Bulk,
            _ => return None,
        })
    }

    /// Returns the name of the kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Isochronous => "isochronous",
            Self::Interrupt => "interrupt",
            Self::Control => "control",
            Self::Bulk => "bulk",
        }
    }
}

/// Event of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The transfer was handed to the host controller.
    Submit,
    /// The transfer ended, with success or not.
    Complete,
    /// The transfer could not be handed to the host controller.
    Error,
}

/// An event of a transfer. Data that is sent is in the submission, data that was received in the
/// completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// Number that submission and completion of a transfer share.
    pub id: u64,
    /// Event that this is: the submission, the completion or a failed submission.
    pub phase: Phase,
    /// Kind of the transfer.
    pub kind: Kind,
    /// Address of the endpoint, direction bit included.
    pub endpoint: u8,
    /// Number of the bus.
    pub bus: u16,
    /// Number of the device on its bus.
    pub device: u8,
    /// Setup stage; present in the submission of a control transfer only.
    pub setup: Option<[u8; 8]>,
    /// Status: 0, or the error as a negative `errno` of Linux. A submission has −115 (EINPROGRESS).
    pub status: i32,
    /// Number of bytes asked for or to be sent; in a completion, the number of bytes moved.
    pub length: u32,
    /// Bytes sent or received, as far as they were captured.
    pub data: &'a [u8],
}

impl Transfer<'_> {
    /// Status of a submission (EINPROGRESS).
    pub const IN_PROGRESS: i32 = -115;

    /// Returns whether the data goes to the host.
    #[must_use]
    pub const fn is_in(&self) -> bool {
        self.endpoint & 0x80 != 0
    }
}
