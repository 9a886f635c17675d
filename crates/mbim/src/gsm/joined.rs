//! Reassembly of long messages from their parts.

use super::pdu::{Body, Message, MessageKind};

/// Message as a person sees it: one PDU, or the parts of a long message put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined<K> {
    /// Keys of the parts that are present, in the order of the parts.
    pub keys: Vec<K>,
    /// Number of parts the message consists of, missing ones included.
    pub total: usize,
    /// First part that is present.
    pub first: Message,
    /// Text of the whole message, with `[…]` where parts are missing. It is `None` for a status
    /// report, and when a part holds something other than text.
    pub text: Option<String>,
}

/// Puts messages together. Parts belong together when they agree in kind, peer, reference and
/// total; a part whose number is present already begins another message. The key of each message is
/// whatever tells the PDUs apart for the caller, such as an index. The result has the order in
/// which the first part of each message came.
#[must_use]
pub fn join<K: Clone>(messages: impl IntoIterator<Item = (K, Message)>) -> Vec<Joined<K>> {
    struct Group<K> {
        parts: Vec<(u8, K, Message)>,
    }
    let mut groups: Vec<Group<K>> = Vec::new();
    for (key, message) in messages {
        let number = message.part.map_or(1, |part| part.number);
        let same = |group: &&mut Group<K>| {
            let (_, _, first) = &group.parts[0];
            let place = |message: &Message| message.part.map(|part| (part.reference, part.total));
            message.part.is_some()
                && place(first) == place(&message)
                && first.kind == message.kind
                && first.peer == message.peer
                && group.parts.iter().all(|(other, _, _)| *other != number)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.parts.push((number, key, message)),
            None => groups.push(Group {
                parts: vec![(number, key, message)],
            }),
        }
    }
    groups
        .into_iter()
        .filter_map(|mut group| {
            group.parts.sort_by_key(|(number, _, _)| *number);
            let text = whole(&group.parts);
            let keys = group.parts.iter().map(|(_, key, _)| key.clone()).collect();
            let first = group.parts.into_iter().next()?.2;
            Some(Joined {
                keys,
                total: first.part.map_or(1, |part| part.total.into()),
                first,
                text,
            })
        })
        .collect()
}

fn whole<K>(parts: &[(u8, K, Message)]) -> Option<String> {
    let mut text = String::new();
    let mut expected = 1;
    let total = parts.first()?.2.part.map_or(1, |part| part.total);
    for (number, _, message) in parts {
        if *number > expected {
            text.push_str("[…]");
        }
        match &message.body {
            Body::Text(part) => text.push_str(part),
            _ => return None,
        }
        expected = number.saturating_add(1);
    }
    if parts.last()?.0 < total {
        text.push_str("[…]");
    }
    (parts.first()?.2.kind != MessageKind::StatusReport).then_some(text)
}
