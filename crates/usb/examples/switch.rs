//! Brings the first MBIM function found to where it answers: configuration switched, interfaces
//! claimed, NTB format set, data endpoints on, MBIM_OPEN answered. Everything is given back at
//! the end.
//!
//! usage: switch [--usb libusb|nusb] [SETTLE_MILLISECONDS [unguarded]]

use std::time::{Duration, Instant};

use uwwan_usb::backend::BackendKind;
use uwwan_usb::configuration::{self, SwitchPlan};
use uwwan_usb::{functions, give_back, requests};

/// MBIM_OPEN_MSG, transaction 1, control transfers of up to 1024 bytes (MBIM 1.0, table 9-7).
const OPEN: [u8; 16] = [1, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut kind = BackendKind::default();
    if arguments.next_if(|argument| argument == "--usb").is_some() {
        kind = arguments.next().ok_or("--usb needs a name")?.parse()?;
    }
    let settle = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let guard = arguments.next().is_none();
    let backend = kind.start();
    let mut found = backend.devices()?.into_iter().filter_map(|found| {
        let function = functions::mbim(&found.descriptors).into_iter().next()?;
        Some((found, function))
    });
    let (found, function) = found
        .next()
        .ok_or_else(|| backend.unavailable().unwrap_or("no modem".to_owned()))?;
    println!("{}, drivers {:?}", found.identity, found.kernel_drivers);
    let device = backend.open(&found)?;

    let (control, data) = (function.control_interface, function.data_interface);
    let plan = SwitchPlan {
        settle: Duration::from_millis(settle),
        guard,
        ..SwitchPlan::new(function.configuration, [control, data])
    };
    let begun = Instant::now();
    let switched = configuration::switch(&*device, &plan, &mut |step| {
        println!("{:5} ms  {step}", begun.elapsed().as_millis());
    })?;

    device.set_alternate_setting(data, 0)?;
    let mut parameters = [0; 28];
    let read = requests::get_ntb_parameters(&*device, control, &mut parameters)?;
    println!("NTB parameters {:02x?}", &parameters[..read]);
    let ntb16 = 0;
    requests::set_ntb_format(&*device, control, ntb16)?;
    device.set_alternate_setting(data, function.data_alternate)?;
    requests::set_ntb_input_size(&*device, control, 16384, Some(0))?;
    println!("format {}", requests::get_ntb_format(&*device, control)?);

    let mut notifications = device.queue(function.interrupt_in.address)?;
    let mut ntbs = device.queue(function.bulk_in.address)?;
    for _ in 0..4 {
        let buffer = notifications.allocate(64);
        notifications
            .submit(buffer)
            .map_err(|rejected| rejected.error)?;
    }
    for _ in 0..16 {
        let buffer = ntbs.allocate(16384);
        ntbs.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    requests::send_encapsulated(&*device, control, &OPEN)?;
    let notified = notifications
        .next(Duration::from_secs(10))
        .ok_or("MBIM_OPEN is not answered")?;
    println!(
        "notification {:02x?}: {:02x?}",
        notified.result,
        notified.buffer.filled()
    );
    let mut answer = vec![0; function.max_control_message.into()];
    let length = requests::get_encapsulated(&*device, control, &mut answer)?;
    println!(
        "{:5} ms  answer {:02x?}",
        begun.elapsed().as_millis(),
        &answer[..length]
    );

    drop((notifications, ntbs, switched));
    give_back::release(&*device, &[control, data], Some(data))?;
    Ok(())
}
