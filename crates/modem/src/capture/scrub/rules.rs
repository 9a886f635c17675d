//! The meaning of the arguments and answers of AT commands: which identify people, and which may
//! stay.
//!
//! A command without a rule is not understood, and its arguments and answers are blanked.

/// The meaning of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Identifies nobody. Addresses and long numbers in it are replaced all the same.
    Plain,
    /// Version or model: stays as it is, but for numbers as long as an IMEI.
    Version,
    /// Identifies nobody where it is bare; in quotes it is a cell or an area.
    Cell,
    /// IMEI.
    Device,
    /// IMSI.
    Subscriber,
    /// ICCID.
    Card,
    /// Telephone number where it is in quotes.
    Telephone,
    /// Name of a person.
    Name,
    /// PIN or password.
    Secret,
    /// IP address.
    Address,
    /// IPv4 address as a hexadecimal number, the first byte last.
    AddressNumber,
    /// In quotes: the state of a message, a telephone number, or something to blank.
    Envelope,
    /// Text of a message.
    Message,
    /// Not understood, or private: always blanked.
    Blank,
}

/// Rules of a command.
pub struct Rule {
    /// Names that the rule is for, in capitals.
    names: &'static [&'static str],
    /// The meaning of the command's arguments; the last one stands for all that follow.
    pub sent: &'static [Argument],
    /// The meaning of the arguments of answers and unsolicited result codes.
    pub answered: &'static [Argument],
    /// Whether the lines without a name that follow an answer are a message.
    pub has_body: bool,
}

use Argument::{
    Address, AddressNumber, Blank, Card, Cell, Device, Envelope, Message, Name, Plain, Secret,
    Subscriber, Telephone, Version,
};

const fn rule(
    names: &'static [&'static str],
    sent: &'static [Argument],
    answered: &'static [Argument],
) -> Rule {
    Rule {
        names,
        sent,
        answered,
        has_body: false,
    }
}

