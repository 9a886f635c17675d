//! The datagrams of a capture, for an NTB that is built.

use std::fs::File;
use std::path::Path;

use uwwan_capture::LinkType;
use uwwan_capture::read::Reader;
use uwwan_ncm::{DropCounters, Limits, MOST_DATAGRAMS, Ntb, Stream};

use super::decode::Direction;
use super::description::{Datagram, Kind, Ndp};
use crate::failure::{Failure, FailureKind};
use crate::story::{Story, What};

/// Selection of the datagrams of a capture.
#[derive(Debug, clap::Args)]
pub struct Choice {
    /// Take the datagrams of a capture: those of its NTBs, or its IP packets where it has no NTB
    #[arg(long, value_name = "CAPTURE", help_heading = "Datagrams")]
    from: Option<std::path::PathBuf>,
    /// Which way they went
    #[arg(
        long,
        value_name = "WAY",
        default_value = "out",
        requires = "from",
        help_heading = "Datagrams"
    )]
    direction: Direction,
    /// Leave out so many first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "from",
        help_heading = "Datagrams"
    )]
    skip: usize,
    /// Take so many at most
    #[arg(long, value_name = "N", requires = "from", help_heading = "Datagrams")]
    count: Option<usize>,
}

impl Choice {
    /// Returns an NDP for each stream, in the order of the datagrams, if a capture is chosen.
    ///
    /// # Errors
    /// Fails when the capture cannot be read, or holds no such datagram.
    pub fn ndps(&self) -> Result<Option<Vec<Ndp>>, Failure> {
        let Some(path) = &self.from else {
            return Ok(None);
        };
        let mut taken = Taken {
            skip: self.skip,
            left: self.count.unwrap_or(usize::MAX),
            ndps: Vec::new(),
            seen: 0,
        };
        let mut story = Story::new(open(path)?, &path.display().to_string())?;
        let limits = Limits::default();
        while taken.left > 0
            && let Some(entry) = story.next_entry()?
        {
            let What::Ntb { bytes, .. } = &entry.what else {
                continue;
            };
            if entry.out != (self.direction == Direction::Out) {
                continue;
            }
            let Ok(ntb) = Ntb::parse(bytes, &limits) else {
                continue;
            };
            for datagram in ntb.datagrams(&mut DropCounters::default()) {
                taken.push(datagram.stream, &bytes[datagram.range], path)?;
            }
        }
        if taken.seen == 0 {
            self.packets(path, &mut taken)?;
        }
        if taken.ndps.is_empty() {
            return Err(
                Failure::new(FailureKind::Other, "no such datagram was captured")
                    .at(path.display().to_string())
                    .because(format!(
                        "it has {} that went {}, of which {} are left out",
                        taken.seen,
                        self.direction.word(),
                        self.skip
                    ))
                    .next("uwwan capture show and ntb decode tell what it holds"),
            );
        }
        Ok(Some(taken.ndps))
    }

    /// Takes the IP packets of a capture that has no NTB, in either direction.
    fn packets(&self, path: &Path, taken: &mut Taken) -> Result<(), Failure> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "the capture cannot be read")
                .at(path.display().to_string())
                .because(error)
        };
        let mut reader = Reader::new(open(path)?).map_err(|error| unreadable(&error))?;
        while taken.left > 0
            && let Some(packet) = reader.next_packet().map_err(|error| unreadable(&error))?
        {
            // A packet that the capture has cut short is left out.
            let whole = packet.data.len() as u64 == u64::from(packet.original);
            if packet.link == LinkType::RAW_IP && whole {
                taken.push(Stream::Ips(0), &packet.data, path)?;
            }
        }
        Ok(())
    }
}

struct Taken {
    skip: usize,
    left: usize,
    ndps: Vec<Ndp>,
    /// Number of datagrams that went in the chosen direction.
    seen: usize,
}

impl Taken {
    fn push(&mut self, of: Stream, bytes: &[u8], path: &Path) -> Result<(), Failure> {
        self.seen += 1;
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let datagram = Datagram {
            bytes: Some(bytes.to_vec()),
            ..Datagram::default()
        };
        let (stream, session) = match of {
            Stream::Ips(session) => (Kind::Ips, session),
            Stream::Dss(session) => (Kind::Dss, session),
            Stream::Ethernet { crc: false } => (Kind::Ethernet, 0),
            Stream::Ethernet { crc: true } => (Kind::EthernetCrc, 0),
        };
        let of_stream = |ndp: &&mut Ndp| (ndp.stream, ndp.session) == (stream, session);
        match self.ndps.iter_mut().find(of_stream) {
            Some(ndp) => ndp.datagram.push(datagram),
            None => self.ndps.push(Ndp {
                stream,
                session,
                datagram: vec![datagram],
                ..Ndp::default()
            }),
        }
        let total: usize = self.ndps.iter().map(|ndp| ndp.datagram.len()).sum();
        if total > MOST_DATAGRAMS {
            return Err(Failure::new(FailureKind::Usage, "the NTB cannot be built")
                .at(path.display().to_string())
                .because(format!(
                    "more than {MOST_DATAGRAMS} datagrams were captured"
                ))
                .next("choose some with --skip and --count"));
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        Failure::new(FailureKind::Usage, "the capture cannot be read")
            .at(path.display().to_string())
            .because(error)
    })
}
