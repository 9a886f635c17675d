//! Texts of failures: the operation and how it ended, the likely cause, and the next step.

use uwwan_mbim::status::{NwError, Status};
use uwwan_ncm::Framing;
use uwwan_usb::error::{Error as UsbError, Holder};

use crate::failure::{Code, Failure, FailureKind, Rung};
use crate::fcc;
use crate::quirks::Quirk;

/// Returns a failure of the usual kind of its rung.
pub(crate) fn failure(rung: Rung, fatal: bool, what: String, cause: &str, next: &str) -> Failure {
    Failure {
        fatal,
        ..Failure::new(FailureKind::usual(rung), what)
            .at(rung)
            .because(cause)
            .next(next)
    }
}

/// Returns the failure of a rung for a secret that could not be fetched. Trying again alone does not
/// help.
pub(crate) fn secret(rung: Rung, failure: Failure) -> Failure {
    let file = failure.place.clone();
    Failure {
        fatal: true,
        ..failure.at(rung).because(file)
    }
}

/// Returns the failure for an error of a USB operation.
pub(crate) fn usb(rung: Rung, error: &UsbError) -> Failure {
    let (cause, next, fatal) = match error {
        UsbError::Gone { .. } => (
            "the device was unplugged, or it has reset itself and enumerates again",
            "nothing, if it comes back by itself; else check cable, port and power",
            false,
        ),
        UsbError::Busy {
            holder: Some(Holder::Program(_)),
            ..
        } => (
            "another program has the device open: another uwwan, a virtual machine, usb_modeswitch",
            "stop it (`uwwan down`, or look with `fuser /dev/bus/usb/BBB/DDD`) and try again",
            // The switch of the configuration has already waited for it.
            true,
        ),
        UsbError::Busy { .. } => (
            "a kernel driver holds the device or binds to it again and again",
            "stop ModemManager, or keep the driver away (`modprobe -r cdc_mbim option`) and try again",
            false,
        ),
        UsbError::NoPermission { .. } => (
            "this user may not write to the device node",
            "install the udev rule from the README, or run as root",
            true,
        ),
        UsbError::Stall { .. } => (
            "the firmware refuses this request",
            "unplug the modem and plug it in again; if it stays, report it with `uwwan usb descriptors`",
            false,
        ),
        UsbError::Timeout { .. } => (
            "the firmware hangs or is still starting",
            "wait a minute; then unplug the modem and plug it in again",
            false,
        ),
        UsbError::NoMemory { .. } => (
            "other USB devices have used up the kernel's memory for transfers",
            "raise /sys/module/usbcore/parameters/usbfs_memory_mb, or lower --in-flight",
            false,
        ),
        UsbError::NoSuchEndpoint { .. } | UsbError::Other { .. } => (
            "an error of the USB stack or the host controller",
            "look at the kernel log (`dmesg`)",
            false,
        ),
    };
    let kind = match error {
        UsbError::Gone { .. } => FailureKind::Missing,
        UsbError::Busy { .. } => FailureKind::Busy,
        UsbError::NoPermission { .. } => FailureKind::Permission,
        UsbError::Stall { .. } => FailureKind::Refused,
        UsbError::Timeout { .. }
        | UsbError::NoMemory { .. }
        | UsbError::NoSuchEndpoint { .. }
        | UsbError::Other { .. } => FailureKind::Host,
    };
    failure(rung, fatal, error.to_string(), cause, next).of(kind)
}

/// Returns the failure for a host interface that could not be set up.
pub(crate) fn host(error: Failure) -> Failure {
    Failure {
        what: error.one_line(),
        why: vec!["the host does not allow it or something is in the way".to_owned()],
        fatal: true,
        ..error
    }
    .at(Rung::Host)
}

/// Returns the failure for a command without an answer.
pub(crate) fn no_answer(rung: Rung, what: &str, seconds: u64) -> Failure {
    failure(
        rung,
        false,
        format!("{what}: no answer in {seconds} s"),
        "the firmware hangs or is still starting",
        "unplug the modem and plug it in again if that stays",
    )
}

