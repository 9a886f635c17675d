//! Phonebook service for the phonebook of the SIM card (MBIM 1.0 section 10.8).

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// State of the phonebook (`MBIM_PHONEBOOK_STATE`).
    PhonebookState: u32 { NOT_INITIALIZED = 0, INITIALIZED = 1 }
}

values! {
    /// Selection of phonebook entries (`MBIM_PHONEBOOK_FLAG`).
    PhonebookFlag: u32 { ALL = 0, INDEX = 1 }
}

values! {
    /// Selection of the place for a phonebook entry (`MBIM_PHONEBOOK_WRITE_FLAG`).
    PhonebookWriteFlag: u32 { UNUSED = 0, INDEX = 1 }
}

layout! {
    /// Information buffer of the CONFIGURATION answer and indication.
    Configuration {
        state: PhonebookState,
        number_of_entries: u32,
        used_entries: u32,
        max_number_length: u32,
        max_name: u32,
    }

    /// Phonebook entry, an element of READ.
    PhonebookEntry {
        entry_index: u32,
        number: String [personal],
        name: String [personal],
    }

    /// Information buffer of the READ answer.
    ReadInfo {
        @entry_count of entries,
        entries: Vec<PhonebookEntry> as refs(entry_count),
    }

    /// Information buffer of the READ query.
    ReadQuery {
        filter_flag: PhonebookFlag,
        filter_message_index: u32,
    }

    /// Information buffer of the DELETE set.
    DeleteSet {
        filter_flag: PhonebookFlag,
        filter_message_index: u32,
    }

    /// Information buffer of the WRITE set.
    WriteSet {
        save_flag: PhonebookWriteFlag,
        save_index: u32,
        number: String [personal],
        name: String [personal],
    }
}

service_table! {
    phonebook = "4bf38476-1e6a-41db-b1d8-bed289c25bdb" {
        configuration CONFIGURATION = 1 { query: Empty, done: Configuration, notify: Configuration }
        read READ = 2 { query: ReadQuery, done: ReadInfo }
        delete DELETE = 3 { set: DeleteSet, done: Empty }
        write WRITE = 4 { set: WriteSet, done: Empty }
    }
}
