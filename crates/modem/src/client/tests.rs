//! The client over a channel without any event.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};

use uwwan_mbim::services::basic_connect as bc;

use super::*;

/// Channel that reports the tickets of withdrawn commands.
struct Silent(Sender<u64>);

impl Channel for Silent {
    fn send(&mut self, _: u64, _: Command, _: Duration) -> Result<(), Failure> {
        Ok(())
    }

    fn cancel(&mut self, ticket: u64) {
        let _ = self.0.send(ticket);
    }

    fn wait(&mut self, patience: Duration) -> Option<ChannelEvent> {
        std::thread::sleep(patience);
        None
    }

    fn insist(&mut self) -> Option<Command> {
        None
    }

    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn place(&self) -> &str {
        "nowhere"
    }
}

#[test]
fn an_interruption_withdraws_what_is_waited_for() {
    let (sender, withdrawn) = mpsc::channel();
    let mut client = Client::over(Box::new(Silent(sender)));
    let hour = Duration::from_secs(3600);
    let asked = Arc::new(AtomicBool::new(true));
    let interrupted = Arc::clone(&asked);
    client.interrupt_by(move || interrupted.swap(false, Ordering::Relaxed));
    let failure = client
        .command(Command::query(bc::DEVICE_CAPS), hour)
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled, "{failure}");
    assert_eq!(withdrawn.try_recv(), Ok(1));
    // One interruption ends one wait; the next one ends another.
    asked.store(true, Ordering::Relaxed);
    let failure = client.next_indication(hour).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled, "{failure}");
    assert!(withdrawn.try_recv().is_err());
}