/// Returns the failure for an answer that cannot be decoded.
pub(crate) fn bad_answer(rung: Rung, what: &str, why: &dyn std::fmt::Display) -> Failure {
    failure(
        rung,
        false,
        format!("{what}: the answer makes no sense: {why}"),
        "a firmware error",
        "report it with the message as hex (`uwwan mbim decode`)",
    )
}

/// Returns the failure of a SIM that is missing.
pub(crate) fn sim_missing(rung: Rung) -> Failure {
    status(rung, "the SIM", Status::SIM_NOT_INSERTED, None)
}

/// Returns the failure of a radio that does not come on `waited` seconds after it was switched on.
pub(crate) fn radio_does_not_follow(waited: u64) -> Failure {
    failure(
        Rung::Radio,
        false,
        format!("the radio did not come on in {waited} s"),
        "the firmware does not follow",
        "",
    )
}

/// Returns the failure of a radio that stays off where no FCC lock is known: the modem reports that
/// it has none, or it is not among those that have one, or the lock was lifted before, which
/// `tried` says.
pub(crate) fn radio_off(waited: u64, quirk: &Quirk, tried: bool) -> Failure {
    let failure = radio_does_not_follow(waited);
    let (cause, next) = if tried {
        (
            "the FCC lock was lifted before, and something else keeps the radio off",
            "unplug the modem and plug it in again",
        )
    } else if quirk.fcc_unlock.is_some() {
        (
            "the modem says that no FCC lock keeps the radio off",
            "unplug the modem and plug it in again",
        )
    } else {
        (
            "some modems stay off until unlocked for their laptop (FCC lock), and no public way is known for this one",
            "start the modem in the laptop it was sold in, or with its maker's tool; then try again",
        )
    };
    failure.because(cause).next(next)
}

/// Returns the failure `what` of a modem that reports an FCC lock. `tried` says that lifting it did
/// not help.
pub(crate) fn fcc_locked(rung: Rung, what: &str, quirk: &Quirk, tried: bool) -> Failure {
    let why = format!(
        "the {} has an FCC lock: it stays off until unlocked for the machine it was sold in",
        quirk.name
    );
    let failure = failure(rung, true, what.to_owned(), &why, "").of(FailureKind::Refused);
    with_unlocking(failure, tried)
}

/// Returns the failure of a modem that does not report whether it is locked, and is among those
/// that may have an FCC lock. `tried` says that lifting it did not help.
pub(crate) fn maybe_fcc_locked(failure: Failure, quirk: &Quirk, tried: bool) -> Failure {
    let why = format!(
        "the {} may have an FCC lock: then it stays off until unlocked for the machine it was sold in",
        quirk.name
    );
    with_unlocking(failure.because(why), tried)
}

/// Adds the steps against an FCC lock.
fn with_unlocking(failure: Failure, tried: bool) -> Failure {
    if tried {
        return failure
            .because("the public way to lift the lock was tried and did not help")
            .next("look for the modem in ModemManager's list of FCC unlock procedures");
    }
    failure.next(format!(
        "`uwwan radio unlock` lifts the lock until the modem starts anew, `uwwan up --fcc-unlock` each time; {}",
        fcc::RESPONSIBILITY
    ))
}

