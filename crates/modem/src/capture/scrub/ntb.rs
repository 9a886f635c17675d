//! NTBs: framing stays, datagrams are scrubbed, and everything else becomes zeros.

use uwwan_ncm::{DropCounters, Limits, Ntb, Stream};

use super::datagram::Scrubber;

/// Length of an NTB16's header, which every format has at least, in bytes.
const HEADER: usize = 12;

/// Returns whether the data of a bulk transfer is an NTB.
pub fn is_ntb(bytes: &[u8]) -> bool {
    matches!(bytes.get(..4), Some(b"NCMH" | b"ncmh"))
}

/// Scrubs an NTB. Of an NTB that cannot be parsed, only the first bytes of the header stay.
pub fn scrub(bytes: &mut [u8], scrubber: &mut Scrubber<'_>) {
    let limits = Limits {
        max_ntb: bytes.len(),
        max_datagrams: usize::from(u16::MAX),
        max_datagram_size: bytes.len(),
    };
    let Ok(ntb) = Ntb::parse(bytes, &limits) else {
        scrubber
            .report
            .blanked("NTBs that cannot be read, or were captured in part", 1);
        bytes.get_mut(HEADER..).unwrap_or_default().fill(0);
        return;
    };
    let mut drops = DropCounters::default();
    let datagrams: Vec<_> = ntb.datagrams(&mut drops).collect();
    let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
    if dropped > 0 {
        let what = "datagrams that an NTB does not describe rightly";
        scrubber.report.blanked(what, dropped);
    }
    let ndps: Vec<_> = ntb.ndps(&mut DropCounters::default()).collect();
    let header = match bytes[0] {
        b'n' => HEADER + 4,
        _ => HEADER,
    };
    let mut new = vec![0; bytes.len()];
    for datagram in datagrams {
        let mut inside = bytes[datagram.range.clone()].to_vec();
        match datagram.stream {
            Stream::Ips(_) => scrubber.packet(&mut inside),
            Stream::Ethernet { .. } => scrubber.frame(&mut inside),
            Stream::Dss(_) => scrubber.payload(&mut inside),
        }
        new[datagram.range.clone()].copy_from_slice(&inside);
        if let Stream::Ethernet { crc: true } = datagram.stream
            && let Some(check) = new.get_mut(datagram.range.end..datagram.range.end + 4)
        {
            check.copy_from_slice(&crc32fast::hash(&inside).to_le_bytes());
        }
    }
    // Framing is written last, because a datagram may overlap it.
    for ndp in ndps {
        new[ndp.range.clone()].copy_from_slice(&bytes[ndp.range]);
    }
    new[..header].copy_from_slice(&bytes[..header]);
    bytes.copy_from_slice(&new);
}

#[cfg(test)]
mod tests {
    use uwwan_ncm::{Builder, Choices, Framing, NtbParameters};

    use super::super::identities::Identities;
    use super::super::report::Report;
    use super::*;

    #[test]
    fn framing_stays_and_gaps_are_emptied() {
        let mut builder = Builder::new(Framing::negotiate(
            &NtbParameters::FALLBACK,
            &Choices::default(),
        ));
        // The bytes that the buffer held before are no part of the NTB's meaning.
        let mut ntb = vec![0x5a; 4_096];
        for _ in 0..3 {
            let at = builder.put(Stream::Ips(0), 101, 101).unwrap();
            ntb[at..at + 101].fill(0x33);
            let head = [
                0x45, 0, 0, 101, 0, 0, 0, 0, 64, 99, 0, 0, 10, 1, 2, 3, 10, 1, 2, 4,
            ];
            ntb[at..at + 20].copy_from_slice(&head);
        }
        let length = builder.finish(&mut ntb).length;
        ntb.truncate(length);
        let mut new = ntb.clone();
        let mut report = Report::default();
        scrub(
            &mut new,
            &mut Scrubber {
                identities: &mut Identities::default(),
                report: &mut report,
                keep_payload: false,
            },
        );
        assert!(!new.contains(&0x5a) && !new.contains(&0x33));
        let limits = Limits::default();
        let ranges = |bytes: &[u8]| -> Vec<_> {
            let ntb = Ntb::parse(bytes, &limits).unwrap();
            let mut drops = DropCounters::default();
            ntb.datagrams(&mut drops).map(|one| one.range).collect()
        };
        assert_eq!(ranges(&new), ranges(&ntb));
        for range in ranges(&new) {
            assert_eq!(new[range][12..20], [192, 0, 2, 1, 192, 0, 2, 2]);
        }
        assert_eq!(report.blanked.len(), 0);
    }
}
