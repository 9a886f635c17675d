//! The driver's part where a running `up` has the modem: it gets a data session of that `up` for the
//! interface, and configures the interface with the addresses that `up` reports.
//!
//! The process may end in any way: the data session ends with its connection.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use uwwan_modem::client::{JoinedThrough, StatusClient};
use uwwan_modem::host::HostConfig;
use uwwan_modem::join::{JoinNews, JoinOptions};
use uwwan_modem::status::Addresses;

use super::super::beside::GO;
use crate::capture;
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::monitor::Provider;
use crate::output::say;
use crate::session_settings::SessionSettings;
use crate::settings::Settings;

/// MTU in bytes of an interface that has no address yet.
const MTU: u16 = 1500;
/// Time that never ends in practice.
const EVER: Duration = Duration::from_secs(86_400 * 365);

/// Refuses options that concern the modem, which the running `up` has chosen. `given` is the options of
/// the command line.
///
/// # Errors
/// [`FailureKind::Usage`].
pub(super) fn refuse_options(
    given: &Settings,
    emulated: &EmulatedModem,
    capture: &capture::Options,
) -> Result<(), Failure> {
    let first = &given.session_0;
    let taken = Settings {
        device: given.device.clone(),
        timeout: given.timeout,
        session_0: SessionSettings {
            apn: first.apn.clone(),
            ip_type: first.ip_type,
            mtu: first.mtu,
            tun_name: first.tun_name.clone(),
            tun_mode: first.tun_mode,
            route: first.route.clone(),
            route_metric: first.route_metric,
            dns: first.dns,
            ..SessionSettings::default()
        },
        ..Settings::default()
    };
    if *given == taken && emulated.refuse().is_ok() && capture.capture.is_none() {
        return Ok(());
    }
    let why = "uwwan up runs the modem, and its options are chosen there";
    Err(Failure::new(FailureKind::Usage, "an option makes no sense")
        .because(why)
        .next("leave out all but --device, --apn, --ip-type, --mtu, --route, --route-metric, --tun-name, --tun-mode and --timeout"))
}

/// Gets a data session of the `up` whose control socket this is, and maintains its interface until
/// either ends. A byte on `front` reports that packets flow.
///
/// # Errors
/// [`Failure`] with the reason why there is no data session, or why it has ended.
pub(super) fn drive(
    socket: &Path,
    settings: &Settings,
    mut provider: Provider,
    mut config: HostConfig,
    mut front: &UnixStream,
) -> Result<(), Failure> {
    let client = StatusClient::connect(socket)?;
    config.addresses = Addresses {
        mtu: MTU,
        ..Addresses::default()
    };
    let opened = provider.open(&config)?;
    let (mut control, descriptors) = (opened.control, opened.descriptors);
    let first = &settings.session_0;
    let options = JoinOptions {
        carries: opened.kind.carries,
        apn: first.apn.clone(),
        ip_type: first.ip_type,
        mtu: first.mtu,
    };
    let handed: Vec<_> = descriptors.iter().map(|one| one.as_fd()).collect();
    let mut joined = client.join(options, &handed)?;
    drop(descriptors);
    let until = settings.timeout.map(Duration::from_secs_f64);
    let until = until.map(|time| Instant::now() + time);
    let mut online = false;
    loop {
        let news = match next(&mut joined, until.filter(|_| !online))? {
            Some(news) => news,
            None => {
                return Err(
                    Failure::new(FailureKind::Missing, "the data session is over")
                        .because("uwwan up has ended")
                        .next("run the program again: exec then brings the modem up itself"),
                );
            }
        };
        match news {
            JoinNews::Session(number) => say(format!("data session {number} of uwwan up"))?,
            JoinNews::Addresses(addresses) => {
                config.addresses = addresses;
                control.reconfigure(&config)?;
            }
            JoinNews::Online => {
                say(format!("online through {}", control.interface().name))?;
                if !online {
                    // A front that has ended ends this process.
                    let _ = front.write_all(&[GO]);
                }
                online = true;
            }
            JoinNews::Offline(why) if online => say(format!("not online: {why}"))?,
            JoinNews::Offline(why) => {
                return Err(Failure::new(
                    FailureKind::Refused,
                    "the data session does not come up",
                )
                .because(why)
                .next("uwwan status   tells how the modem is"));
            }
            JoinNews::Ended(failure) => return Err(failure),
        }
    }
}

/// Waits for the next event, until that time if there is one.
fn next(joined: &mut JoinedThrough, until: Option<Instant>) -> Result<Option<JoinNews>, Failure> {
    let Some(until) = until else {
        return joined.next(EVER);
    };
    let left = until.saturating_duration_since(Instant::now());
    joined.next(left).map_err(|failure| match Instant::now() {
        now if now >= until => Failure::new(
            FailureKind::Timeout,
            "the data session did not come up in time",
        )
        .at("--timeout")
        .next("uwwan status   tells how the modem is"),
        _ => failure,
    })
}
