//! Plugs an emulated modem into this machine's virtual USB host controller (`modprobe vhci_hcd`,
//! root) until standard input ends, and prints what the host did wrong.
//!
//! `cargo run -p uwwan-emulator --example attach -- settle_ms=20,ipv6=on < /dev/zero`

use uwwan_emulator::{Emulator, FarSide, Knobs, usbip};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let knobs: Knobs = std::env::args().nth(1).unwrap_or_default().parse()?;
    let emulator = Emulator::new(knobs, FarSide::BuiltIn)?;
    emulator.on_violation(Box::new(|violation| eprintln!("violation: {violation}")));
    let attached = usbip::attach(&emulator)?;
    println!("attached to port {}", attached.port().unwrap_or_default());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    drop(attached);
    println!("{:#?}", emulator.report());
    Ok(())
}
