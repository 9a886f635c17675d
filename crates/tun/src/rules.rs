//! Policy routing rules of the kernel, read over netlink.

use std::fmt;

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::Error;
use crate::netlink::Netlink;

/// Number of the main routing table (`RT_TABLE_MAIN`, rtnetlink.h).
pub const MAIN_TABLE: u32 = 254;

/// Rule that chooses a routing table, or refuses, by the firewall mark of a packet (ip-rule(8)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkRule {
    /// Whether the rule is for IPv6.
    pub ipv6: bool,
    /// Place in the order of the rules; the rule with the lowest number is applied first.
    pub priority: u32,
    /// Mark that the rule compares.
    pub mark: u32,
    /// Bits of the mark that count; all of them where the rule names none.
    pub mask: u32,
    /// Whether the rule applies to the packets that do not have the mark.
    pub inverted: bool,
    /// Routing table that the rule chooses; `None` where the rule refuses or jumps.
    pub table: Option<u32>,
}

impl fmt::Display for MarkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.inverted { "not " } else { "" };
        write!(f, "{}: {not}fwmark {:#x}", self.priority, self.mark)?;
        if self.mask != u32::MAX {
            write!(f, "/{:#x}", self.mask)?;
        }
        match self.table {
            Some(MAIN_TABLE) => f.write_str(" lookup main"),
            Some(table) => write!(f, " lookup {table}"),
            None => Ok(()),
        }
    }
}

/// Returns the rules that compare firewall marks, in the kernel's order, those of IPv4 first.
///
/// # Errors
/// The kernel's error.
pub fn mark_rules() -> Result<Vec<MarkRule>, Error> {
    let mut netlink = Netlink::open()?;
    let mut rules = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut query = RuleMessage::default();
        query.header = RuleHeader {
            family,
            ..RuleHeader::default()
        };
        let messages = netlink
            .dump(&RouteNetlinkMessage::GetRule(query))
            .map_err(|source| Error::system("read the policy routing rules", source))?;
        rules.extend(messages.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(message) => read(message),
            _ => None,
        }));
    }
    Ok(rules)
}

/// Returns the rule in a message, if it compares a mark.
fn read(message: &RuleMessage) -> Option<MarkRule> {
    let header = &message.header;
    let (mut mark, mut mask, mut priority) = (None, None, 0);
    let mut table = u32::from(header.table);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = Some(*value),
            RuleAttribute::Priority(value) => priority = *value,
            RuleAttribute::Table(value) => table = *value,
            _ => {}
        }
    }
    // The kernel gives a mask with every rule that has a mark, even the mask 0.
    let mask = mask.or(mark.map(|_| u32::MAX)).filter(|mask| *mask != 0)?;
    Some(MarkRule {
        ipv6: header.family == AddressFamily::Inet6,
        priority,
        mark: mark.unwrap_or_default(),
        mask,
        inverted: header.flags.contains(RuleFlags::Invert),
        table: (header.action == RuleAction::ToTable).then_some(table),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_ip_rule_prints_it() {
        let mut rule = MarkRule {
            ipv6: false,
            priority: 32765,
            mark: 0xca6c,
            mask: u32::MAX,
            inverted: true,
            table: Some(51820),
        };
        assert_eq!(rule.to_string(), "32765: not fwmark 0xca6c lookup 51820");
        rule = MarkRule {
            priority: 5210,
            mark: 0x80000,
            mask: 0xff0000,
            inverted: false,
            table: Some(MAIN_TABLE),
            ..rule
        };
        assert_eq!(
            rule.to_string(),
            "5210: fwmark 0x80000/0xff0000 lookup main"
        );
    }
}
