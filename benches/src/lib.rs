//! The costs of the codecs: criterion benchmarks in `benches/`, and the workloads that they share
//! with the tests that count allocations.
//!
//! ```sh
//! cargo bench -p uwwan-benches
//! ```
//!
//! `src/bin/instructions.rs` counts instructions in place of time. `benches/demo.rs` runs the whole
//! program, and [`contest`] makes figures of the measurements of `tools/bench-kernel`.
//!
//! Criterion reports the throughput in datagrams ("elements") per second; the time per datagram is
//! its inverse.
#![forbid(unsafe_code)]

pub mod contest;
pub mod segments;

use uwwan_ncm::{
    Builder, Choices, Format, Framing, NdpSize, NtbParameters, Padding, Placement, Stream,
};

/// Datagrams that fill an NTB.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Name in reports.
    pub name: &'static str,
    /// Size of the NTB in bytes.
    pub ntb: u32,
    /// Length of each datagram in bytes.
    pub datagram: usize,
    /// Number of datagrams that an NTB takes at most.
    pub max_datagrams: usize,
}

/// The workloads: full-size packets, acknowledgements, and full-size packets in NTBs of the size that is
/// asked for from a modem.
pub const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "1500-byte packets",
        ntb: 16 * 1024,
        datagram: 1500,
        max_datagrams: 40,
    },
    Workload {
        name: "40-byte acknowledgements",
        ntb: 16 * 1024,
        datagram: 40,
        max_datagrams: 400,
    },
    Workload {
        name: "1500-byte packets, 64 KiB",
        ntb: 64 * 1024,
        datagram: 1500,
        max_datagrams: 44,
    },
];

/// Returns the framing of a workload's NTB for a device that aligns to 4 bytes, as Linux builds it or as
/// short as possible.
#[must_use]
pub fn framing(format: Format, linux: bool, workload: &Workload) -> Framing {
    let parameters = NtbParameters {
        formats: 3,
        out_max: workload.ntb,
        in_max: workload.ntb,
        ..NtbParameters::FALLBACK
    };
    let mut choices = Choices {
        format,
        placement: Placement::End,
        block_size: workload.ntb as usize,
        max_datagrams: workload.max_datagrams,
        ..Choices::default()
    };
    if linux {
        choices.ndp_size = NdpSize::Full;
        choices.padding = Padding::Full {
            min_tx_pkt: workload.ntb as usize - 3 * 512,
        };
    }
    Framing::negotiate(&parameters, &choices)
}

/// Places and commits datagrams until the NTB is full, and finishes it. The bytes of the datagrams are
/// taken to be in place. Returns the length of the NTB in bytes and the number of datagrams.
pub fn fill(builder: &mut Builder, ntb: &mut [u8], workload: &Workload) -> (usize, usize) {
    while let Ok(slot) = builder.place(Stream::Ips(0), workload.datagram) {
        builder.commit(slot, workload.datagram);
    }
    let finished = builder.finish(ntb);
    (finished.length, finished.datagrams)
}

/// Returns a finished NTB with datagrams that look like IPv4.
#[must_use]
pub fn ntb(framing: Framing, workload: &Workload) -> Vec<u8> {
    let mut bytes = vec![0x45; framing.max_ntb];
    let (length, _) = fill(&mut Builder::new(framing), &mut bytes, workload);
    bytes.truncate(length);
    bytes
}
