//! Maintains the host's configuration while other programs change it.

use std::time::{Duration, Instant};

use uwwan_tun::{Change, Configuration, Error, Watch};

use super::control::HostNews;

/// Number of times that removed parts are put back, unless nothing is removed for [`PERIOD`].
const MOST_TIMES: usize = 5;
/// Time without a removal after which the earlier ones no longer count.
const PERIOD: Duration = Duration::from_secs(60);

/// Configuration of the host that can be checked and put back.
pub(super) trait Maintained {
    /// Returns what of it is not there at present.
    fn missing(&mut self) -> Result<Vec<Change>, Error>;
    /// Returns the default routes of other interfaces that go before its own, a line each.
    fn rivals(&mut self) -> Result<Vec<String>, Error>;
    /// Puts the missing parts back.
    fn put_back(&mut self) -> Result<(), Error>;
}

impl Maintained for Configuration {
    fn missing(&mut self) -> Result<Vec<Change>, Error> {
        Self::missing(self)
    }

    fn rivals(&mut self) -> Result<Vec<String>, Error> {
        Self::rivals(self)
    }

    fn put_back(&mut self) -> Result<(), Error> {
        Self::put_back(self)
    }
}

/// Watches an interface. Without a watch the interface works, and nothing is put back.
pub(super) fn watch(index: u32, changed: Box<dyn Fn() + Send>) -> Option<Watch> {
    Watch::start(index, changed)
        .inspect_err(|error| tracing::warn!("{error}"))
        .ok()
}

/// Upkeep of one interface. Removed parts are put back a few times; after that they are left, and a
/// report is made.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Number of times that a part was put back, or could not be.
    times: usize,
    /// Time of the last of these attempts.
    last: Option<Instant>,
    /// Whether missing parts are left so, until nothing is missing.
    left: bool,
    /// Whether a failure was reported, and nothing has worked since.
    failed: bool,
    /// Default routes of other interfaces that were reported.
    rivals: Vec<String>,
}

impl Upkeep {
    /// Checks the configuration, puts missing parts back, and returns the news. `culprit` is the
    /// program that made the last change, if it is known.
    pub(super) fn attend(
        &mut self,
        now: Instant,
        what: &mut impl Maintained,
        culprit: Option<&str>,
    ) -> Vec<HostNews> {
        let mut news = Vec::new();
        let missing = match what.missing() {
            Ok(missing) => missing,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    news.push(HostNews::Trouble(error.to_string()));
                }
                return news;
            }
        };
        if missing.is_empty() {
            self.left = false;
            self.failed = false;
        } else if !self.left {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            news.extend(self.put_back(now, what, &missing.join(", "), culprit));
        }
        let rivals = what.rivals().unwrap_or_default();
        for rival in &rivals {
            if !self.rivals.contains(rival) {
                news.push(HostNews::Trouble(format!(
                    "another default route goes before this one: {rival}{}",
                    by(culprit)
                )));
            }
        }
        self.rivals = rivals;
        news
    }

    /// Takes the present configuration as intact after the driver itself has changed it.
    pub(super) fn begin(&mut self, what: &mut impl Maintained) {
        *self = Self {
            rivals: what.rivals().unwrap_or_default(),
            ..Self::default()
        };
    }

    fn put_back(
        &mut self,
        now: Instant,
        what: &mut impl Maintained,
        missing: &str,
        culprit: Option<&str>,
    ) -> Option<HostNews> {
        if self.last.is_some_and(|last| last + PERIOD <= now) {
            self.times = 0;
        }
        self.last = Some(now);
        if self.times >= MOST_TIMES {
            self.left = true;
            return Some(HostNews::Trouble(format!(
                "taken away {MOST_TIMES} times{}, and left so: {missing}",
                by(culprit)
            )));
        }
        self.times += 1;
        let put_back = what.put_back();
        // The configuration is read back for the status.
        let _ = what.missing();
        match put_back {
            Ok(()) => {
                self.failed = false;
                Some(HostNews::PutBack(format!(
                    "taken away{}, and put back: {missing}",
                    by(culprit)
                )))
            }
            Err(error) => (!std::mem::replace(&mut self.failed, true)).then(|| {
                HostNews::Trouble(format!(
                    "taken away{}: {missing}; it cannot be put back at present: {error}",
                    by(culprit)
                ))
            }),
        }
    }
}

