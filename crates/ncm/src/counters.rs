//! Counters of what the receiver refused, by reason.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of what was received and not delivered, one for each reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct DropCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl DropCounters {
            /// Adds another set of counters to this one.
            pub fn merge(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }

            /// Returns all counters by name, in the order of an NTB: transfer, NDP, datagram.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Returns the sum of all counters.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.iter().fold(0, |sum, (_, value)| sum.saturating_add(value))
            }
        }
    };
}

counters! {
    /// NTBs shorter than a header with the shortest NDP.
    block_runt,
    /// NTBs with data under a header of zeros: what an HP hs3110 sends when it is forced to
    /// NTB16. Switching to NTB32 is the remedy.
    header_zero,
    /// NTBs that start with neither `NCMH` nor `ncmh`.
    header_signature,
    /// NTBs whose `wHeaderLength` is not the format's.
    header_length,
    /// NTBs whose length is less than a header with the shortest NDP.
    block_length_short,
    /// NTBs whose length is more than what arrived.
    block_length_beyond,
    /// NTBs whose length is more than agreed on.
    block_length_limit,
    /// Transfers with something behind the last NTB that is neither an NTB nor zeros.
    trailing_bytes,
    /// NDPs that start inside the header or do not fit in the NTB.
    ndp_index,
    /// NDPs whose `wLength` has no room for an entry and the terminator.
    ndp_length,
    /// NDPs whose entries reach beyond the NTB.
    ndp_truncated,
    /// NDPs of an unknown kind.
    ndp_signature,
    /// Chains of NDPs that come to the same bytes twice, or go backwards for too long; the rest of
    /// the chain is not followed.
    ndp_order,
    /// Datagrams that start inside the header.
    datagram_in_header,
    /// Datagrams that reach beyond the NTB.
    datagram_outside,
    /// Datagrams that overlap the NDP that lists them.
    datagram_in_ndp,
    /// Datagrams longer than agreed on.
    datagram_long,
    /// Datagrams shorter than the header of what they should be: 20 bytes for IPv4, 40 for IPv6,
    /// 14 for Ethernet.
    datagram_runt,
    /// Datagrams of an IP session that are neither IPv4 nor IPv6: ARP requests without Ethernet
    /// header, `CONNECT 21600000` as text, and the like.
    datagram_version,
    /// Ethernet frames whose CRC-32 is wrong.
    datagram_crc,
    /// NTBs that list more datagrams than agreed on; the rest is not delivered.
    datagram_limit,
    /// Datagrams that would make an NTB deliver more bytes than it has: the same bytes listed
    /// again and again.
    datagram_repeated,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_each() {
        let mut sum = DropCounters {
            header_zero: 1,
            ..DropCounters::default()
        };
        sum.merge(&DropCounters {
            header_zero: 2,
            ndp_order: u64::MAX,
            ..DropCounters::default()
        });
        sum.merge(&DropCounters {
            ndp_order: 1,
            ..DropCounters::default()
        });
        assert_eq!(sum.header_zero, 3);
        assert_eq!(sum.ndp_order, u64::MAX);
        assert_eq!(sum.total(), u64::MAX);
        assert!(sum.iter().any(|entry| entry == ("header_zero", 3)));
    }
}
