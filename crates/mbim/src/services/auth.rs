//! Authentication service of the SIM card (MBIM 1.0 section 10.10).

use crate::fields::layout;
use crate::service::service_table;

layout! {
    /// Information buffer of the AKA answer.
    Aka {
        res: [u8; 16] [personal],
        res_len: u32,
        integrating_key: [u8; 16] [personal],
        ciphering_key: [u8; 16] [personal],
        auts: [u8; 14],
    }

    /// Information buffer of the AKA query.
    AkaQuery {
        rand: [u8; 16],
        autn: [u8; 16],
    }

    /// Information buffer of the AKAP answer.
    Akap {
        res: [u8; 16] [personal],
        res_len: u32,
        integrating_key: [u8; 16] [personal],
        ciphering_key: [u8; 16] [personal],
        auts: [u8; 14],
    }

    /// Information buffer of the AKAP query.
    AkapQuery {
        rand: [u8; 16],
        autn: [u8; 16],
        network_name: String,
    }

    /// Information buffer of the SIM answer.
    Sim {
        sres1: u32 [personal],
        kc1: u64 [personal],
        sres2: u32 [personal],
        kc2: u64 [personal],
        sres3: u32 [personal],
        kc3: u64 [personal],
        n: u32,
    }

    /// Information buffer of the SIM query.
    SimQuery {
        rand1: [u8; 16],
        rand2: [u8; 16],
        rand3: [u8; 16],
        n: u32,
    }
}

service_table! {
    auth = "1d2b5ff7-0aa1-48b2-aa52-50f15767174e" {
        aka AKA = 1 { query: AkaQuery, done: Aka }
        akap AKAP = 2 { query: AkapQuery, done: Akap }
        sim SIM = 3 { query: SimQuery, done: Sim }
    }
}
