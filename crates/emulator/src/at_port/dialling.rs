//! The call over an Ethernet function: `^NDISDUP`, its state and its addresses.
//!
//! The forms are those of the ME909s and of ModemManager's tests of its Huawei plugin; that of
//! `^DHCPV6` is that of Huawei's Balong modems in general.

use std::net::{Ipv4Addr, Ipv6Addr};

use uwwan_mbim::services::basic_connect::ContextIpType;
use uwwan_mbim::status::NwError;

use super::answers::{EquipmentError, Final, sim_error};
use super::command::{Answer, Op, line, number, ok};
use super::state::AtContext;
use crate::far_side::{v4_of, v6_of};
use crate::firmware::CallChange;
use crate::knobs::{AddressAnswer, Knobs};

/// Rates of the link at the end of `^DHCP` and `^DHCPV6`, towards the host and from it, in bits per
/// second.
const RATES: &str = "150000000,50000000";
/// Greatest number of an authentication: 0 is none, 1 PAP, 2 CHAP, 3 either.
const MAX_AUTHENTICATION: u8 = 3;

/// Returns whether a command is executed by [`execute`].
pub(super) fn has(name: &str) -> bool {
    matches!(
        name,
        "^NDISDUP" | "^NDISSTATQRY" | "^DHCP" | "^DHCPV6" | "^AUTHDATA"
    )
}

/// Executes a command.
pub(super) fn execute(name: &str, op: &Op<'_>, context: &mut AtContext<'_>) -> Answer {
    match (name, op) {
        ("^NDISDUP", Op::Set(arguments)) => dial(arguments, context),
        ("^NDISDUP", Op::Test) => line("^NDISDUP: (1-11),(0,1)"),
        ("^NDISSTATQRY", Op::Read | Op::Run) => state(context),
        ("^DHCP", Op::Read) => addresses(context, false),
        ("^DHCPV6", Op::Read) => addresses(context, true),
        ("^AUTHDATA", Op::Set(arguments)) => {
            number(arguments.first())?;
            authentication(arguments.get(1).copied())?;
            ok()
        }
        _ => Err(Final::NotSupported),
    }
}

/// Checks the number of an authentication, which may be left out.
fn authentication(told: Option<&str>) -> Result<(), Final> {
    match told {
        None | Some("") => Ok(()),
        told if number(told.as_ref())? <= MAX_AUTHENTICATION => Ok(()),
        Some(_) => Err(EquipmentError::WrongParameters.into()),
    }
}

/// Executes `AT^NDISDUP=<context>,<1 or 0>[,<APN>[,<user>[,<password>[,<authentication>]]]]`. The
/// address family is that of the context, and so is the APN where none is given. Every user is
/// accepted.
fn dial(arguments: &[&str], context: &mut AtContext<'_>) -> Answer {
    let id = number(arguments.first())?;
    let up = match arguments.get(1) {
        Some(&"1") => true,
        Some(&"0") => false,
        _ => return Err(EquipmentError::WrongParameters.into()),
    };
    authentication(arguments.get(5).copied())?;
    if !up {
        return if context.firmware.hang_up() {
            ok()
        } else {
            Err(Final::Error)
        };
    }
    let (family, known) = match context.state.contexts.get(&id) {
        Some((family, apn)) => (family.as_str(), apn.as_str()),
        None => ("IP", ""),
    };
    let wanted = match family {
        "IPV6" => ContextIpType::IPV6,
        "IPV4V6" => ContextIpType::IPV4V6,
        _ => ContextIpType::IPV4,
    };
    let apn = match arguments.get(2) {
        Some(told) if !told.is_empty() => told,
        _ => known,
    };
    if apn.len() > 100 {
        return Err(EquipmentError::WrongParameters.into());
    }
    let dialled = context
        .firmware
        .dial(apn, wanted, context.knobs, context.now);
    match dialled {
        Ok(()) => ok(),
        Err(_) => Err(sim_error(context.firmware)
            .unwrap_or(EquipmentError::NoNetwork)
            .into()),
    }
}

/// Executes `AT^NDISSTATQRY?`.
fn state(context: &AtContext<'_>) -> Answer {
    let (v4, v6) = context.firmware.call_states();
    let (v4, v6) = (v4 as u8, v6 as u8);
    line(if context.knobs.ndisstat_short {
        format!("^NDISSTATQry:{}", if v4 == 0 { v6 } else { v4 })
    } else {
        format!("^NDISSTATQRY: {v4},,,\"IPV4\",{v6},,,\"IPV6\"")
    })
}

/// Returns the URCs of a call that comes up, ends or fails, one for each address family.
pub(super) fn announcements(change: CallChange, knobs: &Knobs) -> Vec<String> {
    let cause = match change.cause {
        NwError::NONE => String::new(),
        NwError(cause) => cause.to_string(),
    };
    let state = u8::from(change.up);
    if knobs.ndisstat_short {
        return vec![format!("^NDISSTAT:{state}")];
    }
    [(change.v4, "IPV4"), (change.v6, "IPV6")]
        .into_iter()
        .filter(|(meant, _)| *meant)
        .map(|(_, family)| format!("^NDISSTAT: {state},{cause},,\"{family}\""))
        .collect()
}

/// Executes `AT^DHCP?`, or `AT^DHCPV6?`: address, netmask, gateway, server, two name servers, rates.
/// Those of IPv4 are little-endian hexadecimal numbers.
fn addresses(context: &AtContext<'_>, v6: bool) -> Answer {
    let knobs = context.knobs;
    let carried = |session: &crate::firmware::Session| if v6 { session.v6 } else { session.v4 };
    if !context.firmware.call().is_some_and(carried) {
        return Err(Final::Error);
    }
    let zeros = match knobs.dhcp_command {
        AddressAnswer::Refused => return Err(Final::Error),
        AddressAnswer::Zeros => true,
        AddressAnswer::Told => false,
    };
    if v6 {
        let told = v6_of(0, knobs);
        let (address, prefix, dns) = if zeros {
            (Ipv6Addr::UNSPECIFIED, 0, [Ipv6Addr::UNSPECIFIED; 2])
        } else {
            (told.address, told.prefix, told.dns)
        };
        let gateway = told.gateway;
        return line(format!(
            "^DHCPV6: {address},{prefix},{gateway},{gateway},{},{},{RATES}",
            dns[0], dns[1]
        ));
    }
    let told = v4_of(0, knobs);
    let mask = Ipv4Addr::from(
        u32::MAX
            .checked_shl(32 - u32::from(told.prefix))
            .unwrap_or(0),
    );
    let all = [
        told.address,
        mask,
        told.gateway,
        told.gateway,
        told.dns[0],
        told.dns[1],
    ];
    let numbers = all.map(|address| match zeros {
        true => "0".to_owned(),
        false => format!("{:08X}", u32::from_le_bytes(address.octets())),
    });
    line(format!("^DHCP: {},{RATES}", numbers.join(",")))
}
