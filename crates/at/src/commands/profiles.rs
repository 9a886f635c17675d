//! IPv6 and the operator profiles that allow or forbid it.
//!
//! Firmware 11.617 keeps a list of profiles by operator. The operator of the SIM decides which
//! profile applies; one that is in no list gets `"00000"`, which is IPv4 only. Adding the operator
//! to `"99999"` and restarting the modem makes IPv6 work.

use super::{AnswerError, MOST_ITEMS, Query, all, first};
use crate::dialogue::{Command, InvalidCommand};

/// Name of the profile of operators in no list, which allows IPv4 only.
pub const GENERIC: &str = "00000";
/// Name of the profile that allows IPv4, IPv6 and both.
pub const GENERIC_IPV4V6: &str = "99999";

/// Answer to `AT^IPV6CAP?`: one bit for each address family of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Capability(pub u8);

impl Ipv6Capability {
    /// Returns whether IPv4 contexts work.
    #[must_use]
    pub fn ipv4(self) -> bool {
        self.0 & 1 != 0
    }

    /// Returns whether IPv6 contexts work.
    #[must_use]
    pub fn ipv6(self) -> bool {
        self.0 & 2 != 0
    }

    /// Returns whether contexts with both families work.
    #[must_use]
    pub fn ipv4v6(self) -> bool {
        self.0 & 4 != 0
    }
}

impl Query for Ipv6Capability {
    const COMMAND: &'static str = "AT^IPV6CAP?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        first(lines, "^IPV6CAP")?
            .number()
            .map(Self)
            .ok_or(AnswerError::Unreadable("^IPV6CAP"))
    }
}

/// A profile with its operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name of the profile: the operator it was made for, [`GENERIC`] or [`GENERIC_IPV4V6`].
    pub name: String,
    /// Country and network codes of the operators in the profile.
    pub operators: Vec<String>,
}

/// Answer to `AT^PLMNLIST?`: all profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiles(pub Vec<Profile>);

impl Profiles {
    /// Returns the profile that applies to an operator: the one that lists it, [`GENERIC`] otherwise.
    #[must_use]
    pub fn of(&self, operator: &str) -> &str {
        self.0
            .iter()
            .find(|profile| profile.operators.iter().any(|listed| listed == operator))
            .map_or(GENERIC, |profile| &profile.name)
    }

    /// Returns the profile with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Profile> {
        self.0.iter().find(|profile| profile.name == name)
    }
}

impl Query for Profiles {
    const COMMAND: &'static str = "AT^PLMNLIST?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let profiles: Vec<_> = all(lines, "^PLMNLIST")
            .take(MOST_ITEMS)
            .map(|mut values| Profile {
                name: values.text().to_owned(),
                operators: values
                    .take(MOST_ITEMS)
                    .map(|operator| operator.text().to_owned())
                    .collect(),
            })
            .collect();
        if profiles.is_empty() {
            return Err(AnswerError::Missing("^PLMNLIST"));
        }
        if profiles.iter().any(|profile| profile.name.is_empty()) {
            return Err(AnswerError::Unreadable("^PLMNLIST"));
        }
        Ok(Self(profiles))
    }
}

/// Returns the command that adds an operator to a profile, which takes effect when the modem restarts.
///
/// # Errors
/// When profile or operator is no text that may stand in quotes.
pub fn add(profile: &str, operator: &str) -> Result<Command, InvalidCommand> {
    change(1, profile, operator)
}

/// Returns the command that takes an operator out of a profile, which takes effect when the modem restarts.
///
/// # Errors
/// As [`add`].
pub fn remove(profile: &str, operator: &str) -> Result<Command, InvalidCommand> {
    change(0, profile, operator)
}

fn change(action: u8, profile: &str, operator: &str) -> Result<Command, InvalidCommand> {
    if profile.contains('"') || operator.contains('"') {
        return Err(InvalidCommand::Control);
    }
    Command::new(format!("AT^PLMNLIST={action},\"{profile}\",\"{operator}\""))
}

/// Returns the command that asks for one profile.
///
/// # Errors
/// As [`add`].
pub fn ask(profile: &str) -> Result<Command, InvalidCommand> {
    if profile.contains('"') {
        return Err(InvalidCommand::Control);
    }
    Command::new(format!("AT^PLMNLIST=\"{profile}\""))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    /// The factory list, shortened to what the tests need.
    const FACTORY: &str = "^PLMNLIST: \"00000\",00000,23106,26207,23802,23806\n\
         ^PLMNLIST: \"26201\",26201,23001,20416\n\
         ^PLMNLIST: \"99999\",24491,24001,23820\n\
         ^PLMNLIST: \"50502\",50502\n\nOK";

    #[test]
    fn which_profile_applies() {
        let profiles: Profiles = parse(FACTORY);
        assert_eq!(profiles.of("23001"), "26201");
        assert_eq!(profiles.of("24001"), GENERIC_IPV4V6);
        assert_eq!(profiles.of("24201"), GENERIC);
        assert_eq!(profiles.named("50502").unwrap().operators, ["50502"]);
        refuses::<Profiles>("OK");
        refuses::<Profiles>("^PLMNLIST:");
    }

    #[test]
    fn after_the_unlock() {
        let profiles: Profiles = parse("^PLMNLIST: \"99999\",24491,24001,23820,24201\nOK");
        assert_eq!(profiles.of("24201"), GENERIC_IPV4V6);
        let locked: Ipv6Capability = parse("^IPV6CAP: 1\nOK");
        assert!(locked.ipv4() && !locked.ipv6() && !locked.ipv4v6());
        let unlocked: Ipv6Capability = parse("^IPV6CAP: 7\nOK");
        assert!(unlocked.ipv4() && unlocked.ipv6() && unlocked.ipv4v6());
        refuses::<Ipv6Capability>("^IPV6CAP: (1,2,7)");
    }

    #[test]
    fn the_commands_of_the_unlock() {
        let line = |command: Result<Command, _>| command.unwrap().line().to_owned();
        assert_eq!(
            line(add("99999", "24201")),
            "AT^PLMNLIST=1,\"99999\",\"24201\""
        );
        assert_eq!(
            line(remove("99999", "24201")),
            "AT^PLMNLIST=0,\"99999\",\"24201\""
        );
        assert_eq!(line(ask("99999")), "AT^PLMNLIST=\"99999\"");
        assert!(add("9\"", "1").is_err());
        assert!(add("9", "1\r").is_err());
    }
}
