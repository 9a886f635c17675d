//! The state of a running `up` as lines of text.

use std::time::Duration;

use serde::Deserialize;
use uwwan_modem::Status;
use uwwan_modem::share::{MbimStatus, Reply};
use uwwan_modem::status::{Addresses, Counter, Direction, EthernetStatus, HostCalls, Traffic};

use crate::commands::up::Month;
use crate::modem_manager::Standing;
use crate::output::{bytes, mbit_s, plain, seconds};
use crate::{sandbox, sharing};

/// Returns the state as lines of text. `before` has the counters of an earlier state and the time
/// since then, from which rates are computed.
pub fn describe(
    status: &Status,
    reply: &Reply,
    before: Option<(Duration, &Traffic)>,
) -> Vec<String> {
    let fields = fields(status, reply, before).into_iter();
    let lines = fields.map(|(name, text)| format!("  {name:<10} {}", plain(&text)));
    std::iter::once(head(status, reply)).chain(lines).collect()
}

/// Returns the line with the device and the process.
pub fn head(status: &Status, reply: &Reply) -> String {
    let device = if status.device.is_empty() {
        reply.device.as_str()
    } else {
        status.device.as_str()
    };
    let model = if status.model.is_empty() {
        String::new()
    } else {
        format!(", {}", plain(&status.model))
    };
    format!("{}{model} (process {})", plain(device), reply.pid)
}

