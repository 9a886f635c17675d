//! `uwwan capture start` writes the capture that the running `up` sends.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};

use uwwan_modem::capture::Destination;

use super::place::Place;
use crate::capture::{Content, cannot_write, standard_output};
use crate::failure::{Failure, FailureKind};
use crate::output::{bytes, note};
use crate::reach::interrupts;

/// Number of bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// Arguments of `capture start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan capture start trace.pcapng.zst          until Ctrl-C, or until `uwwan capture stop`
  uwwan capture start trace.pcapng.zst --snap 128
      without most of the payload, which takes no room then
  uwwan capture start - | wireshark -k -i -     live

The file begins with the device's descriptors. Root and the user of `up` may do this.")]
pub struct Arguments {
    /// The file to write, or - for standard output
    #[arg(value_name = "FILE.pcapng")]
    file: PathBuf,
    #[command(flatten)]
    content: Content,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

/// Captures until the capture is ended.
///
/// # Errors
/// Fails when no `up` runs, and when the file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = arguments.content.options(Some(&arguments.file))?;
    let interrupts = interrupts()?;
    let client = arguments.place.connect()?;
    let path = &arguments.file;
    let failed = |error: std::io::Error| cannot_write(path, &error, "--force");
    let destination = if path == Path::new("-") {
        standard_output()
    } else {
        Destination::file(path, arguments.force)
    };
    let mut destination = destination.map_err(failed)?;
    let name = destination.name().to_owned();
    let mut file = destination.open_next().map_err(failed)?;
    let (mut records, ended) = client.capture(options)?;
    // Ctrl-C ends the capture as `capture stop` does: the rest of the file still comes.
    std::thread::spawn(move || {
        let _ = interrupts.recv();
        let _ = ended.shutdown(Shutdown::Write);
    });
    note(format!("capturing to {name}; end it with Ctrl-C"));
    let mut piece = vec![0; PIECE];
    let mut written = 0;
    loop {
        let length = match records.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::new(
                    FailureKind::Unreadable,
                    "the running uwwan ended the capture",
                )
                .because(error));
            }
        };
        match file.write_all(&piece[..length]).and_then(|()| file.flush()) {
            Ok(()) => written += length as u64,
            // The reader of the pipe has closed it.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(failed(error)),
        }
    }
    note(format!("captured {} to {name}", bytes(written)));
    Ok(())
}
