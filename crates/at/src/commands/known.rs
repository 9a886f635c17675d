//! Commands that this family of modems is known for, each with an explanation, for completion and
//! help in a console.

/// A known command and its explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The command as it is typed.
    pub command: &'static str,
    /// Effect of the command.
    pub explanation: &'static str,
}

macro_rules! known {
    ($($command:literal: $explanation:literal,)+) => {
        /// All known commands, in the order of their bytes.
        pub const KNOWN: &[Known] = &[$(Known { command: $command, explanation: $explanation },)+];
    };
}

known! {
    "AT": "does nothing but answer OK",
    "AT+CEREG?": "registration in the LTE network",
    "AT+CFUN=0": "radio off",
    "AT+CFUN=1": "radio on",
    "AT+CFUN?": "whether the radio is on",
    "AT+CGATT?": "whether packet data is attached",
    "AT+CGCONTRDP=1": "addresses and DNS of an active context",
    "AT+CGDCONT=?": "which kinds of IP contexts can be made: IPV6 only where the profile allows it",
    "AT+CGDCONT?": "defined contexts with their APNs",
    "AT+CGMI": "manufacturer",
    "AT+CGMM": "model",
    "AT+CGMR": "firmware version",
    "AT+CGPADDR": "addresses of all contexts",
    "AT+CGREG?": "registration for packet data",
    "AT+CGSN": "IMEI",
    "AT+CIMI": "IMSI of the SIM",
    "AT+CLAC": "all commands the modem names",
    "AT+CMEE=2": "errors as text instead of ERROR",
    "AT+COPS=?": "scans for operators; takes minutes",
    "AT+COPS?": "operator in use",
    "AT+CPIN?": "whether the SIM waits for a PIN",
    "AT+CREG?": "registration for calls",
    "AT+CSQ": "signal strength",
    "AT+CUSD=2": "ends a USSD dialogue",
    "ATE0": "no echo",
    "ATE1": "echo",
    "ATI": "who the modem is",
    "ATZ": "settings as after power-up",
    "AT^CHIPTEMP?": "temperatures",
    "AT^CPIN?": "PIN state with the attempts remaining",
    "AT^CURC=0": "no unsolicited result codes",
    "AT^CURC=1": "unsolicited lines",
    "AT^DHCP?": "IPv4 configuration of the connection",
    "AT^DHCPV6?": "IPv6 configuration of the connection",
    "AT^GETPORTMODE": "which port is what; crashes the MU609",
    "AT^HCSQ?": "signal by technology",
    "AT^HFREQINFO?": "bands, channels and bandwidths in use",
    "AT^HWVER": "hardware version",
    "AT^ICCID?": "number of the SIM card",
    "AT^IPV6CAP?": "which IP versions work: 1 IPv4 only, 7 all",
    "AT^NDISSTATQRY?": "whether the network interface of configuration 1 or 2 is connected",
    "AT^PLMNLIST?": "operator profiles: which operators get which settings, IPv6 among them",
    "AT^RESET": "restarts the modem; it leaves the bus and comes back in its default configuration",
    "AT^SETPORT?": "ports per mode; removing port 12 locks the modem",
    "AT^SYSCFGEX?": "allowed technologies and bands",
    "AT^SYSINFOEX": "service, domain, roaming, SIM and technology at once",
    "AT^USSDMODE?": "form of texts in AT+CUSD: 0 text, 1 octets in hexadecimal digits",
    "AT^VERSION?": "firmware and hardware versions",
    "AT^WPDGP": "starts GPS",
    "AT^WPEND": "stops GPS",
}

/// Returns the known commands that start with `typed`, compared without regard to case.
pub fn starting_with(typed: &str) -> impl Iterator<Item = &'static Known> {
    let typed = typed.to_ascii_uppercase();
    KNOWN
        .iter()
        .filter(move |known| known.command.starts_with(&typed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::Command;

    #[test]
    fn each_is_a_command_with_an_explanation() {
        for known in KNOWN {
            assert!(Command::new(known.command).is_ok(), "{}", known.command);
            assert!(!known.explanation.is_empty());
        }
        assert!(KNOWN.is_sorted_by_key(|known| known.command));
    }

    #[test]
    fn completion() {
        let found: Vec<_> = starting_with("at^ip").map(|known| known.command).collect();
        assert_eq!(found, ["AT^IPV6CAP?"]);
        assert_eq!(starting_with("AT").count(), KNOWN.len());
        assert_eq!(starting_with("AT+XYZ").count(), 0);
    }
}
