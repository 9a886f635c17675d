//! The class requests of NCM 1.0 (6.2), MBIM 1.0 (8), CDC 1.2 (6.2), ECM 1.2 (6.2) and PSTN 1.2
//! (6.3), and the standard request for strings.
//!
//! `wIndex` of every class request is the function's communication interface, never its data
//! interface. Multi-byte values are little endian.

use std::time::Duration;

use crate::codes::{cdc, descriptor, standard};
use crate::device::{Device, Setup};
use crate::error::Error;

/// Time after which a request fails, as long as in Linux (`USB_CTRL_GET_TIMEOUT`).
const TIMEOUT: Duration = Duration::from_secs(5);

/// `bmRequestType` of a class request to an interface with data to the device.
const OUT: u8 = 0x21;
/// `bmRequestType` of a class request to an interface with data from the device.
const IN: u8 = 0xa1;

/// `bmRequestType` of a standard request to the device with data from it.
const STANDARD_IN: u8 = 0x80;

/// Reads the NTB parameter structure (NCM 1.0, 6.2.1) into `parameters`, for a parser of NCM, and
/// returns the number of bytes the device sent.
///
/// # Errors
/// As [`Device::control_in`].
pub fn get_ntb_parameters(
    device: &dyn Device,
    control: u8,
    parameters: &mut [u8],
) -> Result<usize, Error> {
    device.control_in(
        setup(IN, cdc::GET_NTB_PARAMETERS, 0, control),
        parameters,
        TIMEOUT,
    )
}

/// Selects the format of NTBs by its number, 0 for NTB16 and 1 for NTB32 (NCM 1.0, 6.2.5). The data
/// interface must be in alternate setting 0, and only devices that offer NTB32 know the request.
///
/// # Errors
/// As [`Device::control_out`].
pub fn set_ntb_format(device: &dyn Device, control: u8, format: u16) -> Result<(), Error> {
    device.control_out(
        setup(OUT, cdc::SET_NTB_FORMAT, format, control),
        &[],
        TIMEOUT,
    )
}

/// Reads the number of the format of NTBs, as [`set_ntb_format`] takes it (NCM 1.0, 6.2.4). Only
/// devices that offer NTB32 know the request.
///
/// # Errors
/// As [`Device::control_in`]; [`Error::Other`] for an answer of fewer than 2 bytes.
pub fn get_ntb_format(device: &dyn Device, control: u8) -> Result<u16, Error> {
    let mut answer = [0; 2];
    match device.control_in(
        setup(IN, cdc::GET_NTB_FORMAT, 0, control),
        &mut answer,
        TIMEOUT,
    )? {
        2 => Ok(u16::from_le_bytes(answer)),
        short => Err(short_answer(device, "GET_NTB_FORMAT", control, short, 2)),
    }
}

/// Tells the device the length in bytes of the largest NTB it may send (NCM 1.0, 6.2.7).
/// `datagrams` limits the number of datagrams in an NTB (0 for no limit) in the 8-byte form of the
/// request, which only devices with bit 5 of `bmNetworkCapabilities` take; `None` sends the 4-byte
/// form, which every device takes.
///
/// # Errors
/// As [`Device::control_out`].
pub fn set_ntb_input_size(
    device: &dyn Device,
    control: u8,
    bytes: u32,
    datagrams: Option<u16>,
) -> Result<(), Error> {
    let mut data = [0; 8];
    data[..4].copy_from_slice(&bytes.to_le_bytes());
    let length = match datagrams {
        Some(limit) => {
            data[4..6].copy_from_slice(&limit.to_le_bytes());
            8
        }
        None => 4,
    };
    device.control_out(
        setup(OUT, cdc::SET_NTB_INPUT_SIZE, 0, control),
        &data[..length],
        TIMEOUT,
    )
}

/// Reads the length in bytes of the largest datagram (NCM 1.0, 6.2.8). Only devices with bit 3 of
/// `bmNetworkCapabilities` know the request.
///
/// # Errors
/// As [`Device::control_in`]; [`Error::Other`] for an answer of less than 2 bytes.
pub fn get_max_datagram_size(device: &dyn Device, control: u8) -> Result<u16, Error> {
    let mut answer = [0; 2];
    let length = device.control_in(
        setup(IN, cdc::GET_MAX_DATAGRAM_SIZE, 0, control),
        &mut answer,
        TIMEOUT,
    )?;
    if length < 2 {
        return Err(short_answer(
            device,
            "GET_MAX_DATAGRAM_SIZE",
            control,
            length,
            2,
        ));
    }
    Ok(u16::from_le_bytes(answer))
}

/// Sets the length in bytes of the largest datagram (NCM 1.0, 6.2.9). Only devices with bit 3 of
/// `bmNetworkCapabilities` know the request.
///
/// # Errors
/// As [`Device::control_out`].
pub fn set_max_datagram_size(device: &dyn Device, control: u8, bytes: u16) -> Result<(), Error> {
    let request = setup(OUT, cdc::SET_MAX_DATAGRAM_SIZE, 0, control);
    device.control_out(request, &bytes.to_le_bytes(), TIMEOUT)
}

