//! Asks the emulated modem for its device capabilities and its signal state, by MBIM commands over
//! a control session of its own without a data path.

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
    // `query` decodes the answer, and fails unless its status is success.
    let caps: DeviceCaps = client.query(bc::DEVICE_CAPS)?;
    println!("{}, firmware {}", caps.hardware_info, caps.firmware_info);
    // `command` returns the answer whatever its status is.
    let signal = client.command(Command::query(bc::SIGNAL_STATE), Duration::from_secs(10))?;
    println!(
        "{}: {}, {} bytes",
        signal.id,
        signal.status,
        signal.info.len()
    );
    Ok(client.close()?)
}