/// Returns the state as pairs of label and text; a text may hold control characters.
pub fn fields(
    status: &Status,
    reply: &Reply,
    before: Option<(Duration, &Traffic)>,
) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut field = |name: &str, text: String| {
        if !text.is_empty() {
            lines.push((name.to_owned(), text));
        }
    };
    let since = seconds(status.since_seconds);
    let why = match status.why.as_str() {
        "" => "starting",
        why => why,
    };
    let state = match status.rung {
        _ if status.online => format!("online for {since}"),
        Some(rung) => format!("{why} (for {since}; reached {rung})"),
        None => format!("{why} (for {since})"),
    };
    field("state", state);
    if let Some(failure) = &status.failure {
        field("failed", failure.headline());
        field("cause", failure.why.join("; "));
        field("next", failure.next.join("; "));
    }
    for diagnosis in &status.diagnosed {
        field("diagnosis", diagnosis.text.clone());
    }
    if let Some(addresses) = status.addresses() {
        for line in describe_addresses(addresses) {
            field("address", line);
        }
    }
    if let Some(interface) = status.interface() {
        let mode = if interface.mode.is_empty() {
            String::new()
        } else {
            format!(", {}", interface.mode)
        };
        field("interface", format!("{}{mode}", interface.name));
    }
    if let Some(ethernet) = &status.ethernet {
        field("link", describe_link(ethernet));
    }
    if let Some(network) = &status.network {
        let mut text = network.provider.clone();
        if !network.provider_id.is_empty() {
            text.push_str(&format!(" ({})", network.provider_id));
        }
        for part in [&network.state, &network.data_classes] {
            if !part.is_empty() {
                text.push_str(&format!(", {part}"));
            }
        }
        field("network", text);
    }
    if let Some(signal) = &status.signal {
        let text = signal
            .rssi_dbm
            .map_or("not told by the modem".to_owned(), |dbm| {
                format!("{dbm} dBm")
            });
        field("signal", text);
    }
    if let Some(framing) = &status.framing {
        let (name, layout) = match framing.format.as_str() {
            "none" => ("frames", "one in a transfer".to_owned()),
            format => ("NTBs", format!("NTB{format}, NDP {}", framing.ndp)),
        };
        field(
            name,
            format!(
                "{layout}, up to {} out and {} in, {} and {} transfers in flight",
                bytes(framing.output_size.into()),
                bytes(framing.input_size.into()),
                framing.send_transfers,
                framing.receive_transfers,
            ),
        );
    }
    if let Some(heal) = &status.heal {
        field("healing", heal.text.clone());
    }
    let rate = |now: u64, then: fn(&Traffic) -> u64| {
        before.map_or(String::new(), |(time, traffic)| {
            format!(
                ", {:.2} Mbit/s",
                mbit_s(now.saturating_sub(then(traffic)), time)
            )
        })
    };
    let traffic = &status.traffic;
    let frames = (status.framing.as_ref()).is_some_and(|framing| framing.format == "none");
    field(
        "up",
        describe_direction(&traffic.uplink, frames)
            + &rate(traffic.uplink.bytes, |t| t.uplink.bytes),
    );
    field(
        "down",
        describe_direction(&traffic.downlink, frames)
            + &rate(traffic.downlink.bytes, |t| t.downlink.bytes),
    );
    for session in status
        .sessions
        .iter()
        .filter(|session| session.session != 0)
    {
        let name = format!("session {}", session.session);
        let state = match (&session.interface, session.online) {
            (Some(interface), true) => format!("online through {}", interface.name),
            _ => format!("not online: {}", session.why),
        };
        field(&name, state);
        let addresses = session.addresses.as_ref();
        for line in addresses.map(describe_addresses).unwrap_or_default() {
            field("", line);
        }
        if session.online {
            // NTBs are counted for all data sessions together.
            let words = |direction: &Direction| {
                format!("{}, {} packets", bytes(direction.bytes), direction.packets)
            };
            let (up, down) = (words(&session.uplink), words(&session.downlink));
            field("", format!("up {up}; down {down}"));
        }
    }
    field("host", describe_host(&traffic.host));
    field("closed by", describe_counters(&traffic.closed));
    field("dropped", describe_counters(&traffic.dropped));
    field("errors", describe_counters(&traffic.errors));
    let proxy = reply.status.as_ref().and_then(|value| value.get("proxy"));
    if let Some(Ok(proxy)) = proxy.map(MbimStatus::deserialize) {
        for line in sharing::describe(&proxy) {
            field("mbim", line);
        }
        if proxy.clients > 0 {
            field("clients", proxy.clients.to_string());
        }
    }
    let at = reply.status.as_ref().and_then(|value| value.get("at_port"));
    if let Some(terminal) = at.and_then(|at| at.get("terminal")?.as_str()) {
        let silent = at.and_then(|at| at.get("port")?.as_str()).is_none();
        let state = if silent { " (no answer yet)" } else { "" };
        field("AT", format!("{terminal}{state}"));
    }
    let processes = reply
        .status
        .as_ref()
        .and_then(|value| value.get("processes"));
    if let Some(Ok(processes)) = processes.map(Vec::<sandbox::State>::deserialize) {
        for process in &processes {
            field("confined", process.to_string());
        }
    }
    let manager = reply.status.as_ref();
    let manager = manager.and_then(|value| value.get("modem_manager"));
    if let Some(Ok(standing)) = manager.map(Standing::deserialize)
        && let Some(text) = standing.line()
    {
        field("manager", format!("ModemManager {text}"));
    }
    let month = reply.status.as_ref().and_then(|value| value.get("usage"));
    if let Some(Ok(month)) = month
        .filter(|value| !value.is_null())
        .map(Month::deserialize)
    {
        field("data use", month.to_string());
    }
    if status.attempts > 1 {
        field("bring-ups", status.attempts.to_string());
    }
    lines
}

/// Returns a description of the link of a network device: `up, 426 Mbit/s down and 426 up, address
/// 02:42:ac:11:00:0f, frames of up to 1514 bytes`.
fn describe_link(ethernet: &EthernetStatus) -> String {
    let mut text = match ethernet.link {
        Some(true) => "up".to_owned(),
        Some(false) => "down".to_owned(),
        None => "not told by the device".to_owned(),
    };
    if (ethernet.downlink_bits, ethernet.uplink_bits) != (0, 0) {
        let rate = |bits: u32| (f64::from(bits) / 1e6).round();
        text.push_str(&format!(
            ", {} Mbit/s down and {} up",
            rate(ethernet.downlink_bits),
            rate(ethernet.uplink_bits)
        ));
    }
    if !ethernet.address.is_empty() {
        text.push_str(&format!(", address {}", ethernet.address));
    }
    if ethernet.frame_size != 0 {
        text.push_str(&format!(", frames of up to {} bytes", ethernet.frame_size));
    }
    text
}

