//! The PINs that this SIM has refused; `uwwan pin` and `uwwan up` share the memory.

use uwwan_mbim::services::basic_connect::{SUBSCRIBER_READY_STATUS, SubscriberReadyStatus};
use uwwan_mbim::session::Command;
use uwwan_modem::client::Client;
use uwwan_modem::pin_memory::{PinHistory, PinMemory};
use uwwan_modem::state_file::StateFile;

use crate::failure::{Failure, FailureKind};
use crate::output::note;
use crate::state;

/// The memory, with the SIM that is inserted.
pub(super) struct Memory {
    store: StateFile<PinMemory>,
    sim: String,
}

impl Memory {
    /// Loads the memory. Returns `None` when there is no place for it, or when the SIM does not
    /// report its ICCID.
    ///
    /// # Errors
    /// Fails when the modem is lost.
    pub(super) fn open(modem: &mut Client, emulated: bool) -> Result<Option<Self>, Failure> {
        let Some(path) = state::pins(emulated) else {
            return Ok(None);
        };
        let question = Command::query(SUBSCRIBER_READY_STATUS);
        let sim = match modem.optional::<SubscriberReadyStatus>(question)? {
            Ok(status) if !status.sim_icc_id.is_empty() => status.sim_icc_id,
            _ => return Ok(None),
        };
        let store = StateFile::open(path);
        Ok(Some(Self { store, sim }))
    }

    /// Records that this PIN is about to be sent. `remaining` is the number of attempts remaining, if it
    /// is known.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Refused`] when the SIM has refused the PIN before, and with
    /// [`FailureKind::Host`] when the memory cannot be read or written. With `force` it does not
    /// fail.
    pub(super) fn sending(
        &mut self,
        pin: &str,
        remaining: Option<u32>,
        force: bool,
    ) -> Result<(), Failure> {
        let pin = self.store.content.mark(&self.sim, pin);
        if self.store.content.past(&pin, remaining) != PinHistory::Clean && !force {
            return Err(
                Failure::new(FailureKind::Refused, "this SIM has refused this PIN before")
                    .because("each time it is entered costs an attempt")
                    .next("nothing was sent; if the SIM's PIN has been changed since, run the same with --force"),
            );
        }
        self.store.content.sending(&pin, remaining);
        match self.store.save() {
            Err(why) if !force => {
                self.store.content.forget(&pin);
                Err(Failure::new(
                    FailureKind::Host,
                    "whether the SIM refuses this PIN cannot be remembered",
                )
                .at(self.store.path().display().to_string())
                .because(why)
                .next("nothing was sent; mend that, name another directory with UWWAN_STATE_DIR, or run the same with --force"))
            }
            _ => Ok(()),
        }
    }

    /// Records that the SIM has refused the PIN.
    pub(super) fn refused(&mut self, pin: &str) {
        self.store
            .content
            .refused(&self.store.content.mark(&self.sim, pin));
        self.save_or_tell();
    }

    /// Removes the PIN, because the SIM has accepted it or no attempt was used up.
    pub(super) fn forget(&mut self, pin: &str) {
        self.store
            .content
            .forget(&self.store.content.mark(&self.sim, pin));
        self.save_or_tell();
    }

    fn save_or_tell(&self) {
        if let Err(why) = self.store.save() {
            note(format!(
                "whether this PIN is refused will not be known to the next run: {}: {why}",
                self.store.path().display()
            ));
        }
    }
}
