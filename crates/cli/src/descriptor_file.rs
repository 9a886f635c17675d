//! Reads the descriptors of a device from a file: the binary form of Linux's sysfs, hexadecimal
//! text, or the output of `lsusb -v`.

use std::collections::BTreeMap;
use std::path::Path;

use uwwan_usb::codes::descriptor;
use uwwan_usb::descriptors::Descriptors;

use crate::failure::{Failure, FailureKind};
use crate::input;

/// Reads the descriptors in a file: of one device, or of each in the output of `lsusb -v`.
///
/// # Errors
/// [`FailureKind::Usage`] when the file cannot be read or has none of the three forms.
pub fn read(file: &Path) -> Result<Vec<Descriptors>, Failure> {
    let failure = || {
        Failure::new(FailureKind::Usage, "cannot read the descriptors")
            .at(file.display().to_string())
    };
    let bytes = std::fs::File::open(file).and_then(input::whole);
    let bytes = bytes.map_err(|error| failure().because(error))?;
    parse(&bytes).map_err(|why| {
        failure()
            .because(why)
            .next("cp /sys/bus/usb/devices/PORT/descriptors FILE, or lsusb -v -d VENDOR:PRODUCT > FILE, makes one")
    })
}

/// Parses the descriptors of one device, or of each device in the output of `lsusb -v`.
///
/// # Errors
/// Fails with the reason why the bytes have none of the three forms.
pub fn parse(bytes: &[u8]) -> Result<Vec<Descriptors>, String> {
    if bytes.starts_with(&[0x12, 0x01]) {
        return Ok(vec![Descriptors::from_sysfs(bytes)]);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "neither text nor bytes that begin with a device descriptor".to_owned())?;
    if text.lines().any(|line| line.trim() == "Device Descriptor:") {
        return Ok(lsusb(text));
    }
    let bytes = hexadecimal(text)?;
    if !bytes.starts_with(&[0x12, 0x01]) {
        return Err("the bytes do not begin with a device descriptor (12 01)".to_owned());
    }
    Ok(vec![Descriptors::from_sysfs(&bytes)])
}

/// Parses bytes in hexadecimal, as `uwwan usb descriptors --raw`, `xxd` and `hexdump -C` print
/// them: headings and, where they can be recognised, offsets and characters are left out.
fn hexadecimal(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let heading = line.split(' ').next().unwrap_or_default();
        if matches!(heading, "device" | "configuration") {
            continue;
        }
        let digits = match (line.split_once(':'), line.split_once('|')) {
            // `xxd` prints an offset, and two spaces before the characters.
            (Some((_, rest)), _) => rest.trim_start().split("  ").next().unwrap_or_default(),
            // `hexdump -C` prints an offset, and the characters between bars.
            (None, Some((before, _))) => before.split_once("  ").map_or(before, |(_, rest)| rest),
            (None, None) => line,
        };
        for word in digits
            .split([' ', '\t', ','])
            .filter(|word| !word.is_empty())
        {
            let word = word.strip_prefix("0x").unwrap_or(word);
            let pairs = word.as_bytes().chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair)
                    .ok()
                    .filter(|pair| pair.len() == 2)?;
                u8::from_str_radix(pair, 16).ok()
            });
            let read: Option<Vec<u8>> = pairs.collect();
            bytes.extend(read.ok_or_else(|| {
                let word: String = word.chars().take(20).collect();
                format!("line {number}: {word:?} is no byte in hexadecimal, and this is no output of lsusb -v")
            })?);
        }
    }
    Ok(bytes)
}

/// The form in which `lsusb` prints a descriptor that it knows: the heading, `bDescriptorType`,
/// `bDescriptorSubtype` of a functional descriptor, and the fields with their width in bytes.
struct Layout {
    heading: &'static str,
    kind: u8,
    subtype: Option<u8>,
    fields: &'static [(&'static str, usize)],
}

/// Name of the field of the union descriptor that `lsusb` repeats.
const SUBORDINATE: &str = "bSlaveInterface";