/// Returns descriptions of the addresses with gateways and name servers, one line for each address
/// family.
pub fn describe_addresses(addresses: &Addresses) -> Vec<String> {
    let mut lines = Vec::new();
    let mut family = |address: String, gateway: Option<String>, servers: Vec<String>| {
        let mut line = address;
        match gateway {
            Some(gateway) => line.push_str(&format!(" via {gateway}")),
            None => line.push_str(" on-link"),
        }
        if !servers.is_empty() {
            line.push_str(&format!(", DNS {}", servers.join(" ")));
        }
        lines.push(line);
    };
    if let Some(prefix) = addresses.ipv4 {
        family(
            format!("{}/{}", prefix.address, prefix.prefix),
            addresses.gateway4.map(|g| g.to_string()),
            addresses.dns4.iter().map(ToString::to_string).collect(),
        );
    }
    if let Some(prefix) = addresses.ipv6 {
        family(
            format!("{}/{}", prefix.address, prefix.prefix),
            addresses.gateway6.map(|g| g.to_string()),
            addresses.dns6.iter().map(ToString::to_string).collect(),
        );
    }
    lines
}

fn describe_host(host: &HostCalls) -> String {
    if *host == HostCalls::default() {
        return String::new();
    }
    let mut text = format!("{} reads, {} writes", host.reads, host.writes);
    if (host.cut, host.merged) != (0, 0) {
        text.push_str(&format!(
            "; {} large packets cut, {} packets merged, {} moved",
            host.cut,
            host.merged,
            bytes(host.moved_bytes)
        ));
    }
    if host.superseded_acks > 0 {
        text.push_str(&format!(
            "; {} superseded ACKs left out",
            host.superseded_acks
        ));
    }
    if host.damaged > 0 {
        text.push_str(&format!("; {} with a wrong checksum", host.damaged));
    }
    text
}

/// Describes what has gone in a direction, in NTBs or as `frames` without them.
fn describe_direction(direction: &Direction, frames: bool) -> String {
    let mut text = format!("{}, {} packets", bytes(direction.bytes), direction.packets);
    if !frames {
        text += &format!(", {} NTBs", direction.blocks);
        if direction.blocks > 0 {
            let each = direction.packets as f64 / direction.blocks as f64;
            text += &format!(" ({each:.1} packets each)");
        }
    }
    text
}

