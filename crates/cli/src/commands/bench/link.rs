//! The measurements of a bench, and the trait of whatever they are taken on.

use std::time::Duration;

use uwwan_figures::Kind;
use uwwan_modem::status::FramingStatus;

use super::cost::{self, Time};
use crate::failure::Failure;

/// Direction of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Traffic comes from the network.
    Down,
    /// Traffic goes to the network.
    Up,
}

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// A TCP stream from the network.
    Down,
    /// A TCP stream to the network.
    Up,
    /// Small UDP packets from the network, as many as the link carries.
    SmallDown,
    /// Small UDP packets to the network, as many as the link carries.
    SmallUp,
    /// Round trips without other traffic.
    Ping,
    /// Round trips while a stream comes down.
    PingDown,
    /// Round trips while a stream goes up.
    PingUp,
}

impl Test {
    /// All measurements, each with its word on the command line.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("down", Self::Down),
        ("up", Self::Up),
        ("small-down", Self::SmallDown),
        ("small-up", Self::SmallUp),
        ("ping", Self::Ping),
        ("ping-down", Self::PingDown),
        ("ping-up", Self::PingUp),
    ];

    /// Returns the word on the command line.
    pub fn word(self) -> &'static str {
        let mut all = Self::VALUES.iter();
        all.find(|(_, test)| *test == self)
            .map_or("", |(word, _)| word)
    }

    /// Returns whether round trips are measured.
    pub fn is_ping(self) -> bool {
        matches!(self, Self::Ping | Self::PingDown | Self::PingUp)
    }

    /// Returns whether small packets are measured.
    pub fn is_small(self) -> bool {
        matches!(self, Self::SmallDown | Self::SmallUp)
    }
}

/// The traffic that has got through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// Number of payload bytes of a stream, or of packets.
    pub count: u64,
    /// Time that the traffic took.
    pub time: Duration,
}

impl Amount {
    /// Returns the count per second, or 0 when no time has passed.
    pub fn rate(&self) -> f64 {
        let seconds = self.time.as_secs_f64();
        if seconds > 0.0 {
            self.count as f64 / seconds
        } else {
            0.0
        }
    }
}

/// A link that carries the traffic of measurements.
pub trait Link {
    /// Returns the name of a test with a stream or small packets on this link.
    fn label(&self, test: Test) -> &'static str {
        match test {
            Test::Down => "TCP down",
            Test::Up => "TCP up",
            Test::SmallDown => "UDP down",
            Test::SmallUp => "UDP up",
            Test::Ping | Test::PingDown | Test::PingUp => "",
        }
    }

    /// Sends a stream for `time`, and returns the payload bytes that arrived.
    ///
    /// # Errors
    /// Fails when nothing gets through.
    fn stream(&mut self, direction: Direction, time: Duration) -> Result<Amount, Failure>;

    /// Sends packets with [`SMALL`] bytes of payload for `time`, and returns the number of those
    /// that arrived, or `None` on a link without packets.
    ///
    /// # Errors
    /// Fails when nothing gets through.
    fn small(&mut self, direction: Direction, time: Duration) -> Result<Option<Amount>, Failure>;

    /// Measures round trips for a time, with a stream beside them if a load is given. Returns
    /// `None` on a link without round trips.
    ///
    /// # Errors
    /// Fails when not one request is answered.
    fn ping(
        &mut self,
        _load: Option<Direction>,
        _time: Duration,
    ) -> Result<Option<Vec<Duration>>, Failure> {
        Ok(None)
    }

    /// Returns the layout of NTBs that driver and modem have agreed on; `None` on a link without a modem.
    fn framing(&self) -> Option<FramingStatus> {
        None
    }

    /// Returns the processor time that was used so far.
    fn processor(&self) -> Time {
        Time {
            driver: None,
            all: Some(cost::own()),
            ..Time::default()
        }
    }

    /// Takes the link down, and returns the figures that are known only then.
    ///
    /// # Errors
    /// Fails when the link does not go down cleanly, or has broken a rule.
    fn end(self: Box<Self>) -> Result<Vec<(Kind, f64)>, Failure> {
        Ok(Vec::new())
    }
}

/// Length of the payload of a small packet in bytes.
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