/// Returns the failure for a status other than success, with the network's cause if it gave one.
pub(crate) fn status(rung: Rung, what: &str, status: Status, network: Option<NwError>) -> Failure {
    let mut text = format!("{what}: {} ({})", status.name(), status.explanation());
    if let Some(cause) = network.filter(|cause| cause.0 != 0) {
        text.push_str(&format!(
            "; the network says {cause} ({})",
            cause.explanation()
        ));
        let (why, next, fatal) = network_cause(cause);
        return failure(rung, fatal, text, why, next).with(Code::Network(cause));
    }
    let (cause, next, fatal) = match status {
        Status::SIM_NOT_INSERTED => (
            "no SIM, or it does not sit right",
            "put a SIM in, contacts to the modem, and plug the modem in again",
            true,
        ),
        Status::BAD_SIM => (
            "the SIM is damaged or of a kind the modem cannot use",
            "try another SIM",
            true,
        ),
        Status::PIN_REQUIRED => ("the SIM waits for its PIN", "give it with --pin-file", true),
        Status::NOT_REGISTERED => (
            "the modem has no network",
            "check antenna and coverage (`uwwan operator scan`)",
            false,
        ),
        Status::NO_DEVICE_SUPPORT => (
            "the firmware does not have this function",
            "go without it",
            true,
        ),
        Status::PACKET_SERVICE_DETACHED => ("the network has detached the modem", "", false),
        Status::MAX_ACTIVATED_CONTEXTS => (
            "sessions of an earlier program are still active in the modem",
            "",
            false,
        ),
        Status::INVALID_ACCESS_STRING => (
            "the access point name is wrong",
            "ask the operator for it and give it with --apn",
            true,
        ),
        Status::INVALID_USER_NAME_PWD => (
            "user name or password for the access point are wrong",
            "give them with --auth, --user and --password-file",
            true,
        ),
        Status::SERVICE_NOT_ACTIVATED => (
            "the subscription is not activated",
            "ask the operator, or activate the SIM in a phone",
            true,
        ),
        Status::RADIO_POWER_OFF => (
            "the radio is off",
            "`uwwan radio on`, or the laptop's wireless switch",
            false,
        ),
        // An FCC lock has an effect on no other rung.
        Status::OPERATION_NOT_ALLOWED if rung == Rung::Radio => (
            "the firmware does not allow this now; some modems stay off until unlocked for their laptop (FCC lock)",
            "look for the modem in ModemManager's list of FCC unlock procedures",
            false,
        ),
        Status::OPERATION_NOT_ALLOWED => ("the firmware does not allow this now", "", false),
        Status::BUSY | Status::NOT_INITIALIZED => ("the firmware is still starting", "", false),
        _ => (
            "the modem does not say more",
            "try again; then unplug the modem and plug it in again",
            false,
        ),
    };
    failure(rung, fatal, text, cause, next).with(Code::Status(status))
}