fn describe_counters(counters: &[Counter]) -> String {
    counters
        .iter()
        .filter(|counter| counter.count > 0)
        .map(|counter| format!("{} {}", counter.name, counter.count))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::Rung;
    use uwwan_modem::status::{FramingStatus, Network, Prefix4, Prefix6, SessionStatus};

    fn reply() -> Reply {
        Reply {
            ok: true,
            pid: 42,
            device: "1-4".into(),
            ..Reply::default()
        }
    }

    #[test]
    fn an_online_modem_is_described() {
        let status = Status {
            device: "03f0:a31d at 1-4".into(),
            online: true,
            since_seconds: 182.0,
            sessions: vec![SessionStatus {
                addresses: Some(Addresses {
                    ipv4: Some(Prefix4 {
                        address: [10, 169, 198, 77].into(),
                        prefix: 30,
                    }),
                    gateway4: Some([10, 169, 198, 78].into()),
                    dns4: vec![[193, 213, 112, 4].into()],
                    ipv6: Some(Prefix6 {
                        address: "2001:db8::1".parse().unwrap(),
                        prefix: 64,
                    }),
                    ..Addresses::default()
                }),
                ..SessionStatus::default()
            }],
            network: Some(Network {
                provider: "Tele\u{1b}nor".into(),
                provider_id: "24201".into(),
                state: "home".into(),
                ..Network::default()
            }),
            traffic: Traffic {
                uplink: Direction {
                    packets: 10,
                    bytes: 1_000,
                    blocks: 4,
                    block_bytes: 1_200,
                },
                dropped: vec![Counter {
                    name: "no-room".into(),
                    count: 3,
                }],
                ..Traffic::default()
            },
            ..Status::default()
        };
        let text = describe(&status, &reply(), None).join("\n");
        for part in [
            "03f0:a31d at 1-4 (process 42)",
            "online for 3 min 2 s",
            "10.169.198.77/30 via 10.169.198.78, DNS 193.213.112.4",
            "2001:db8::1/64 on-link",
            "Tele\u{fffd}nor (24201), home",
            "1.0 kB, 10 packets, 4 NTBs (2.5 packets each)",
            "no-room 3",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn frames_without_ntbs_are_not_called_ntbs() {
        let status = Status {
            framing: Some(FramingStatus {
                format: "none".into(),
                ..FramingStatus::default()
            }),
            traffic: Traffic {
                uplink: Direction {
                    packets: 2,
                    bytes: 92,
                    blocks: 2,
                    block_bytes: 120,
                },
                ..Traffic::default()
            },
            ..Status::default()
        };
        let text = describe(&status, &reply(), None).join("\n");
        assert!(
            text.contains("92 B, 2 packets\n") && !text.contains("NTB"),
            "{text}"
        );
    }

    #[test]
    fn the_largest_counters_are_described() {
        let most = u64::MAX;
        let direction = Direction {
            packets: most,
            bytes: most,
            blocks: most,
            block_bytes: most,
        };
        let status = Status {
            since_seconds: f64::MAX,
            traffic: Traffic {
                uplink: direction,
                downlink: direction,
                host: HostCalls {
                    reads: most,
                    writes: most,
                    cut: most,
                    merged: most,
                    ..HostCalls::default()
                },
                ..Traffic::default()
            },
            ..Status::default()
        };
        let before = Some((Duration::ZERO, &status.traffic));
        let text = describe(&status, &reply(), before).join("\n");
        assert!(
            text.contains("18446744073709551615 large packets cut"),
            "{text}"
        );
    }

    #[test]
    fn the_link_of_a_network_device_is_described() {
        let mut link = EthernetStatus {
            link: Some(true),
            downlink_bits: 425_984_000,
            uplink_bits: 425_984_000,
            address: "02:42:ac:11:00:0f".into(),
            frame_size: 1514,
        };
        assert_eq!(
            describe_link(&link),
            "up, 426 Mbit/s down and 426 up, address 02:42:ac:11:00:0f, frames of up to 1514 bytes"
        );
        link = EthernetStatus {
            link: Some(false),
            ..EthernetStatus::default()
        };
        assert_eq!(describe_link(&link), "down");
    }

    #[test]
    fn a_modem_on_its_way_says_where_it_is() {
        let status = Status {
            rung: Some(Rung::Open),
            trying: Some(Rung::Sim),
            since_seconds: 2.0,
            why: "trying sim".into(),
            ..Status::default()
        };
        let text = describe(&status, &reply(), None).join("\n");
        assert!(
            text.contains("trying sim (for 2.00 s; reached open)"),
            "{text}"
        );
    }

    #[test]
    fn rates_come_from_two_states() {
        let before = Traffic::default();
        let status = Status {
            traffic: Traffic {
                downlink: Direction {
                    bytes: 1_000_000,
                    ..Direction::default()
                },
                ..Traffic::default()
            },
            ..Status::default()
        };
        let text = describe(&status, &reply(), Some((Duration::from_secs(1), &before))).join("\n");
        assert!(text.contains("8.00 Mbit/s"), "{text}");
    }
}
