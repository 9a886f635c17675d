//! Brings the emulated modem online in a network namespace of its own and prints its addresses.
//! It needs neither a modem nor privileges, and leaves nothing behind on the machine.

use std::error::Error;
use std::time::Duration;

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::host::TunProvider;
use uwwan_modem::{Modem, Options, Selector};

fn main() -> Result<(), Box<dyn Error>> {
    // The namespace comes before any thread: only a process of one thread can enter a namespace.
    uwwan_tun::namespace::enter()?;
    let emulator = Emulator::new(Knobs::default(), FarSide::BuiltIn)?;
    let options = Options {
        settle: Some(Duration::from_millis(200)),
        ..Options::default()
    };
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options,
        Box::new(TunProvider::default()),
        Box::new(|_| {}),
    )?;
    if let Err(failure) = handle.wait_online(Duration::from_secs(60)) {
        return Err(failure.map_or("not online within a minute".into(), Into::into));
    }
    let status = handle.status();
    for address in status.addresses().map_or_else(Vec::new, |all| all.list()) {
        println!("{address}");
    }
    handle.stop();
    Ok(handle.wait()?)
}
