//! Sends MBIM commands to the emulated modem over a control session of its own, with no data path:
//! what it is, and how well it hears its network.

use std::error::Error;
use std::time::Duration;

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_mbim::services::basic_connect::{self as bc, DeviceCaps};
use uwwan_mbim::session::Command;
use uwwan_modem::client::Client;
use uwwan_modem::{Options, Selector};

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::new(Knobs::default(), FarSide::BuiltIn)?;
    let options = Options {
        settle: Some(Duration::from_millis(200)),
        ..Options::default()
    };
    let mut client = Client::direct(emulator.backend(), Selector::Any, options)?;
    // Typed, where the answer has to be a success:
    let caps: DeviceCaps = client.query(bc::DEVICE_CAPS)?;
    println!("{}, firmware {}", caps.hardware_info, caps.firmware_info);
    // As it comes, whatever its status:
    let signal = client.command(Command::query(bc::SIGNAL_STATE), Duration::from_secs(10))?;
    println!(
        "{}: {}, {} bytes",
        signal.id,
        signal.status,
        signal.info.len()
    );
    Ok(client.close()?)
}