/// Returns cause, next step and whether repetition will not help, for a cause the network gave
/// (3GPP TS 24.008 sections 10.5.5.14 and 10.5.6.6, TS 24.301 sections 9.9.3.9 and 9.9.4.4).
fn network_cause(cause: NwError) -> (&'static str, &'static str, bool) {
    match cause.normalised() {
        NwError::IMSI_UNKNOWN_IN_HLR
        | NwError::ILLEGAL_MS
        | NwError::ILLEGAL_ME
        | NwError::GPRS_AND_NON_GPRS_NOT_ALLOWED => (
            "the network does not know or has barred this SIM or modem",
            "ask the operator; try the SIM in a phone",
            true,
        ),
        NwError::IMEI_NOT_ACCEPTED => (
            "the network has barred this modem by its IMEI",
            "ask the operator",
            true,
        ),
        NwError::GPRS_NOT_ALLOWED | NwError::GPRS_NOT_ALLOWED_IN_PLMN => (
            "the subscription has no data service here",
            "ask the operator, or --roaming elsewhere",
            true,
        ),
        NwError::PLMN_NOT_ALLOWED
        | NwError::LOCATION_AREA_NOT_ALLOWED
        | NwError::ROAMING_NOT_ALLOWED_IN_LOCATION_AREA
        | NwError::NO_CELLS_IN_LOCATION_AREA => (
            "this network does not take this SIM here",
            "look for another with `uwwan operator scan`",
            false,
        ),
        NwError::NETWORK_FAILURE
        | NwError::CONGESTION
        | NwError::INSUFFICIENT_RESOURCES
        | NwError::SERVICE_OPTION_TEMPORARILY_OUT_OF_ORDER
        | NwError::SEVERE_NETWORK_FAILURE => ("the network is busy or out of order", "", false),
        NwError::MISSING_OR_UNKNOWN_APN => (
            "the access point name is missing or wrong",
            "ask the operator for it and give it with --apn",
            true,
        ),
        NwError::USER_AUTHENTICATION_FAILED => (
            "user name or password for the access point are wrong",
            "give them with --auth, --user and --password-file",
            true,
        ),
        NwError::SERVICE_OPTION_NOT_SUPPORTED
        | NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED => (
            "the subscription does not include this access point or address family",
            "check --apn and --ip-type with the operator",
            true,
        ),
        NwError::UNKNOWN_PDP_ADDRESS_OR_TYPE
        | NwError::PDP_TYPE_IPV4_ONLY_ALLOWED
        | NwError::PDP_TYPE_IPV6_ONLY_ALLOWED => (
            "the access point does not offer this address family",
            "choose another with --ip-type",
            true,
        ),
        NwError::MAXIMUM_NUMBER_OF_PDP_CONTEXTS_REACHED => {
            ("too many sessions are active", "", false)
        }
        NwError::REQUESTED_APN_NOT_SUPPORTED_IN_CURRENT_RAT_AND_PLMN => (
            "the access point is not offered on this radio technology",
            "check --apn with the operator",
            true,
        ),
        NwError::APN_RESTRICTION_VALUE_INCOMPATIBLE_WITH_ACTIVE_PDP_CONTEXT => (
            "the access point cannot be used beside the others active",
            "check --apn with the operator",
            true,
        ),
        _ => (
            "the network refuses",
            "try again; then ask the operator",
            false,
        ),
    }
}

/// Reason why a modem whose firmware decides by the operator refuses IPv6.
pub(crate) const PLMN_CAUSE: &str = "the firmware allows IPv6 only for operators in its PLMN profile list; a SIM of any \
     other operator gets the profile \"00000\" (generic), which is IPv4 only";
/// Next step after [`PLMN_CAUSE`].
pub(crate) const PLMN_NEXT: &str = "`uwwan ipv6 enable` adds the SIM's operator to profile \"99999\" (AT^PLMNLIST) and restarts the \
     modem, `uwwan ipv6 status` explains; until then use --ip-type ipv4";

/// Returns the failure for IPv6 alone that the device itself refused.
pub(crate) fn ipv6_refused(what: &str, quirk: &Quirk) -> Failure {
    let text = format!(
        "{what}: {} ({})",
        Status::NO_DEVICE_SUPPORT.name(),
        Status::NO_DEVICE_SUPPORT.explanation()
    );
    let (why, next) = if quirk.ipv6_by_plmn {
        (PLMN_CAUSE, PLMN_NEXT)
    } else {
        (
            "the firmware has no IPv6, or not for this operator",
            "use --ip-type ipv4",
        )
    };
    failure(Rung::Connect, true, text, why, next).with(Code::Status(Status::NO_DEVICE_SUPPORT))
}

