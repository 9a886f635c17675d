//! The AT commands.
//!
//! Answers are those seen on the ME906s and its sibling ME909s; where none was seen, they are those
//! of Huawei modules in general. An unknown command is answered with ERROR, or with COMMAND NOT
//! SUPPORT when its name begins with Huawei's `^`.

use crate::far_side::{v4_of, v6_of};
use crate::firmware::{Firmware, HARDWARE, ICCID, IMEI, IMSI, Lock, Session};
use crate::knobs::{Brand, SimState};
use crate::plmn;

use super::answers::{self, EquipmentError, Final, finish, inform, registration, sim_error};
use super::command::{Answer, Op, arguments, line, number, ok};
use super::port::{Kind, Port};
use super::state::AtContext;
use super::{dialling, messages, ussd};

/// Text behind the PDP type in the ranges of +CGDCONT, as a real unit prints it.
const CONTEXT_RANGES: &str = ",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)";
/// Highest number of a context of +CGDCONT, as a real unit prints it.
const MAX_CONTEXT: u8 = 11;

/// Executes a command line without its AT: commands in a row, up to the first that fails.
pub(super) fn run(port: &mut Port, line: &str, context: &mut AtContext<'_>) {
    let mut rest = line;
    let result = loop {
        rest = rest.trim_start_matches([' ', ';']);
        if rest.is_empty() {
            break Final::Ok;
        }
        let (command, next) = split(rest);
        rest = next;
        match one(port, command, context) {
            Ok(lines) => inform(port, &lines),
            Err(result) => break result,
        }
    };
    finish(port, context.state.errors, &result);
}

/// Splits a line into its first command and what follows it.
fn split(line: &str) -> (&str, &str) {
    let bytes = line.as_bytes();
    if matches!(bytes.first(), Some(b'+' | b'^' | b'$' | b'%')) {
        let mut quoted = false;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b';' if !quoted => return (&line[..at], &line[at + 1..]),
                _ => {}
            }
        }
        return (line, "");
    }
    // A basic command is a letter (with &) and a number; dialling takes the rest of the line
    // (V.250, 5.3.1).
    let mut end = usize::from(bytes.first() == Some(&b'&'));
    let letter = bytes.get(end).copied().unwrap_or(0);
    if letter.eq_ignore_ascii_case(&b'd') {
        return (line, "");
    }
    end += line[end..].chars().next().map_or(0, char::len_utf8);
    let parameter = line[end..]
        .find(|c: char| !(c.is_ascii_digit() || c == '=' || c == '?'))
        .unwrap_or(line.len() - end);
    line.split_at(end + parameter)
}

/// Executes one command.
fn one(port: &mut Port, command: &str, context: &mut AtContext<'_>) -> Answer {
    if matches!(command.as_bytes()[0], b'+' | b'^' | b'$' | b'%') {
        let at = command.find(['=', '?']).unwrap_or(command.len());
        let name = command[..at].trim().to_ascii_uppercase();
        let op = match command[at..].trim() {
            "" => Op::Run,
            "?" => Op::Read,
            "=?" => Op::Test,
            set => Op::Set(arguments(set.trim_start_matches('='))),
        };
        return if messages::has(&name) {
            messages::execute(port, &name, &op, context)
        } else if ussd::has(&name) {
            ussd::execute(port, &name, &op, context)
        } else if dialling::has(&name) {
            dialling::execute(&name, &op, context)
        } else if name.starts_with('^') {
            huawei(&name, &op, context)
        } else {
            standard(&name, &op, context)
        };
    }
    basic(port, command, context)
}

/// Executes a basic command (V.250).
fn basic(port: &mut Port, command: &str, context: &mut AtContext<'_>) -> Answer {
    let upper = command.to_ascii_uppercase();
    let on = !upper.ends_with('0') && upper.len() > 1;
    match upper.as_bytes()[0] {
        b'E' => port.echo = on,
        b'V' => port.verbose = on,
        b'Q' => port.quiet = on,
        b'Z' => {
            port.echo = true;
            port.verbose = true;
            port.quiet = false;
        }
        b'I' => return Ok(identity(context)),
        b'D' => {
            // Dial-up is not possible on this firmware, registered or not.
            return Err(if port.kind == Kind::PcUi {
                Final::Error
            } else {
                Final::NoCarrier
            });
        }
        b'H' | b'S' | b'X' | b'L' | b'M' | b'&' | b'T' | b'P' => {}
        _ => return Err(Final::Error),
    }
    ok()
}