const LAYOUTS: &[Layout] = &[
    Layout {
        heading: "Device Descriptor:",
        kind: 0x01,
        subtype: None,
        fields: &[
            ("bcdUSB", 2),
            ("bDeviceClass", 1),
            ("bDeviceSubClass", 1),
            ("bDeviceProtocol", 1),
            ("bMaxPacketSize0", 1),
            ("idVendor", 2),
            ("idProduct", 2),
            ("bcdDevice", 2),
            ("iManufacturer", 1),
            ("iProduct", 1),
            ("iSerial", 1),
            ("bNumConfigurations", 1),
        ],
    },
    Layout {
        heading: "Configuration Descriptor:",
        kind: 0x02,
        subtype: None,
        fields: &[
            ("wTotalLength", 2),
            ("bNumInterfaces", 1),
            ("bConfigurationValue", 1),
            ("iConfiguration", 1),
            ("bmAttributes", 1),
            ("MaxPower", 1),
        ],
    },
    Layout {
        heading: "Interface Association:",
        kind: 0x0b,
        subtype: None,
        fields: &[
            ("bFirstInterface", 1),
            ("bInterfaceCount", 1),
            ("bFunctionClass", 1),
            ("bFunctionSubClass", 1),
            ("bFunctionProtocol", 1),
            ("iFunction", 1),
        ],
    },
    Layout {
        heading: "Interface Descriptor:",
        kind: 0x04,
        subtype: None,
        fields: &[
            ("bInterfaceNumber", 1),
            ("bAlternateSetting", 1),
            ("bNumEndpoints", 1),
            ("bInterfaceClass", 1),
            ("bInterfaceSubClass", 1),
            ("bInterfaceProtocol", 1),
            ("iInterface", 1),
        ],
    },
    Layout {
        heading: "Endpoint Descriptor:",
        kind: 0x05,
        subtype: None,
        fields: &[
            ("bEndpointAddress", 1),
            ("bmAttributes", 1),
            ("wMaxPacketSize", 2),
            ("bInterval", 1),
        ],
    },
    Layout {
        heading: "CDC Header:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x00),
        fields: &[("bcdCDC", 2)],
    },
    Layout {
        heading: "CDC Call Management:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x01),
        fields: &[("bmCapabilities", 1), ("bDataInterface", 1)],
    },
    Layout {
        heading: "CDC ACM:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x02),
        fields: &[("bmCapabilities", 1)],
    },
    Layout {
        heading: "CDC Union:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x06),
        fields: &[("bMasterInterface", 1), (SUBORDINATE, 1)],
    },
    Layout {
        heading: "CDC Ethernet:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x0f),
        fields: &[
            ("iMacAddress", 1),
            ("bmEthernetStatistics", 4),
            ("wMaxSegmentSize", 2),
            ("wNumberMCFilters", 2),
            ("bNumberPowerFilters", 1),
        ],
    },
    Layout {
        heading: "CDC NCM:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x1a),
        fields: &[("bcdNcmVersion", 2), ("bmNetworkCapabilities", 1)],
    },
    Layout {
        heading: "CDC MBIM:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x1b),
        fields: &[
            ("bcdMBIMVersion", 2),
            ("wMaxControlMessage", 2),
            ("bNumberFilters", 1),
            ("bMaxFilterSize", 1),
            ("wMaxSegmentSize", 2),
            ("bmNetworkCapabilities", 1),
        ],
    },
    Layout {
        heading: "CDC MBIM Extended:",
        kind: descriptor::CLASS_INTERFACE,
        subtype: Some(0x1c),
        fields: &[
            ("bcdMBIMExtendedVersion", 2),
            ("bMaxOutstandingCommandMessages", 1),
            ("wMTU", 2),
        ],
    },
];

/// Parses the output of `lsusb -v`, for one device or many. The descriptors are rebuilt from the
/// fields that are printed; fields that `lsusb` does not print are missing.
fn lsusb(text: &str) -> Vec<Descriptors> {
    let mut devices: Vec<Device> = Vec::new();
    let mut block: Option<(&Layout, BTreeMap<&str, Vec<u64>>)> = None;
    for line in text.lines() {
        let line = line.trim();
        let layout = LAYOUTS.iter().find(|layout| layout.heading == line);
        let raw = line.strip_prefix("** UNRECOGNIZED:");
        // Other headings end with a colon too.
        let ends = layout.is_some() || raw.is_some() || line.ends_with(':') || line.is_empty();
        if ends && let Some((layout, fields)) = block.take() {
            add(&mut devices, layout, &fields);
        }
        if let Some(layout) = layout {
            block = Some((layout, BTreeMap::new()));
        } else if let (Some(raw), Some(device)) = (raw, devices.last_mut()) {
            let bytes = raw.split_ascii_whitespace();
            let bytes: Option<Vec<u8>> = bytes.map(|b| u8::from_str_radix(b, 16).ok()).collect();
            device.append(&bytes.unwrap_or_default());
        } else if let Some((_, fields)) = &mut block {
            let mut words = line.split_ascii_whitespace();
            if let (Some(name), Some(value)) = (words.next(), words.next().and_then(value)) {
                fields.entry(name).or_default().push(value);
            }
        }
    }
    if let Some((layout, fields)) = block {
        add(&mut devices, layout, &fields);
    }
    devices.into_iter().map(Device::parse).collect()
}

