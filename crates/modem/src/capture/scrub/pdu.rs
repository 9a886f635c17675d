//! Short messages as PDUs (3GPP TS 23.040, 9.2.2): telephone numbers are replaced, and the text
//! becomes zeros. Octets with lengths and codings stay.

use super::identities::{Identities, Kind};

/// Bit of the first octet that announces a header in the user data (TP-UDHI).
const HEADER: u8 = 0x40;

/// Replaces the numbers and the text of a PDU that begins with the message centre's address. Returns
/// the number of telephone numbers replaced, or `None`, with the rest of the PDU zeroed, where the PDU
/// ends too early.
pub fn scrub(pdu: &mut [u8], identities: &mut Identities) -> Option<u64> {
    let mut rest = Rest {
        bytes: pdu,
        at: 0,
        numbers: 0,
    };
    let read = rest.message(identities);
    let (at, numbers) = (rest.at, rest.numbers);
    if read.is_none() {
        pdu.get_mut(at..).unwrap_or_default().fill(0);
        return None;
    }
    Some(numbers)
}

struct Rest<'a> {
    bytes: &'a mut [u8],
    at: usize,
    numbers: u64,
}

impl Rest<'_> {
    fn take(&mut self, length: usize) -> Option<&mut [u8]> {
        let stop = self.at.checked_add(length)?;
        let taken = self.bytes.get_mut(self.at..stop)?;
        self.at = stop;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1).map(|octet| octet[0])
    }

    fn message(&mut self, identities: &mut Identities) -> Option<()> {
        let centre = self.octet()?;
        if let Some(octets) = centre.checked_sub(1) {
            let kind = self.octet()?;
            self.digits(kind, usize::from(octets), identities)?;
        }
        let first = self.octet()?;
        let kind = first & 3;
        if kind != 0 {
            // Message reference (TP-MR).
            self.octet()?;
        }
        let length = self.octet()?;
        let address = self.octet()?;
        self.digits(address, usize::from(length).div_ceil(2), identities)?;
        match kind {
            // SMS-DELIVER: protocol, coding, time.
            0 => self.take(9)?,
            // SMS-SUBMIT: protocol, coding, validity.
            1 => self.take(match first >> 3 & 3 {
                0 => 2,
                2 => 3,
                _ => 9,
            })?,
            // SMS-STATUS-REPORT: two times and the status.
            2 => {
                self.take(15)?;
                let left = self.bytes.len() - self.at;
                self.take(left)?.fill(0);
                return Some(());
            }
            _ => return None,
        };
        self.octet()?;
        let left = self.bytes.len() - self.at;
        let user = self.take(left)?;
        let kept = match user.first() {
            // The header numbers the parts of a message, and gives ports.
            Some(length) if first & HEADER != 0 => usize::from(*length) + 1,
            _ => 0,
        };
        user.get_mut(kept..).unwrap_or_default().fill(0);
        Some(())
    }

    /// Replaces an address of `octets` octets: digits in half octets, or a name, which becomes zeros.
    fn digits(&mut self, kind: u8, octets: usize, identities: &mut Identities) -> Option<()> {
        let address = self.take(octets)?;
        if kind >> 4 & 7 == 5 {
            address.fill(0);
        } else {
            half_octets(address, identities);
        }
        self.numbers += u64::from(octets > 0);
        Some(())
    }
}

/// Replaces a number whose digits are half octets, the first the low one.
fn half_octets(octets: &mut [u8], identities: &mut Identities) {
    let mut text: Vec<u8> = octets
        .iter()
        .flat_map(|octet| [octet & 15, octet >> 4])
        .map(|digit| match digit {
            0..=9 => b'0' + digit,
            // `*`, `#` and the filler stay.
            _ => b'-',
        })
        .collect();
    identities.ascii(Kind::Telephone, &mut text);
    for (octet, pair) in octets.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |text: u8, before: u8| match text {
            b'0'..=b'9' => text - b'0',
            _ => before,
        };
        *octet = digit(pair[0], *octet & 15) | digit(pair[1], *octet >> 4) << 4;
    }
}

#[cfg(test)]
mod tests {
    use uwwan_mbim::gsm::{Address, Body, Message, Submit};

    use super::*;

    fn submit<'a>(to: &'a Address, text: &'a str) -> Submit<'a> {
        Submit {
            to,
            centre: None,
            text,
            reference: 7,
            report: false,
            validity: None,
        }
    }

    #[test]
    fn numbers_and_text_go_and_the_form_stays() {
        let to = "+4790002100".parse().unwrap();
        for text in [
            "Call me at 47 90 00 21 00",
            "Ring meg på nr. é ж",
            &"long ".repeat(60),
        ] {
            let submit = submit(&to, text);
            for pdu in submit.encode().unwrap() {
                let before = Message::decode(&pdu).unwrap();
                let mut new = pdu.clone();
                assert_eq!(scrub(&mut new, &mut Identities::default()), Some(1));
                assert_eq!(new.len(), pdu.len());
                let after = Message::decode(&new).unwrap();
                assert_eq!(after.peer.text(), "+9990000001");
                assert_eq!((after.kind, after.part), (before.kind, before.part));
                let (Body::Text(before), Body::Text(after)) = (before.body, after.body) else {
                    panic!()
                };
                assert!(
                    before.chars().all(|c| c == ' ' || !after.contains(c)),
                    "{after}"
                );
            }
        }
    }

    #[test]
    fn what_is_cut_short_hides_nothing() {
        let to = "+4790002100".parse().unwrap();
        let pdu = submit(&to, "secret").encode().unwrap().remove(0);
        for length in 0..pdu.len() {
            let mut cut = pdu[..length].to_vec();
            scrub(&mut cut, &mut Identities::default());
            assert!(
                !cut.windows(3).any(|three| three == [0x74, 0x09, 0x00]),
                "{length}"
            );
        }
    }
}
