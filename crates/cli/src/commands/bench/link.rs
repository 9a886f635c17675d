//! What is measured, on anything that can be measured.

use std::time::Duration;

use uwwan_figures::Kind;

use super::cost::{self, Time};
use crate::failure::Failure;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the network.
    Down,
    /// To the network.
    Up,
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// A TCP stream from the network.
    Down,
    /// A TCP stream to the network.
    Up,
    /// Small UDP packets from the network, as many as there can be.
    SmallDown,
    /// Small UDP packets to the network, as many as there can be.
    SmallUp,
    /// Round trips while nothing else happens.
    Ping,
    /// Round trips while a stream comes down.
    PingDown,
    /// Round trips while a stream goes up.
    PingUp,
}

impl Test {
    /// All of them, as on the command line.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("down", Self::Down),
        ("up", Self::Up),
        ("small-down", Self::SmallDown),
        ("small-up", Self::SmallUp),
        ("ping", Self::Ping),
        ("ping-down", Self::PingDown),
        ("ping-up", Self::PingUp),
    ];

    /// As on the command line.
    pub fn word(self) -> &'static str {
        let mut all = Self::VALUES.iter();
        all.find(|(_, test)| *test == self)
            .map_or("", |(word, _)| word)
    }

    /// Whether it is about round trips.
    pub fn is_ping(self) -> bool {
        matches!(self, Self::Ping | Self::PingDown | Self::PingUp)
    }

    /// Whether it is about small packets.
    pub fn is_small(self) -> bool {
        matches!(self, Self::SmallDown | Self::SmallUp)
    }
}

/// What has got through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// Payload bytes of a stream, or packets.
    pub count: u64,
    /// In this time.
    pub time: Duration,
}

impl Amount {
    /// A second's worth.
    pub fn rate(&self) -> f64 {
        let seconds = self.time.as_secs_f64();
        if seconds > 0.0 {
            self.count as f64 / seconds
        } else {
            0.0
        }
    }
}

/// Something that carries traffic.
pub trait Link {
    /// What a test with a stream or small packets is called here.
    fn label(&self, test: Test) -> &'static str {
        match test {
            Test::Down => "TCP down",
            Test::Up => "TCP up",
            Test::SmallDown => "UDP down",
            Test::SmallUp => "UDP up",
            Test::Ping | Test::PingDown | Test::PingUp => "",
        }
    }

    /// A stream for so long: payload bytes that arrived.
    ///
    /// # Errors
    /// When nothing gets through.
    fn stream(&mut self, way: Way, time: Duration) -> Result<Amount, Failure>;

    /// Packets with [`SMALL`] bytes of payload for so long: those that arrived. `None` where there
    /// are no packets.
    ///
    /// # Errors
    /// When nothing gets through.
    fn small(&mut self, way: Way, time: Duration) -> Result<Option<Amount>, Failure>;

    /// Round trips for so long, with a stream beside them if asked for. `None` where there are
    /// none.
    ///
    /// # Errors
    /// When not one is answered.
    fn ping(
        &mut self,
        _load: Option<Way>,
        _time: Duration,
    ) -> Result<Option<Vec<Duration>>, Failure> {
        Ok(None)
    }

    /// Processor time used up so far.
    fn processor(&self) -> Time {
        Time {
            driver: None,
            all: Some(cost::own()),
        }
    }

    /// Puts the link down and tells what is known only then.
    ///
    /// # Errors
    /// When it does not go down properly or has done something wrong.
    fn end(self: Box<Self>) -> Result<Vec<(Kind, f64)>, Failure> {
        Ok(Vec::new())
    }
}

/// Payload of a small packet in bytes.
pub const SMALL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let amount = |count, time| Amount { count, time }.rate();
        assert_eq!(amount(10, Duration::from_secs(2)), 5.0);
        assert_eq!(amount(10, Duration::ZERO), 0.0);
    }
}
