//! Parts of long messages put together again.

use super::pdu::{Body, Message, MessageKind};

/// A message as people see it: one PDU, or the parts of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined<K> {
    /// The keys of the parts that are there, in their order.
    pub keys: Vec<K>,
    /// How many parts there should be.
    pub total: usize,
    /// The first part that is there.
    pub first: Message,
    /// The whole text; `None` when any part holds something else. A missing part is `[…]`.
    pub text: Option<String>,
}

/// Puts messages together. Parts belong together that agree in kind, peer, reference and total;
/// a part that is there already begins another message. `keys` are whatever tells the PDUs apart
/// and to whoever asks (index, status). The order is that of the messages' first parts.
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
