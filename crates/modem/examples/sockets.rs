//! Brings the emulated modem online, reads a page over it and has a datagram sent back, through sockets of this
//! program alone: the machine's network is not touched, and no privilege is needed.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::host::Userspace;
use uwwan_modem::{Modem, Options, Selector};

/// Time within which the modem has to be online, and within which each answer has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::new(Knobs::default(), FarSide::BuiltIn)?;
    let network = Userspace::default();
    let options = Options {
        settle: Some(Duration::from_millis(200)),
        ..Options::default()
    };
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options,
        Box::new(network.clone()),
        Box::new(|_| {}),
    )?;
    if let Err(failure) = handle.wait_online(PATIENCE) {
        return Err(failure.map_or("not online within a minute".into(), Into::into));
    }
    let client = network.client()?;
    let addresses = client.resolve_v4("ipv4.test.uwwan", PATIENCE)?;
    let address = *addresses.first().ok_or("the name has no address")?;
    let mut stream = client.connect((address, 80).into(), PATIENCE)?;
    stream.write_all(b"GET /bytes/1000 HTTP/1.0\r\n\r\n")?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)?;
    println!("{} bytes from {address}", page.len());
    let socket = client.udp()?;
    socket.send_to(b"hello", (address, 7).into())?;
    let (length, _) = socket.receive_from(&mut [0; 16], PATIENCE)?;
    println!("{length} bytes came back");
    handle.stop();
    Ok(handle.wait()?)
}
