//! Watches what happens to the emulated modem: its bring-up, and a loss that it recovers from.

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::host::TunProvider;
use uwwan_modem::{Modem, Options, Selector};

fn main() -> Result<(), Box<dyn Error>> {
    uwwan_tun::namespace::enter()?;
    let emulator = Emulator::new(Knobs::default(), FarSide::BuiltIn)?;
    let options = Options {
        settle: Some(Duration::from_millis(200)),
        ..Options::default()
    };
    let (sender, events) = channel();
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options,
        Box::new(TunProvider::default()),
        Box::new(move |event| drop(sender.send(event))),
    )?;
    let mut times_online = 0;
    // The channel ends with the modem's thread.
    for event in events {
        println!("{event:?}");
        if event.is_online() {
            times_online += 1;
            match times_online {
                1 => emulator.reset_firmware(),
                _ => handle.stop(),
            }
        }
    }
    Ok(handle.wait()?)
}