/// Commands of 3GPP TS 27.005, 27.007 and V.250, and of vendors.
static RULES: &[Rule] = &[
    rule(
        &["+CGSN", "+GSN", "IMEI", "IMEI SV", "IMEISV", "MEID", "ESN"],
        &[Plain],
        &[Device],
    ),
    rule(&["+CIMI"], &[Plain], &[Subscriber]),
    rule(
        &[
            "^ICCID", "+CCID", "+ICCID", "+QCCID", "%CCID", "$CCID", "#CCID", "ICCID",
        ],
        &[Plain],
        &[Card],
    ),
    rule(
        &[
            "I",
            "+CGMI",
            "+CGMM",
            "+CGMR",
            "+GMI",
            "+GMM",
            "+GMR",
            "+QGMR",
            "+GCAP",
            "^HWVER",
            "^VERSION",
            "^DLOADVER",
            "MANUFACTURER",
            "MODEL",
            "REVISION",
            "+CSUB",
            "+SIMCOMATI",
        ],
        &[Plain],
        &[Version],
    ),
    rule(&["+CNUM"], &[Plain], &[Name, Telephone, Plain]),
    rule(&["+CLIP", "+COLP"], &[Plain], &[Telephone, Plain, Blank]),
    rule(&["+CCWA"], &[Plain], &[Telephone, Plain]),
    rule(
        &["+CLCC"],
        &[Plain],
        &[Plain, Plain, Plain, Plain, Plain, Telephone, Plain, Name],
    ),
    rule(
        &["+CCFC"],
        &[Plain, Plain, Telephone, Plain],
        &[Plain, Plain, Telephone, Plain],
    ),
    rule(&["+CPBR"], &[Plain], &[Plain, Telephone, Plain, Name]),
    rule(&["+CPBF"], &[Name], &[Plain, Telephone, Plain, Name]),
    rule(&["+CPBW"], &[Plain, Telephone, Plain, Name], &[Plain]),
    rule(&["+CSCA"], &[Telephone, Plain], &[Telephone, Plain]),
    rule(
        &["+CUSD"],
        &[Plain, Message, Plain],
        &[Plain, Message, Plain],
    ),
    rule(&["+CMGS", "+CMGW", "+CMGC"], &[Telephone, Plain], &[Plain]),
    Rule {
        has_body: true,
        ..rule(
            &["+CMGL", "+CMGR", "+CMT", "+CDS", "+CBM"],
            &[Plain],
            &[Envelope],
        )
    },
    rule(&["+CGPADDR"], &[Plain], &[Plain, Address]),
    rule(&["+CGCONTRDP"], &[Plain], &[Plain, Plain, Plain, Address]),
    rule(
        &["+CGDCONT"],
        &[Plain, Plain, Plain, Address, Plain],
        &[Plain, Plain, Plain, Address, Plain],
    ),
    rule(
        &["^NDISDUP"],
        &[Plain, Plain, Plain, Name, Secret, Plain],
        &[Plain],
    ),
    rule(
        &["^DHCP"],
        &[Plain],
        &[
            AddressNumber,
            Plain,
            AddressNumber,
            AddressNumber,
            AddressNumber,
            AddressNumber,
            Plain,
        ],
    ),
    rule(&["+CREG", "+CGREG", "+CEREG", "+C5GREG"], &[Plain], &[Cell]),
    // Only the sender keeps the arguments of these commands secret.
    rule(
        &["+CPIN", "^CPIN", "+CPIN2", "^CPIN2", "+CPUK", "+EPIN"],
        &[Secret],
        &[Plain],
    ),
    rule(&["+CLCK", "^CARDLOCK"], &[Secret], &[Plain]),
    rule(
        &["+CPWD", "^SIMLOCKUNLOCK", "^DATALOCK"],
        &[Secret],
        &[Plain],
    ),
    rule(&["+QSIMLOCK"], &[Secret], &[Blank]),
    rule(
        &["+CRSM"],
        &[Plain, Plain, Plain, Plain, Plain, Blank],
        &[Plain, Plain, Blank],
    ),
    rule(&["+CSIM", "^CSIM"], &[Plain, Blank], &[Plain, Blank]),
    rule(&["+CGLA"], &[Plain, Plain, Blank], &[Plain, Blank]),
    rule(&["+CCHO"], &[Blank], &[Plain]),
    rule(
        &["+CGAUTH"],
        &[Plain, Plain, Name, Secret],
        &[Plain, Plain, Name, Secret],
    ),
    rule(
        &["^AUTHDATA", "$QCPDPP", "+QICSGP"],
        &[Plain, Plain, Blank],
        &[Blank],
    ),
    // Neither arguments nor answers of these commands identify anybody.
    rule(
        &[
            "",
            "E",
            "V",
            "Q",
            "Z",
            "X",
            "H",
            "L",
            "M",
            "T",
            "P",
            "O",
            "A",
            "&F",
            "&C",
            "&D",
            "&K",
            "&S",
            "&V",
            "&W",
            "\\Q",
            "+CMEE",
            "+CSQ",
            "+CESQ",
            "+CFUN",
            "+CPAS",
            "+CGATT",
            "+CGACT",
            "+CMGF",
            "+CPMS",
            "+CNMI",
            "+CSMS",
            "+CMGD",
            "+CMTI",
            "+CDSI",
            "+CSCS",
            "+CSMP",
            "+CSDH",
            "+CSCB",
            "+CNMA",
            "+CPBS",
            "+IPR",
            "+ICF",
            "+IFC",
            "+CGEREP",
            "+CGEV",
            "+CGCLASS",
            "+CGDATA",
            "+CGQREQ",
            "+CGQMIN",
            "+CGEQREQ",
            "+CGEQMIN",
            "+CGEQOS",
            "+CGPIAF",
            "+COPS",
            "+COPN",
            "+CPOL",
            "+CPLS",
            "+CCLK",
            "+CTZV",
            "+CTZE",
            "+CTZR",
            "+CTZU",
            "+CEER",
            "+CEMODE",
            "+WS46",
            "+CSCON",
            "+CPSMS",
            "+CEDRXS",
            "+CIND",
            "+CMER",
            "+CIEV",
            "+CRC",
            "+CRING",
            "+CR",
            "+CMUX",
            "+CUAD",
            "+CSSN",
            "+CLAC",
            "+CME ERROR",
            "+CMS ERROR",
            "+CIPCA",
            "^HCSQ",
            "^IPV6CAP",
            "^PLMNLIST",
            "^RESET",
            "^SYSCFG",
            "^SYSCFGEX",
            "^SYSINFO",
            "^SYSINFOEX",
            "^HFREQINFO",
            "^CHIPTEMP",
            "^CARDMODE",
            "^CURC",
            "^PORTSEL",
            "^GETPORTMODE",
            "^SETPORT",
            "^U2DIAG",
            "^RFSWITCH",
            "^WPDOM",
            "^WPDST",
            "^WPDFR",
            "^WPDGP",
            "^WPEND",
            "^RSSI",
            "^MODE",
            "^SIMST",
            "^SRVST",
            "^DSFLOWRPT",
            "^DSFLOWCLR",
            "^DSFLOWQRY",
            "^NWTIME",
            "^CSNR",
            "^LTERSRP",
            "^HSDPA",
            "^HSUPA",
            "^CERSSI",
            "^NDISSTATQRY",
            "^NDISSTAT",
            "^DHCPV6",
            "^FREQLOCK",
            "^ANTMODE",
            "^SPN",
            "^EONS",
            "^THERM",
            "^STSF",
            "^CMDLIST",
            "+QCSQ",
            "+QNWINFO",
            "+QSPN",
            "+QCFG",
            "+QUSBCFG",
            "+QIND",
            "+QINISTAT",
            "+QSIMSTAT",
            "+XACT",
            "+XDATACHANNEL",
            "+XDNS",
            "+UCGED",
            "+KSUP",
        ],
        &[Plain],
        &[Plain],
    ),
    rule(&["D"], &[Telephone], &[Plain]),
];

/// Returns the rule of a command, given in capitals, if the command is a known one.
pub fn of(name: &str) -> Option<&'static Rule> {
    let name =
        if name.starts_with('S') && name.len() > 1 && name[1..].bytes().all(|b| b.is_ascii_digit())
        {
            // Registers of V.250.
            "E"
        } else {
            name
        };
    RULES.iter().find(|rule| rule.names.contains(&name))
}

impl Rule {
    /// Returns the meaning of the argument at index `place`, counted from 0.
    pub fn argument(arguments: &[Argument], place: usize) -> Argument {
        let last = arguments.last().copied().unwrap_or(Blank);
        arguments.get(place).copied().unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use uwwan_at::commands::PASSWORD_COMMANDS;

    use super::*;

    #[test]
    fn what_takes_a_secret_keeps_it() {
        for name in PASSWORD_COMMANDS {
            let hidden = of(name).is_none_or(|rule| {
                rule.sent
                    .iter()
                    .any(|argument| matches!(argument, Secret | Blank))
            });
            assert!(hidden, "{name}");
        }
    }

    #[test]
    fn each_name_has_one_rule() {
        let mut names: Vec<&str> = RULES.iter().flat_map(|rule| rule.names).copied().collect();
        let before = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
