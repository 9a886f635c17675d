//! Memory of PINs over runs.

use std::time::Instant;

use super::Control;
use crate::event::Event;
use crate::pin_memory::PinMemory;
use crate::state_file::StateFile;

impl Control {
    pub(super) fn remember(&mut self, pins: PinMemory) {
        let Some(store) = &mut self.pins else {
            return;
        };
        store.content = pins;
        if let Err(why) = store.save() {
            let why = format!("{}: {why}", store.path().display());
            let text =
                format!("whether this PIN is refused will not be known to the next run: {why}");
            self.tell(Event::Notice { text });
            self.ladder.not_remembered(Instant::now(), &why);
        }
    }

    /// Loads the memory of PINs that earlier runs have written.
    pub(super) fn recall(&mut self) {
        let Some(place) = self.options.pin_memory.clone() else {
            return;
        };
        let store = StateFile::open(place);
        self.ladder.recall(store.content.clone());
        if let Some(why) = store.unreadable() {
            let path = store.path().display();
            let text =
                format!("which PINs were refused on earlier runs is not known: {path}: {why}");
            self.tell(Event::Notice { text });
        }
        self.pins = Some(store);
    }
}
