//! How a modem whose present composition has no MBIM function can be made to offer one.

use uwwan_usb::codes::class;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

/// Vendor id of Huawei.
const HUAWEI: u16 = 0x12d1;

/// Instruction that leads to an MBIM function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Instruction for the user, in words.
    pub text: String,
    /// Source of the instruction.
    pub source: &'static str,
}

/// Returns whether a device is a drive with drivers on it that becomes a modem when it is told to switch, as
/// most of Huawei's sticks are when they are plugged in: it has nothing but mass storage.
#[must_use]
pub fn is_storage_first(descriptors: &Descriptors) -> bool {
    let mut alternates = (descriptors.configurations.iter())
        .flat_map(|configuration| &configuration.interfaces)
        .flat_map(|interface| &interface.alternates)
        .peekable();
    descriptors.vendor() == HUAWEI
        && alternates.peek().is_some()
        && alternates.all(|alternate| alternate.class.0 == class::MASS_STORAGE)
}

/// Returns the known instruction that leads to an MBIM function on a device, if there is one.
#[must_use]
pub fn way_to_mbim(descriptors: &Descriptors) -> Option<Way> {
    if let Some(mbim) = functions::mbim(descriptors).first() {
        return Some(Way {
            text: format!(
                "configuration {} has MBIM; uwwan up switches to it",
                mbim.configuration
            ),
            source: "its descriptors",
        });
    }
    if is_storage_first(descriptors) {
        return Some(Way {
            text: format!(
                "usb_modeswitch -v {:04x} -p {:04x} -J makes a modem of it; where usb-modeswitch is installed, \
                 that happens when it is plugged in",
                descriptors.vendor(),
                descriptors.product()
            ),
            source: "usb-modeswitch-data, HuaweiNewMode",
        });
    }
    let (text, source) = match descriptors.vendor() {
        0x2c7c => (
            r#"uwwan at 'AT+QCFG="usbnet",2', then uwwan at AT+CFUN=1,1: the modem starts again with MBIM"#,
            "OpenWrt forum 202922; RouterOS does the same (MikroTik forum 268171)",
        ),
        0x1199 => (
            r#"uwwan at 'AT!ENTERCND="A710"' 'AT!USBCOMP=1,1,100D' 'AT!RESET': MBIM with diagnostics, NMEA and modem port"#,
            "Osmocom wiki, Sierra Wireless Modems (text of AT!USBCOMP); Sierra forum",
        ),
        HUAWEI => (
            "uwwan at AT^SETPORT=? shows the ports it can have; AT^SETPORT with a list that has MBIM, then AT^RESET",
            "Huawei ME909s and ME906s AT Command Interface Specifications, ^SETPORT",
        ),
        _ => return None,
    };
    Some(Way {
        text: text.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the descriptors of a device of this vendor without configurations.
    fn of(vendor: u16) -> Descriptors {
        let [low, high] = vendor.to_le_bytes();
        let device = [18, 1, 0, 2, 0, 0, 0, 64, low, high, 1, 0, 0, 1, 0, 0, 0, 0];
        Descriptors::from_sysfs(&device)
    }

    #[test]
    fn the_way_is_told_where_it_is_known() {
        for (vendor, command) in [
            (0x2c7c, "AT+QCFG=\"usbnet\",2"),
            (0x1199, "AT!USBCOMP"),
            (0x12d1, "AT^SETPORT"),
        ] {
            let way = way_to_mbim(&of(vendor)).unwrap();
            assert!(
                way.text.contains(command) && !way.source.is_empty(),
                "{way:?}"
            );
        }
        assert_eq!(way_to_mbim(&of(0x0525)), None);
        assert!(!is_storage_first(&of(0x12d1)), "it has no interface");
        let lt4132 = include_bytes!("../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");
        let way = way_to_mbim(&Descriptors::from_sysfs(lt4132)).unwrap();
        assert!(way.text.starts_with("configuration 3 has MBIM"), "{way:?}");
    }

    #[test]
    fn a_drive_of_huawei_is_a_modem_later() {
        let drive = |vendor: u16, class| {
            let [low, high] = vendor.to_le_bytes();
            let device = [
                18, 1, 0, 2, 0, 0, 0, 64, low, high, 0x01, 0x1f, 0, 1, 0, 0, 0, 1,
            ];
            let configuration = [
                9, 2, 18, 0, 1, 1, 0, 0x80, 250, 9, 4, 0, 0, 0, class, 6, 0x50, 0,
            ];
            Descriptors::parse(&device, &[&configuration])
        };
        let way = way_to_mbim(&drive(0x12d1, 8)).unwrap();
        assert!(
            way.text.starts_with("usb_modeswitch -v 12d1 -p 1f01 -J"),
            "{way:?}"
        );
        assert!(is_storage_first(&drive(0x12d1, 8)));
        assert!(!is_storage_first(&drive(0x12d1, 3)) && !is_storage_first(&drive(0x0781, 8)));
    }
}
