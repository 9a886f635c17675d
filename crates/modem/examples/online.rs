//! Brings a modem online and prints its addresses, and takes it down again when Enter is pressed.
//! It needs the rights to drive the USB device and to make an interface.
//!
//! Arguments: which modem (`03f0:a31d`, a port as `1-4`; `any` for the only one there is) and the
//! access point's name.

use std::error::Error;
use std::time::Duration;

use uwwan_modem::host::TunProvider;
use uwwan_modem::options::SessionOptions;
use uwwan_modem::{Modem, Options, Selector};
use uwwan_usb::backend::BackendKind;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let selector: Selector = arguments.next().as_deref().unwrap_or("any").parse()?;
    let options = Options {
        sessions: vec![SessionOptions {
            apn: arguments.next().unwrap_or_default(),
            ..SessionOptions::default()
        }],
        ..Options::default()
    };
    let handle = Modem::start(
        BackendKind::default().start(),
        selector,
        options,
        Box::new(TunProvider::default()),
        Box::new(|event| eprintln!("{event:?}")),
    )?;
    if let Err(failure) = handle.wait_online(Duration::from_secs(300)) {
        return Err(failure.map_or("not online within five minutes".into(), Into::into));
    }
    let status = handle.status();
    for address in status.addresses().map_or_else(Vec::new, |all| all.list()) {
        println!("{address}");
    }
    std::io::stdin().read_line(&mut String::new())?;
    handle.stop();
    Ok(handle.wait()?)
}
