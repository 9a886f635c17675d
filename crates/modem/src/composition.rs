//! How a modem whose present composition has no MBIM function can be made to offer one.

use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

/// Instruction that leads to an MBIM function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Instruction for the user, in words.
    pub text: String,
    /// Source of the instruction.
    pub source: &'static str,
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
    let (text, source) = match descriptors.vendor() {
        0x2c7c => (
            r#"uwwan at 'AT+QCFG="usbnet",2', then uwwan at AT+CFUN=1,1: the modem starts again with MBIM"#,
            "OpenWrt forum 202922; RouterOS does the same (MikroTik forum 268171)",
        ),
        0x1199 => (
            r#"uwwan at 'AT!ENTERCND="A710"' 'AT!USBCOMP=1,1,100D' 'AT!RESET': MBIM with diagnostics, NMEA and modem port"#,
            "Osmocom wiki, Sierra Wireless Modems (text of AT!USBCOMP); Sierra forum",
        ),
        0x12d1 => (
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
        let lt4132 = include_bytes!("../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");
        let way = way_to_mbim(&Descriptors::from_sysfs(lt4132)).unwrap();
        assert!(way.text.starts_with("configuration 3 has MBIM"), "{way:?}");
    }
}
