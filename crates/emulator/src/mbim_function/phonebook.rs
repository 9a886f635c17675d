//! Phonebook service (MBIM 1.0 section 10.8), for the phonebook of the card.

use uwwan_mbim::message::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::phonebook::{
    self, Configuration, DeleteSet, PhonebookEntry, PhonebookFlag, PhonebookState,
    PhonebookWriteFlag, ReadInfo, ReadQuery, WriteSet,
};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::{Outcome, decode, sim_open};
use crate::firmware::card::ENTRIES;

/// Largest number of digits in a telephone number.
const NUMBER: usize = 20;
/// Largest number of characters in a name.
const NAME: usize = 18;

/// Executes a command of the service.
pub(super) fn answer(
    id: CidId,
    kind: CommandKind,
    info: &[u8],
    context: &mut MbimContext<'_>,
) -> Result<Outcome, Status> {
    sim_open(context)?;
    let book = &mut context.firmware.persistent.card.phonebook;
    Ok(match (id, kind) {
        (phonebook::CONFIGURATION, CommandKind::QUERY) => Outcome::of(&Configuration {
            state: PhonebookState::INITIALIZED,
            number_of_entries: ENTRIES,
            used_entries: book.len() as u32,
            max_number_length: NUMBER as u32,
            max_name: NAME as u32,
        }),
        (phonebook::READ, CommandKind::QUERY) => {
            let wanted: ReadQuery = decode(info)?;
            let one = wanted.filter_flag == PhonebookFlag::INDEX;
            if one && !book.contains_key(&wanted.filter_message_index) {
                return Err(Status::INVALID_MEMORY_INDEX);
            }
            let entries = book
                .iter()
                .filter(|(place, _)| !one || **place == wanted.filter_message_index)
                .map(|(place, (number, name))| PhonebookEntry {
                    entry_index: *place,
                    number: number.clone(),
                    name: name.clone(),
                });
            Outcome::of(&ReadInfo {
                entries: entries.collect(),
            })
        }
        (phonebook::DELETE, CommandKind::SET) => {
            let wanted: DeleteSet = decode(info)?;
            if wanted.filter_flag == PhonebookFlag::ALL {
                book.clear();
            } else if book.remove(&wanted.filter_message_index).is_none() {
                return Err(Status::INVALID_MEMORY_INDEX);
            }
            Outcome::default()
        }
        (phonebook::WRITE, CommandKind::SET) => {
            let wanted: WriteSet = decode(info)?;
            let digits = wanted.number.trim_start_matches('+').chars().count();
            if digits > NUMBER || wanted.name.chars().count() > NAME {
                return Err(Status::PARAMETER_TOO_LONG);
            }
            let place = if wanted.save_flag == PhonebookWriteFlag::INDEX {
                wanted.save_index
            } else {
                (1..=ENTRIES)
                    .find(|place| !book.contains_key(place))
                    .ok_or(Status::MEMORY_FULL)?
            };
            if !(1..=ENTRIES).contains(&place) {
                return Err(Status::INVALID_MEMORY_INDEX);
            }
            book.insert(place, (wanted.number, wanted.name));
            Outcome::default()
        }
        _ => return Err(Status::NO_DEVICE_SUPPORT),
    })
}