/// A device whose descriptors are rebuilt.
struct Device {
    descriptor: Vec<u8>,
    configurations: Vec<Vec<u8>>,
}

impl Device {
    /// Returns the unit of `bMaxPower` in mA, which is larger from USB 3 on.
    fn power_unit(&self) -> u64 {
        if self.descriptor[3] >= 3 { 8 } else { 2 }
    }

    /// Adds a descriptor to the last configuration.
    fn append(&mut self, descriptor: &[u8]) {
        if let Some(configuration) = self.configurations.last_mut() {
            configuration.extend_from_slice(descriptor);
        }
    }

    /// Parses the rebuilt descriptors, after `wTotalLength` was set to their length.
    fn parse(mut self) -> Descriptors {
        for configuration in &mut self.configurations {
            let total = u16::try_from(configuration.len()).unwrap_or(u16::MAX);
            configuration[2..4].copy_from_slice(&total.to_le_bytes());
        }
        Descriptors::parse(&self.descriptor, &self.configurations)
    }
}

/// Adds a descriptor with the fields that were printed, in little-endian byte order. Fields that
/// were not printed are zero.
fn add(devices: &mut Vec<Device>, layout: &Layout, fields: &BTreeMap<&str, Vec<u64>>) {
    let mut bytes = vec![0, layout.kind];
    bytes.extend(layout.subtype);
    for &(name, width) in layout.fields {
        let values = fields.get(name).map_or(&[0][..], |values| values);
        let repeated = if name == SUBORDINATE {
            values
        } else {
            &values[..1]
        };
        for value in repeated {
            let value = match name {
                "MaxPower" => value / devices.last().map_or(2, Device::power_unit),
                _ => *value,
            };
            bytes.extend(&value.to_le_bytes()[..width]);
        }
    }
    bytes[0] = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    match layout.kind {
        0x01 => devices.push(Device {
            descriptor: bytes,
            configurations: Vec::new(),
        }),
        0x02 => {
            if let Some(device) = devices.last_mut() {
                device.configurations.push(bytes);
            }
        }
        _ => {
            if let Some(device) = devices.last_mut() {
                device.append(&bytes);
            }
        }
    }
}

/// Parses a value as `lsusb` prints it: `0x0089`, `18`, `500mA`, or `1.10` for binary-coded
/// decimals.
fn value(word: &str) -> Option<u64> {
    if let Some(digits) = word.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    if let Some((whole, part)) = word.split_once('.') {
        let whole = u64::from_str_radix(whole, 16).ok()?;
        return Some(whole << 8 | u64::from_str_radix(part, 16).ok()?);
    }
    word.trim_end_matches("mA").parse().ok()
}

#[cfg(test)]
mod tests {
    use uwwan_usb::functions;

    use super::*;

    /// A device descriptor and a configuration with an NCM function in one interface.
    const BYTES: &[u8] = &[
        0x12, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x40, 0xd1, 0x12, 0x1f, 0x1c, 0x02, 0x01, 0x01,
        0x02, 0x03, 0x01, //
        0x09, 0x02, 0x4b, 0x00, 0x01, 0x01, 0x00, 0xc0, 0xfa, //
        0x09, 0x04, 0x02, 0x00, 0x01, 0x02, 0x0d, 0x00, 0x00, //
        0x05, 0x24, 0x00, 0x10, 0x01, 0x06, 0x24, 0x1a, 0x00, 0x01, 0x1f, //
        0x05, 0x24, 0x06, 0x02, 0x02, 0x07, 0x05, 0x83, 0x03, 0x40, 0x00, 0x05, //
        0x09, 0x04, 0x02, 0x01, 0x02, 0x02, 0x0d, 0x00, 0x00, //
        0x07, 0x05, 0x84, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x03, 0x02, 0x00, 0x02, 0x00, //
        0x0b, 0x24, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8,
    ];

