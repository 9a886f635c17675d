//! What the codecs cost: criterion benchmarks in `benches/`, and the workloads they share with
//! the tests that count allocations.
//!
//! ```sh
//! cargo bench -p uwwan-benches
//! ```
//!
//! `src/bin/instructions.rs` counts instructions in the place of time.
//! `benches/demo.rs` runs the whole program; [`contest`] makes figures of what `tools/bench-kernel`
//! has measured.
//!
//! Criterion reports the throughput in datagrams ("elements") per second; the time per datagram is
//! its inverse.
#![forbid(unsafe_code)]

pub mod contest;
pub mod segments;

use uwwan_ncm::{
    Builder, Choices, Format, Framing, NdpSize, NtbParameters, Padding, Placement, Stream,
};

/// What fills a block.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// For the report.
    pub name: &'static str,
    /// Bytes per datagram.
    pub datagram: usize,
    /// Most datagrams in a block.
    pub max_datagrams: usize,
}

/// Full-size packets of a download, and acknowledgements.
pub const WORKLOADS: [Workload; 2] = [
    Workload {
        name: "1500-byte packets",
        datagram: 1500,
        max_datagrams: 40,
    },
    Workload {
        name: "40-byte acknowledgements",
        datagram: 40,
        max_datagrams: 400,
    },
];

/// A 16 KiB block in the given form, for a device that is 4-aligned.
#[must_use]
pub fn framing(format: Format, linux: bool, workload: &Workload) -> Framing {
    let parameters = NtbParameters {
        formats: 3,
        out_max: 16384,
        in_max: 16384,
        ..NtbParameters::FALLBACK
    };
    let mut choices = Choices {
        format,
        placement: Placement::End,
        max_datagrams: workload.max_datagrams,
        ..Choices::default()
    };
    if linux {
        choices.ndp_size = NdpSize::Full;
        choices.padding = Padding::Full { min_tx_pkt: 14848 };
    }
    Framing::negotiate(&parameters, &choices)
}

/// Places and commits datagrams until the block is full and finishes it; the datagrams' bytes are
/// taken to be in place. Returns (length, datagrams).
pub fn fill(builder: &mut Builder, block: &mut [u8], workload: &Workload) -> (usize, usize) {
    while let Ok(slot) = builder.place(Stream::Ips(0), workload.datagram) {
        builder.commit(slot, workload.datagram);
    }
    let finished = builder.finish(block);
    (finished.length, finished.datagrams)
}

/// A finished block with IPv4-like datagrams in it.
#[must_use]
pub fn block(framing: Framing, workload: &Workload) -> Vec<u8> {
    let mut bytes = vec![0x45; framing.max_block];
    let (length, _) = fill(&mut Builder::new(framing), &mut bytes, workload);
    bytes.truncate(length);
    bytes
}