fn model(context: &AtContext<'_>) -> &'static str {
    match context.knobs.brand {
        Brand::Hp | Brand::Huawei => "ME906s-158",
    }
}

/// Returns the lines of ATI.
fn identity(context: &AtContext<'_>) -> Vec<String> {
    vec![
        "Manufacturer: Huawei Technologies Co., Ltd.".to_owned(),
        format!("Model: {}", model(context)),
        format!("Revision: {}", context.knobs.firmware_text()),
        format!("IMEI: {IMEI}"),
        "+GCAP: +CGSM,+DS,+ES".to_owned(),
    ]
}

/// Executes a command of 3GPP TS 27.007 or V.250.
fn standard(name: &str, op: &Op<'_>, context: &mut AtContext<'_>) -> Answer {
    let firmware = &mut *context.firmware;
    let state = &mut *context.state;
    match (name, op) {
        (
            "+CGMI" | "+CGMM" | "+CGMR" | "+CGSN" | "+GMI" | "+GMM" | "+GMR" | "+GSN" | "+CIMI",
            Op::Test,
        ) => ok(),
        ("+CGMI" | "+GMI", Op::Run) => line("Huawei Technologies Co., Ltd."),
        ("+CGMM" | "+GMM", Op::Run) => line(model(context)),
        ("+CGMR" | "+GMR", Op::Run) => line(context.knobs.firmware_text()),
        ("+CGSN" | "+GSN", Op::Run) => line(IMEI),
        ("+CIMI", Op::Run) => match sim_error(firmware) {
            Some(error) => Err(error.into()),
            None => line(IMSI),
        },
        ("+GCAP", Op::Run) => line("+GCAP: +CGSM,+DS,+ES"),
        ("+CPIN", Op::Read) => match (firmware.sim(), firmware.lock()) {
            (SimState::Ready, Lock::Open) => line("+CPIN: READY"),
            (SimState::Ready, Lock::Pin) => line("+CPIN: SIM PIN"),
            (SimState::Ready, Lock::Puk) => line("+CPIN: SIM PUK"),
            _ => Err(sim_error(firmware).map_or(Final::Error, Final::from)),
        },
        // The file is EF-AD (3GPP TS 31.102, 4.2.18), which says that the network code has two
        // digits.
        ("+CRSM", Op::Set(arguments)) => match (sim_error(firmware), &arguments[..]) {
            (Some(error), _) => Err(error.into()),
            (None, ["176", "28589", ..]) => line("+CRSM: 144,0,\"00000002\""),
            (None, _) => line("+CRSM: 106,130"),
        },
        ("+CPIN", Op::Set(arguments)) => {
            let code = arguments.first().copied().unwrap_or("");
            match firmware.unlock(code, arguments.get(1).copied(), context.knobs, context.now) {
                Ok(()) => ok(),
                Err(()) => Err(EquipmentError::WrongPassword.into()),
            }
        }
        ("+CFUN", Op::Read) => line(format!("+CFUN: {}", u8::from(firmware.radio().0))),
        ("+CFUN", Op::Test) => line("+CFUN: (0,1,4,5,6,7,8),(0-1)"),
        ("+CFUN", Op::Set(arguments)) => {
            match number(arguments.first())? {
                0 | 4 | 7 => switch(false, context)?,
                1 | 5 => switch(true, context)?,
                6 => context.reset_soon(),
                _ => return Err(EquipmentError::WrongParameters.into()),
            }
            if arguments.get(1) == Some(&"1") {
                context.reset_soon();
            }
            ok()
        }
        ("+CSQ", Op::Run) => {
            let strength = if firmware.registered().is_on() {
                context.knobs.signal
            } else {
                99
            };
            line(format!("+CSQ: {strength},99"))
        }
        ("+CREG" | "+CGREG" | "+CEREG", op) => {
            let index = match name {
                "+CREG" => 0,
                "+CGREG" => 1,
                _ => 2,
            };
            let mode = &mut state.registration[index];
            match op {
                Op::Read => line(registration(
                    name,
                    Some(*mode),
                    *mode,
                    firmware.registered(),
                )),
                Op::Test => line(format!("{name}: (0-2)")),
                Op::Set(arguments) => {
                    let wanted = number(arguments.first())?;
                    if wanted > 2 {
                        return Err(EquipmentError::WrongParameters.into());
                    }
                    *mode = wanted;
                    ok()
                }
                Op::Run => Err(Final::Error),
            }
        }
        ("+CMEE", Op::Read) => line(format!("+CMEE: {}", state.errors)),
        ("+CMEE", Op::Test) => line("+CMEE: (0-2)"),
        ("+CMEE", Op::Set(arguments)) => {
            state.errors = number(arguments.first())?.min(2);
            ok()
        }
        ("+COPS", _) => operator(op, context),
        ("+CGDCONT", _) => contexts(op, context),
        ("+CGATT", Op::Read) => line(format!("+CGATT: {}", u8::from(firmware.attached()))),
        ("+CGATT", Op::Set(arguments)) => firmware
            .set_attached(number(arguments.first())? == 1)
            .map_or(Err(EquipmentError::NoNetwork.into()), |()| ok()),
        ("+CGACT", Op::Read) => Ok(state
            .contexts
            .keys()
            .map(|id| {
                let active = bearers(firmware).any(|(up, ..)| up == *id);
                format!("+CGACT: {id},{}", u8::from(active))
            })
            .collect()),
        ("+CGPADDR", Op::Run | Op::Set(_)) => Ok(bearers(firmware)
            .map(|(id, addresses, session)| {
                let mut text = format!("+CGPADDR: {id}");
                if session.v4 {
                    text += &format!(",\"{}\"", v4_of(addresses, context.knobs).address);
                }
                if session.v6 {
                    text += &format!(",\"{}\"", v6_of(addresses, context.knobs).address);
                }
                text
            })
            .collect()),
        ("+CGCONTRDP", Op::Run | Op::Set(_)) => Ok(bearers(firmware)
            .map(|(id, addresses, session)| {
                let addresses = v4_of(addresses, context.knobs);
                format!(
                    "+CGCONTRDP: {id},5,\"{}\",\"{}.255.255.255.252\",\"{}\",\"{}\",\"{}\"",
                    session.apn,
                    addresses.address,
                    addresses.gateway,
                    addresses.dns[0],
                    addresses.dns[1]
                )
            })
            .collect()),
        ("+CPAS", Op::Run) => line("+CPAS: 0"),
        ("+CNUM", Op::Run) | ("+IPR" | "+CSCS", Op::Set(_)) => ok(),
        ("+IPR", Op::Read) => line("+IPR: 115200"),
        ("+CSCS", Op::Read) => line("+CSCS: \"IRA\""),
        ("+CSCS", Op::Test) => line("+CSCS: (\"IRA\",\"UCS2\",\"GSM\")"),
        ("+CLCK", Op::Test) => line("+CLCK: (\"SC\")"),
        ("+CLCK", Op::Set(arguments)) => lock(arguments, context),
        ("+CPWD", Op::Set(arguments)) => {
            let [facility, old, new] = arguments[..] else {
                return Err(EquipmentError::WrongParameters.into());
            };
            if facility != "SC" || !firmware.verify_pin(old) || !firmware.change_pin(new) {
                return Err(EquipmentError::WrongPassword.into());
            }
            ok()
        }
        _ => Err(Final::Error),
    }
}

/// Returns the active contexts: number, the data session whose addresses it has, and the session.
/// The call of `^NDISDUP` has context 1.
fn bearers(firmware: &Firmware) -> impl Iterator<Item = (u8, u8, &Session)> {
    let sessions = (0..=MAX_CONTEXT).filter_map(|id| Some((id, id, firmware.session(id.into())?)));
    let call = firmware.call().map(|session| (1, 0, session));
    sessions.chain(call)
}

/// Switches the radio.
fn switch(on: bool, context: &mut AtContext<'_>) -> Result<(), Final> {
    let firmware = &mut *context.firmware;
    if firmware.set_radio(on, context.knobs, context.now) {
        Ok(())
    } else {
        Err(EquipmentError::NotAllowed.into())
    }
}

/// Executes AT+CLCK for the PIN check.
fn lock(arguments: &[&str], context: &mut AtContext<'_>) -> Answer {
    if arguments.first() != Some(&"SC") {
        return Err(EquipmentError::NotSupported.into());
    }
    let firmware = &mut *context.firmware;
    match number(arguments.get(1))? {
        2 => line(format!(
            "+CLCK: {}",
            u8::from(firmware.persistent.pin_enabled)
        )),
        mode @ 0..=1 => {
            let code = arguments.get(2).copied().unwrap_or("");
            if !firmware.verify_pin(code) {
                return Err(EquipmentError::WrongPassword.into());
            }
            firmware.enable_pin(code, mode == 1);
            ok()
        }
        _ => Err(EquipmentError::WrongParameters.into()),
    }
}

/// Executes AT+COPS.
fn operator(op: &Op<'_>, context: &mut AtContext<'_>) -> Answer {
    let firmware = &mut *context.firmware;
    let state = &mut *context.state;
    match op {
        Op::Read => {
            let mode = u8::from(!firmware.is_automatic());
            match firmware.operator() {
                Some((plmn, name)) => {
                    let format = state.operator_format;
                    let text = if format == 2 { plmn } else { name };
                    line(format!("+COPS: {mode},{format},\"{text}\",7"))
                }
                None => line(format!("+COPS: {mode}")),
            }
        }
        Op::Test => match sim_error(firmware) {
            Some(error) => Err(error.into()),
            None => {
                let home = if firmware.registered().is_on() { 2 } else { 1 };
                line(format!(
                    "+COPS: ({home},\"Telenor\",\"Telenor\",\"24201\",7),(3,\"NetCom\",\"NetCom\",\"24202\",7),,(0,1,2,3,4),(0,1,2)"
                ))
            }
        },
        Op::Set(arguments) => match number(arguments.first())? {
            0 => {
                firmware.register(None, context.knobs, context.now);
                ok()
            }
            1 | 4 => {
                let plmn = arguments.get(2).copied().unwrap_or("");
                if firmware.register(Some(plmn), context.knobs, context.now) {
                    ok()
                } else {
                    Err(EquipmentError::NoNetwork.into())
                }
            }
            2 => ok(),
            3 => {
                state.operator_format = number(arguments.get(1))?.min(2);
                ok()
            }
            _ => Err(EquipmentError::WrongParameters.into()),
        },
        Op::Run => Err(Final::Error),
    }
}

/// Executes AT+CGDCONT.
fn contexts(op: &Op<'_>, context: &mut AtContext<'_>) -> Answer {
    let types: &[&str] = if context.firmware.ipv6_capable() {
        &["IP", "IPV6", "IPV4V6"]
    } else {
        &["IP"]
    };
    match op {
        Op::Test => Ok(types
            .iter()
            .map(|kind| format!("+CGDCONT: (0-{MAX_CONTEXT}),\"{kind}\"{CONTEXT_RANGES}"))
            .collect()),
        Op::Read => Ok(context
            .state
            .contexts
            .iter()
            .map(|(id, (kind, apn))| format!("+CGDCONT: {id},\"{kind}\",\"{apn}\",\"\",0,0,0,0"))
            .collect()),
        Op::Set(arguments) => {
            let id = number(arguments.first())?;
            if id > MAX_CONTEXT {
                return Err(EquipmentError::WrongParameters.into());
            }
            match arguments.get(1) {
                None => {
                    context.state.contexts.remove(&id);
                }
                Some(kind) => {
                    let kind = kind.to_ascii_uppercase();
                    let apn = arguments.get(2).copied().unwrap_or("");
                    if !types.contains(&kind.as_str()) || apn.len() > 100 {
                        return Err(EquipmentError::WrongParameters.into());
                    }
                    context.state.contexts.insert(id, (kind, apn.to_owned()));
                }
            }
            ok()
        }
        Op::Run => Err(Final::Error),
    }
}

/// Executes one of Huawei's own commands.
fn huawei(name: &str, op: &Op<'_>, context: &mut AtContext<'_>) -> Answer {
    let firmware = &mut *context.firmware;
    let state = &mut *context.state;
    match (name, op) {
        ("^HCSQ", Op::Read) => line(answers::signal_report(firmware, context.knobs)),
        ("^HCSQ", Op::Test) => line("^HCSQ: \"NOSERVICE\",\"GSM\",\"WCDMA\",\"TD-SCDMA\",\"LTE\""),
        ("^IPV6CAP", Op::Read) => line(format!(
            "^IPV6CAP: {}",
            if firmware.ipv6_capable() { 7 } else { 1 }
        )),
        ("^IPV6CAP", Op::Test) => line("^IPV6CAP: (1,2,7)"),
        ("^PLMNLIST", _) => profiles(op, context),
        ("^RESET", Op::Run) => {
            context.reset_soon();
            ok()
        }
        ("^SYSCFGEX", Op::Read) => line(format!("^SYSCFGEX: {}", state.system)),
        ("^SYSCFGEX", Op::Test) => line(
            "^SYSCFGEX: (\"00\",\"03\",\"02\",\"01\",\"99\"),((2000004e80380,\"GSM850/GSM900/GSM1800/GSM1900/WCDMA850/WCDMA900/WCDMA1900/WCDMA2100\"),(3fffffff,\"All Bands\")),(0-3),(0-4),((800d7,\"LTE2100/LTE1900/LTE1800/LTE850/LTE2600/LTE900/LTE800\"),(7fffffffffffffff,\"All bands\"))",
        ),
        ("^SYSCFGEX", Op::Set(arguments)) => {
            if arguments.len() < 5 || arguments.iter().any(|argument| argument.len() > 32) {
                return Err(EquipmentError::WrongParameters.into());
            }
            state.system = format!("\"{}\",{}", arguments[0], arguments[1..5].join(","));
            ok()
        }
        ("^SYSINFOEX", Op::Run) => {
            let sim = u8::from(firmware.sim_ready());
            let roaming = u8::from(
                firmware.registered().is_on()
                    && firmware.registered() != crate::firmware::Registered::Home,
            );
            line(if firmware.registered().is_on() {
                format!("^SYSINFOEX: 2,3,{roaming},{sim},,6,\"LTE\",101,\"LTE\"")
            } else {
                format!("^SYSINFOEX: 0,0,0,{sim},,0,\"NO SERVICE\",0,\"NO SERVICE\"")
            })
        }
        ("^HFREQINFO", Op::Read) => line("^HFREQINFO: 0,6,3,1300,18150,20000,19300,17200,20000"),
        ("^CHIPTEMP", Op::Read) => line("^CHIPTEMP: 304,304,65535,27,65535"),
        ("^ICCID", Op::Run | Op::Read) => match firmware.sim() {
            SimState::Ready => line(format!("^ICCID: {ICCID}")),
            _ => Err(EquipmentError::NoSim.into()),
        },
        ("^CPIN", Op::Read) => {
            let persistent = &firmware.persistent;
            let word = match firmware.lock() {
                Lock::Open => "READY",
                Lock::Pin => "SIM PIN",
                _ => "SIM PUK",
            };
            line(format!(
                "^CPIN: {word},,{},{},10,3",
                persistent.puk_attempts, persistent.pin_attempts
            ))
        }
        ("^CARDMODE", Op::Run) => line(format!(
            "^CARDMODE: {}",
            if firmware.sim() == SimState::Ready {
                2
            } else {
                255
            }
        )),
        ("^CURC", Op::Read) => line(format!("^CURC: {}", u8::from(state.unsolicited))),
        ("^CURC", Op::Set(arguments)) => {
            state.unsolicited = number(arguments.first())? != 0;
            ok()
        }
        ("^PORTSEL", Op::Set(_)) => ok(),
        // ModemManager finds no port modes in the answer of an ME909s, whose exact text was not
        // seen.
        ("^GETPORTMODE", Op::Run) => line("^GETPORTMODE: TYPE: WCDMA: huawei,,"),
        ("^SETPORT", Op::Read) => line(format!("^SETPORT:{}", state.ports)),
        ("^SETPORT", Op::Test) => Ok([
            "^SETPORT:1: 3G MODEM",
            "^SETPORT:2: 3G PCUI",
            "^SETPORT:3: 3G DIAG",
            "^SETPORT:5: 3G GPS",
            "^SETPORT:A: BLUE TOOTH",
            "^SETPORT:10: 4G MODEM",
            "^SETPORT:12: 4G PCUI",
            "^SETPORT:13: 4G DIAG",
            "^SETPORT:14: 4G GPS",
            "^SETPORT:16: NCM",
            "^SETPORT:A1: CDROM",
            "^SETPORT:A2: SD",
        ]
        .map(str::to_owned)
        .into()),
        ("^SETPORT", Op::Set(arguments)) => {
            let wanted = arguments.join(",");
            if wanted.len() > 64 {
                return Err(EquipmentError::WrongParameters.into());
            }
            state.ports = wanted;
            ok()
        }
        ("^VERSION", Op::Read) => Ok(vec![
            "^VERSION:BDT:Mar 23 2017, 15:17:21".to_owned(),
            format!("^VERSION:EXTS:{}", context.knobs.firmware_text()),
            "^VERSION:INTS:".to_owned(),
            "^VERSION:EXTD:".to_owned(),
            "^VERSION:INTD:".to_owned(),
            format!("^VERSION:EXTH:{HARDWARE} Ver.A"),
            "^VERSION:INTH:".to_owned(),
            "^VERSION:EXTU:ME906s-158".to_owned(),
            "^VERSION:INTU:".to_owned(),
            "^VERSION:CFG:1004".to_owned(),
            "^VERSION:PRL:".to_owned(),
            "^VERSION:OEM:".to_owned(),
            "^VERSION:INI:".to_owned(),
        ]),
        ("^HWVER", Op::Run | Op::Read) => line(format!("^HWVER:\"{HARDWARE}\"")),
        ("^RFSWITCH", Op::Read) => {
            let (software, hardware) = firmware.radio();
            line(format!(
                "^RFSWITCH:{},{}",
                u8::from(software),
                u8::from(hardware)
            ))
        }
        ("^RFSWITCH", Op::Set(arguments)) => {
            let on = number(arguments.first())? != 0;
            switch(on, context)?;
            ok()
        }
        ("^WPDOM" | "^WPDST" | "^WPDFR", Op::Set(_)) => ok(),
        ("^WPDGP", Op::Run) => {
            state.nmea = true;
            state.next_nmea = context.now;
            ok()
        }
        ("^WPEND", Op::Run) => {
            state.nmea = false;
            ok()
        }
        // Real units refuse this; the form of the refusal is a guess.
        ("^IPV6CAP", Op::Set(_)) => Err(Final::Error),
        _ => Err(Final::NotSupported),
    }
}

/// Executes AT^PLMNLIST.
fn profiles(op: &Op<'_>, context: &mut AtContext<'_>) -> Answer {
    let profiles = &mut context.firmware.persistent.profiles;
    match op {
        Op::Read => Ok(profiles.lines().collect()),
        Op::Set(arguments) => match arguments[..] {
            [profile] => match profiles.list(profile) {
                Some(list) => line(plmn::line(profile, list)),
                None => Err(Final::Error),
            },
            ["1", profile, operator] if profiles.add(profile, operator) => ok(),
            ["0", profile, operator] if profiles.remove(profile, operator) => ok(),
            _ => Err(Final::Error),
        },
        _ => Err(Final::Error),
    }
}