    /// The descriptors of [`BYTES`] as `lsusb -v` prints them.
    const LSUSB: &str = "\
Bus 001 Device 004: ID 12d1:1c1f Huawei Technologies Co., Ltd.
Device Descriptor:
  bLength                18
  bDescriptorType         1
  bcdUSB               2.00
  bDeviceClass            0 [unknown]
  bDeviceSubClass         0
  bDeviceProtocol         0
  bMaxPacketSize0        64
  idVendor           0x12d1 Huawei Technologies Co., Ltd.
  idProduct          0x1c1f
  bcdDevice            1.02
  iManufacturer           1 Huawei
  iProduct                2 Mobile: WiFi
  iSerial                 3
  bNumConfigurations      1
  Configuration Descriptor:
    bLength                 9
    bDescriptorType         2
    wTotalLength       0x004b
    bNumInterfaces          1
    bConfigurationValue     1
    iConfiguration          0
    bmAttributes         0xc0
      Self Powered
    MaxPower              500mA
    Interface Descriptor:
      bLength                 9
      bDescriptorType         4
      bInterfaceNumber        2
      bAlternateSetting       0
      bNumEndpoints           1
      bInterfaceClass         2 Communications
      bInterfaceSubClass     13
      bInterfaceProtocol      0
      iInterface              0
      CDC Header:
        bcdCDC               1.10
      CDC NCM:
        bcdNcmVersion        1.00
        bmNetworkCapabilities 0x1f
          crc mode
      CDC Union:
        bMasterInterface        2
        bSlaveInterface         2
      Endpoint Descriptor:
        bLength                 7
        bDescriptorType         5
        bEndpointAddress     0x83  EP 3 IN
        bmAttributes            3
          Transfer Type            Interrupt
          Synch Type               None
          Usage Type               Data
        wMaxPacketSize     0x0040  1x 64 bytes
        bInterval               5
    Interface Descriptor:
      bLength                 9
      bDescriptorType         4
      bInterfaceNumber        2
      bAlternateSetting       1
      bNumEndpoints           2
      bInterfaceClass         2 Communications
      bInterfaceSubClass     13
      bInterfaceProtocol      0
      iInterface              0
      Endpoint Descriptor:
        bLength                 7
        bDescriptorType         5
        bEndpointAddress     0x84  EP 4 IN
        bmAttributes            2
          Transfer Type            Bulk
        wMaxPacketSize     0x0200  1x 512 bytes
        bInterval               0
      Endpoint Descriptor:
        bLength                 7
        bDescriptorType         5
        bEndpointAddress     0x03  EP 3 OUT
        bmAttributes            2
          Transfer Type            Bulk
        wMaxPacketSize     0x0200  1x 512 bytes
        bInterval               0
      ** UNRECOGNIZED:  0b 24 7f 01 02 03 04 05 06 07 08
Device Qualifier (for other device speed):
  bLength                10
  bNumConfigurations      1
Device Status:     0x0001
  Self Powered
";

    fn same(text: &[u8]) {
        let mut read = parse(text).unwrap();
        let whole = Descriptors::from_sysfs(BYTES);
        assert_eq!(whole.faults, Vec::<String>::new());
        assert_eq!(read.len(), 1);
        let read = read.remove(0);
        assert_eq!(format!("{read:?}"), format!("{whole:?}"));
        assert_eq!(functions::ncm(&read).len(), 1);
    }

    #[test]
    fn what_is_no_descriptors_is_named_in_short() {
        let failure = read(Path::new("/dev/zero")).unwrap_err();
        assert!(failure.to_string().contains("longer"), "{failure}");
        let why = parse(&[0; 100_000]).unwrap_err();
        assert!(why.len() < 200, "{why}");
    }

    #[test]
    fn the_three_forms_say_the_same() {
        same(BYTES);
        let rows: Vec<String> = BYTES
            .chunks(16)
            .map(|row| row.iter().map(|b| format!("{b:02x} ")).collect())
            .collect();
        same(format!("device\n{}\n", rows.join("\n")).as_bytes());
        same(rows.concat().replace(' ', "").as_bytes());
        let dump: Vec<String> = (0..)
            .step_by(16)
            .zip(&rows)
            .map(|(at, row)| format!("{at:08x}: {} ..aa..", row.replacen(' ', "", 1)))
            .collect();
        same(dump.join("\n").as_bytes());
        let dump: Vec<String> = (0..)
            .step_by(16)
            .zip(&rows)
            .map(|(at, row)| format!("{at:08x}  {row} |..aa..|"))
            .collect();
        same(dump.join("\n").as_bytes());
        same(LSUSB.as_bytes());
    }

    #[test]
    fn every_device_of_a_bus_is_read() {
        assert_eq!(
            parse(format!("{LSUSB}\n{LSUSB}").as_bytes()).unwrap().len(),
            2
        );
    }

    #[test]
    fn nothing_else_is_taken_for_descriptors() {
        for (bytes, why) in [
            (&[0xff_u8, 0xfe, 0x80][..], "neither text"),
            (b"hello", "line 1"),
            (b"09 02 20 00", "12 01"),
            (b"", "12 01"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn any_lines_are_survived() {
        let all: Vec<&str> = LSUSB.lines().collect();
        for cut in 0..all.len() {
            let mut text = all.clone();
            text.remove(cut);
            let _ = parse(text.join("\n").as_bytes());
            let _ = parse(all[cut..].join("\n").as_bytes());
            text.reverse();
            let _ = parse(text.join("\n").as_bytes());
        }
    }
}