/// Returns the diagnosis that nothing comes back although `asked` requests were sent. `ever` says
/// whether anything came back before. `link_up` is what the modem says of its Ethernet link, where it has
/// one and is connected; `framing` is how packets go to it.
pub(crate) fn black_hole(
    asked: u32,
    ever: bool,
    framing: &Framing,
    link_up: Option<bool>,
    quirk: &Quirk,
    apn: &str,
) -> String {
    use crate::options::Placement;

    let head = if ever {
        format!("nothing comes back any more: {asked} questions sent since the last answer")
    } else {
        format!("nothing comes back: {asked} questions sent, no answer, not a single packet")
    };
    if link_up == Some(false) {
        return format!(
            "{head}; the modem says that it is connected, and not that its Ethernet link is up, so its firmware may \
             pass nothing between the two: `uwwan reset` restarts it, and --mode chooses another way where it has one"
        );
    }
    if ever {
        return format!(
            "{head}; the radio link is likely lost or the network has dropped the session"
        );
    }
    let front = !framing.bare && framing.placement == uwwan_ncm::Placement::Front;
    if front && quirk.ndp == Placement::End {
        return format!(
            "{head}; the NDP stands in front of the datagrams, but the {} needs it at the end of the NTB: \
             without that it takes every NTB and carries no datagram; leave out `--ndp front`",
            quirk.name
        );
    }
    if front {
        return format!(
            "{head}; some modems carry nothing unless the NDP stands at the end of the NTB: try `--ndp end`; \
             else the access point may be the wrong one"
        );
    }
    let format = match framing.format {
        _ if framing.bare => "",
        uwwan_ncm::Format::Ntb16 => "; else try `--ntb 32`",
        uwwan_ncm::Format::Ntb32 => "; else try `--ntb 16`",
    };
    let apn = if apn.is_empty() {
        "none given".to_owned()
    } else {
        format!("`{apn}`")
    };
    format!(
        "{head}; likely the access point ({apn}) leads nowhere or the network blocks this SIM{format}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quirks;
    use uwwan_ncm::{Format, Placement};

    #[test]
    fn every_status_says_what_to_do() {
        for code in (0..=40).chain([100, 0x8743_0001]) {
            let failure = status(Rung::Connect, "CONNECT", Status(code), None);
            assert!(!failure.why.is_empty(), "{code}");
            // A condition that may pass by itself has no step for the user, because the supervisor
            // decides whether the rung is tried again.
            assert!(!failure.next.is_empty() || !failure.fatal, "{code}");
            assert!(failure.what.starts_with("CONNECT: "), "{}", failure.what);
        }
        for code in 1..=113 {
            let failure = status(
                Rung::Connect,
                "CONNECT",
                Status::FAILURE,
                Some(NwError(code)),
            );
            assert!(
                failure.what.contains("the network says"),
                "{}",
                failure.what
            );
        }
    }

    #[test]
    fn the_plmn_list_is_explained_for_this_modem_only() {
        let lt4132 = ipv6_refused("CONNECT", quirks::find(0x03f0, 0xa31d));
        assert!(
            lt4132.next[0].contains("--ip-type ipv4") && lt4132.next[0].contains("AT^PLMNLIST")
        );
        assert!(lt4132.what.contains("no_device_support"), "{}", lt4132.what);
        assert!(!ipv6_refused("CONNECT", &quirks::DEFAULT).next[0].contains("PLMN"));
    }

    #[test]
    fn black_holes_name_the_likely_cause() {
        let lt4132 = quirks::find(0x03f0, 0xa31d);
        let layout = |placement, format| Framing {
            placement,
            format,
            bare: false,
            ..Framing::bare(1514, 512)
        };
        let front = layout(Placement::Front, Format::Ntb16);
        let end = layout(Placement::End, Format::Ntb16);
        let text = black_hole(3, false, &front, None, lt4132, "internet");
        assert!(
            text.starts_with("nothing comes back: ") && text.contains("--ndp front"),
            "{text}"
        );
        let of = |framing: &Framing| black_hole(3, false, framing, None, &quirks::DEFAULT, "");
        assert!(of(&front).contains("--ndp end"));
        assert!(of(&end).contains("--ntb 32"));
        assert!(of(&layout(Placement::End, Format::Ntb32)).contains("--ntb 16"));
        // A frame alone in its transfer has neither an NDP nor a format.
        let alone = of(&Framing {
            bare: true,
            ..front
        });
        assert!(
            alone.contains("access point") && !alone.contains("--ndp") && !alone.contains("--ntb"),
            "{alone}"
        );
        let down = black_hole(3, false, &end, Some(false), lt4132, "");
        assert!(
            down.contains("Ethernet link") && !down.contains("--ntb"),
            "{down}"
        );
        assert!(black_hole(9, true, &end, None, lt4132, "").contains("any more"));
    }
}