fn by(culprit: Option<&str>) -> String {
    culprit.map_or_else(String::new, |culprit| format!(" by {culprit}"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use uwwan_tun::{Address, Prefix, Route};

    use super::*;

    fn default_route() -> Change {
        Change::Route(Route {
            destination: Prefix::ALL_V4,
            gateway: None,
            metric: None,
        })
    }

    #[derive(Default)]
    struct Fake {
        missing: Vec<Change>,
        rivals: Vec<String>,
        put_back: usize,
        broken: bool,
    }

    impl Maintained for Fake {
        fn missing(&mut self) -> Result<Vec<Change>, Error> {
            Ok(self.missing.clone())
        }
        fn rivals(&mut self) -> Result<Vec<String>, Error> {
            Ok(self.rivals.clone())
        }
        fn put_back(&mut self) -> Result<(), Error> {
            if self.broken {
                return Err(Error {
                    kind: uwwan_tun::ErrorKind::NoPermission,
                    what: "set the address".into(),
                    why: "IPv6 is switched off".into(),
                    next: String::new(),
                    source: None,
                });
            }
            self.missing.clear();
            self.put_back += 1;
            Ok(())
        }
    }

    #[test]
    fn a_fight_ends_and_is_told_with_the_other_side() {
        let (mut upkeep, mut fake) = (Upkeep::default(), Fake::default());
        let now = Instant::now();
        assert_eq!(upkeep.attend(now, &mut fake, None), []);
        for round in 0..MOST_TIMES {
            fake.missing = vec![default_route()];
            let news = upkeep.attend(now, &mut fake, Some("process 42 (dhclient)"));
            assert!(
                matches!(&news[..], [HostNews::PutBack(text)] if text.contains("dhclient")),
                "{round}: {news:?}"
            );
        }
        fake.missing = vec![default_route()];
        let news = upkeep.attend(now, &mut fake, Some("process 42 (dhclient)"));
        let told = matches!(&news[..], [HostNews::Trouble(text)]
            if text.contains("process 42 (dhclient)") && text.contains("route 0.0.0.0/0"));
        assert!(told, "{news:?}");
        assert_eq!(upkeep.attend(now, &mut fake, None), [], "once");
        assert_eq!(fake.put_back, MOST_TIMES);
        // A program that puts the configuration back ends the conflict; after a while it may begin
        // again.
        fake.missing.clear();
        assert_eq!(upkeep.attend(now, &mut fake, None), []);
        fake.missing = vec![default_route()];
        let news = upkeep.attend(now + PERIOD, &mut fake, None);
        assert!(matches!(&news[..], [HostNews::PutBack(_)]), "{news:?}");
    }

    #[test]
    fn a_slow_fight_ends_too() {
        let (mut upkeep, mut fake) = (Upkeep::default(), Fake::default());
        let mut now = Instant::now();
        for _ in 0..3 * MOST_TIMES {
            fake.missing = vec![default_route()];
            upkeep.attend(now, &mut fake, None);
            now += PERIOD / 4;
        }
        assert_eq!(fake.put_back, MOST_TIMES);
    }

    #[test]
    fn what_cannot_be_put_back_is_tried_again() {
        let (mut upkeep, mut fake) = (Upkeep::default(), Fake::default());
        fake.missing = vec![Change::Address(Address::new(
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
            64,
        ))];
        fake.broken = true;
        let now = Instant::now();
        let news = upkeep.attend(now, &mut fake, None);
        assert!(matches!(&news[..], [HostNews::Trouble(text)] if text.contains("at present")));
        assert_eq!(upkeep.attend(now, &mut fake, None), [], "told once");
        fake.broken = false;
        let news = upkeep.attend(now, &mut fake, None);
        assert!(matches!(&news[..], [HostNews::PutBack(_)]), "{news:?}");
    }

    #[test]
    fn another_default_route_is_told_once() {
        let (mut upkeep, mut fake) = (Upkeep::default(), Fake::default());
        fake.rivals = vec!["default metric 100 through eth0".into()];
        upkeep.begin(&mut fake);
        let now = Instant::now();
        assert_eq!(upkeep.attend(now, &mut fake, None), [], "there before");
        fake.rivals.push("default metric 50 through wlan0".into());
        let news = upkeep.attend(now, &mut fake, None);
        assert!(matches!(&news[..], [HostNews::Trouble(text)] if text.contains("wlan0")));
        assert_eq!(upkeep.attend(now, &mut fake, None), []);
    }
}