/// Turns the CRC-32 behind each datagram on or off (NCM 1.0, 6.2.11). The data interface must be in
/// alternate setting 0, and only devices with bit 4 of `bmNetworkCapabilities` know the request.
///
/// # Errors
/// As [`Device::control_out`].
pub fn set_crc_mode(device: &dyn Device, control: u8, enabled: bool) -> Result<(), Error> {
    device.control_out(
        setup(OUT, cdc::SET_CRC_MODE, enabled.into(), control),
        &[],
        TIMEOUT,
    )
}

/// Selects which Ethernet frames the device passes on (ECM 1.2, 6.2.4). The bits of `filter` stand
/// for: 0 all frames, 1 all multicast frames, 2 directed frames, 3 broadcast frames, 4 multicast
/// frames by filter. Only devices with bit 0 of `bmNetworkCapabilities` know the request.
///
/// # Errors
/// As [`Device::control_out`].
pub fn set_ethernet_packet_filter(
    device: &dyn Device,
    control: u8,
    filter: u16,
) -> Result<(), Error> {
    device.control_out(
        setup(OUT, cdc::SET_ETHERNET_PACKET_FILTER, filter, control),
        &[],
        TIMEOUT,
    )
}

/// Reads a string descriptor (USB 2.0, 9.6.7) in the first language of the device. Units that are no
/// UTF-16 come back as U+FFFD.
///
/// # Errors
/// As [`Device::control_in`]; [`Error::Other`] for an answer that is no string descriptor, and for
/// index 0, which stands for no string.
pub fn get_string(device: &dyn Device, index: u8) -> Result<String, Error> {
    let read = |index: u8, language: u16| -> Result<Vec<u16>, Error> {
        let mut answer = [0; 255];
        let setup = Setup {
            request_type: STANDARD_IN,
            request: standard::GET_DESCRIPTOR,
            value: u16::from(descriptor::STRING) << 8 | u16::from(index),
            index: language,
        };
        let got = device.control_in(setup, &mut answer, TIMEOUT)?;
        let stated = usize::from(answer[0]);
        if got < 4 || stated < 4 || answer[1] != descriptor::STRING {
            return Err(Error::Other {
                operation: format!("read string {index} of {}", device.identity()),
                reason: format!("the device answered with {got} bytes that are no string"),
            });
        }
        let units = answer[2..stated.min(got)].chunks_exact(2);
        Ok(units
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect())
    };
    if index == 0 {
        return Err(Error::Other {
            operation: format!("read a string of {}", device.identity()),
            reason: "the device has none there".to_owned(),
        });
    }
    // The string with index 0 is the list of languages.
    let language = read(0, 0)?[0];
    Ok(String::from_utf16_lossy(&read(index, language)?))
}

/// Sends a control message or a fragment of one (CDC 1.2, 6.2.1), of `wMaxControlMessage` bytes at
/// most.
///
/// # Errors
/// As [`Device::control_out`].
pub fn send_encapsulated(device: &dyn Device, control: u8, message: &[u8]) -> Result<(), Error> {
    device.control_out(
        setup(OUT, cdc::SEND_ENCAPSULATED_COMMAND, 0, control),
        message,
        TIMEOUT,
    )
}

/// Fetches a control message or a fragment of one (CDC 1.2, 6.2.2) into `answer`, which has
/// `wMaxControlMessage` bytes. Returns its length in bytes, 0 when the device has none to give.
///
/// # Errors
/// As [`Device::control_in`]. A device that has none to give may also answer with [`Error::Stall`].
pub fn get_encapsulated(
    device: &dyn Device,
    control: u8,
    answer: &mut [u8],
) -> Result<usize, Error> {
    device.control_in(
        setup(IN, cdc::GET_ENCAPSULATED_RESPONSE, 0, control),
        answer,
        TIMEOUT,
    )
}

/// Raises or drops DTR and RTS of a serial interface (PSTN 1.2, 6.3.12). A device without these
/// lines refuses, which is no error.
///
/// # Errors
/// As [`Device::control_out`], except [`Error::Stall`].
pub fn set_control_line_state(
    device: &dyn Device,
    interface: u8,
    data_terminal_ready: bool,
    request_to_send: bool,
) -> Result<(), Error> {
    let lines = u16::from(data_terminal_ready) | u16::from(request_to_send) << 1;
    match device.control_out(
        setup(OUT, cdc::SET_CONTROL_LINE_STATE, lines, interface),
        &[],
        TIMEOUT,
    ) {
        Err(Error::Stall { .. }) => Ok(()),
        other => other,
    }
}

fn setup(request_type: u8, request: u8, value: u16, interface: u8) -> Setup {
    Setup {
        request_type,
        request,
        value,
        index: interface.into(),
    }
}

fn short_answer(device: &dyn Device, name: &str, control: u8, got: usize, want: usize) -> Error {
    unusable(
        device,
        name,
        control,
        &format!("{got} bytes instead of {want}"),
    )
}

fn unusable(device: &dyn Device, name: &str, control: u8, answer: &str) -> Error {
    Error::Other {
        operation: format!("{name} on interface {control} of {}", device.identity()),
        reason: format!("the device answered with {answer}"),
    }
}

#[cfg(test)]
mod tests;
