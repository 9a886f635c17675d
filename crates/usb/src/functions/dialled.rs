//! Network functions of modems that carry Ethernet frames and are dialled by AT commands.
//!
//! Most Huawei modems have one in place of MBIM or beside it, in another configuration: NCM of a
//! vendor-specific class, or CDC ECM. The codes of the former are those that Linux
//! `huawei_cdc_ncm.c` binds, in any subclass: the lt4132 has it in 06 and other firmware in 01 to
//! 05. Control and data are then one interface with two alternate settings, or two interfaces that
//! a union ties together.
//!
//! Docks and telephones have ECM and NCM of the standard class as well. Such a function counts as
//! that of a modem where an interface in the same configuration may answer to AT commands.

use super::serial::{HUAWEI, at_candidates};
use super::{
    Communication, NcmFunction, bulk_pair, communication, ethernet, interrupt_in, ncm_function,
};
use crate::codes::{TAKES_ENCAPSULATED_COMMANDS, class, subclass};
use crate::descriptors::{ClassTriple, Descriptors};

/// Kind of a function that is dialled by AT commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DialledKind {
    /// NCM of Huawei's own class, ff/xx/16, ff/xx/46 or ff/xx/76.
    HuaweiNcm,
    /// NCM of the standard class, 02/0d.
    Ncm,
    /// CDC ECM, 02/06: each transfer carries one frame.
    Ecm,
}

impl DialledKind {
    /// Returns the name of the kind: `huawei-ncm`, `ncm` or `ecm`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HuaweiNcm => "huawei-ncm",
            Self::Ncm => "ncm",
            Self::Ecm => "ecm",
        }
    }
}

/// A network function that is dialled by AT commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialledFunction {
    /// Kind of the function.
    pub kind: DialledKind,
    /// Interfaces and endpoints of the function. Those of ECM carry frames in place of NTBs, and
    /// its `capabilities` are 0.
    pub function: NcmFunction,
}

/// A network function that takes AT commands as encapsulated commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtPipe {
    /// `bConfigurationValue` of the configuration that holds the function.
    pub configuration: u8,
    /// Number of the interface that takes the class requests.
    pub interface: u8,
}

/// Returns the function of a configuration that takes AT commands as encapsulated commands. That is
/// Huawei's own NCM, for which Linux `huawei_cdc_ncm.c` always makes a `/dev/cdc-wdm0`, or Huawei's
/// NCM of the standard class where its capabilities say so.
#[must_use]
pub fn at_pipe(descriptors: &Descriptors, configuration: u8) -> Option<AtPipe> {
    let all = dialled(descriptors);
    let found = all.iter().find(|found| {
        let takes = match found.kind {
            DialledKind::HuaweiNcm => true,
            DialledKind::Ncm => {
                descriptors.vendor() == HUAWEI
                    && found.function.capabilities & TAKES_ENCAPSULATED_COMMANDS != 0
            }
            DialledKind::Ecm => false,
        };
        takes && found.function.configuration == configuration
    });
    found.map(|found| AtPipe {
        configuration,
        interface: found.function.control_interface,
    })
}

/// Returns whether a class is that of Huawei's NCM.
pub(super) fn is_huawei_ncm(class: ClassTriple) -> bool {
    matches!(
        class,
        ClassTriple(class::VENDOR, 0x01..=0x06, 0x16 | 0x46 | 0x76)
    )
}

/// Returns the functions that are dialled by AT commands: Huawei's NCM, then NCM of the standard
/// class, then ECM, each in descriptor order.
#[must_use]
pub fn dialled(descriptors: &Descriptors) -> Vec<DialledFunction> {
    let dialled = |kind| move |function| DialledFunction { kind, function };
    let with_at =
        |function: &NcmFunction| !at_candidates(descriptors, function.configuration).is_empty();
    let huawei = communication(descriptors, is_huawei_ncm);
    let huawei = huawei.filter_map(|at| ncm_function(&at).or_else(|| alone(&at)));
    let ncm = super::ncm(descriptors).into_iter().filter(with_at);
    let ecm = communication(descriptors, |class| {
        matches!(class, ClassTriple(class::COMMUNICATION, subclass::ECM, _))
    });
    let ecm = ecm
        .filter_map(|at| ncm_function(&at))
        .map(|function| NcmFunction {
            capabilities: 0,
            ..function
        })
        .filter(with_at);
    huawei
        .map(dialled(DialledKind::HuaweiNcm))
        .chain(ncm.map(dialled(DialledKind::Ncm)))
        .chain(ecm.map(dialled(DialledKind::Ecm)))
        .collect()
}

/// Returns the function of an interface that no union ties to another one. Its data is in one of
/// the interface's own alternate settings.
fn alone(at: &Communication<'_>) -> Option<NcmFunction> {
    let own = at.interface.alternates.iter();
    let (data, (bulk_in, bulk_out)) = own
        .filter_map(|alternate| Some((alternate, bulk_pair(alternate)?)))
        .next()?;
    let (mac_index, max_segment_size) = ethernet(at).unwrap_or((0, super::NCM_SEGMENT_SIZE));
    Some(NcmFunction {
        configuration: at.configuration.value,
        control_interface: at.interface.number,
        control_alternate: at.alternate.number,
        data_interface: at.interface.number,
        data_alternate: data.number,
        interrupt_in: interrupt_in(data),
        bulk_in,
        bulk_out,
        capabilities: 0,
        mac_index,
        max_segment_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(file: &str) -> Vec<u8> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/vectors/descriptors")
            .join(file);
        std::fs::read(path).unwrap()
    }

    fn of(file: &str) -> Vec<DialledFunction> {
        dialled(&Descriptors::from_sysfs(&bytes(file)))
    }

    /// Returns kind, configuration, interfaces with the alternate setting of the data, and
    /// endpoints.
    fn summary(found: &DialledFunction) -> (&'static str, [u8; 4], [Option<u8>; 3]) {
        let function = &found.function;
        (
            found.kind.name(),
            [
                function.configuration,
                function.control_interface,
                function.data_interface,
                function.data_alternate,
            ],
            [
                function.interrupt_in.map(|end| end.address),
                Some(function.bulk_in.address),
                Some(function.bulk_out.address),
            ],
        )
    }

    #[test]
    fn both_other_ways_of_the_lt4132() {
        let found = of("hp_lt4132_03f0_a31d.bin");
        let summaries: Vec<_> = found.iter().map(summary).collect();
        assert_eq!(
            summaries,
            [
                (
                    "huawei-ncm",
                    [1, 3, 3, 1],
                    [Some(0x86), Some(0x85), Some(4)]
                ),
                ("ecm", [2, 0, 1, 0], [Some(0x82), Some(0x81), Some(1)]),
            ]
        );
        let ncm = &found[0].function;
        assert_eq!((ncm.capabilities, ncm.mac_index), (0x1f, 12));
        assert_eq!(ncm.max_segment_size, 1514);
        assert_eq!(
            (found[1].function.capabilities, found[1].function.mac_index),
            (0, 18)
        );
    }

    #[test]
    fn sticks_of_huawei() {
        for (file, kind) in [
            ("huawei_e3372_12d1_15b6.bin", DialledKind::HuaweiNcm),
            ("huawei_stick_ncm_12d1_155e.bin", DialledKind::Ncm),
            ("huawei_me936_12d1_15bb_cfg2.bin", DialledKind::Ncm),
        ] {
            let found = of(file);
            assert_eq!(found.len(), 1, "{file}");
            assert_eq!(found[0].kind, kind, "{file}");
            assert!(found[0].function.interrupt_in.is_some(), "{file}");
        }
    }

    /// The bits are those of NCM 1.0, table 5-2: packet filter, address, encapsulated commands.
    #[test]
    fn ncm_of_the_class_takes_at_commands_where_it_says_so() {
        let mut bytes = bytes("huawei_stick_ncm_12d1_155e.bin");
        let functional = bytes.windows(5).position(|at| at == [6, 0x24, 0x1a, 0, 1]);
        let capabilities = functional.unwrap() + 5;
        for (bits, takes) in [(0x1f, true), (0x04, true), (0x02, false), (0x1b, false)] {
            bytes[capabilities] = bits;
            let descriptors = Descriptors::from_sysfs(&bytes);
            let configuration = dialled(&descriptors)[0].function.configuration;
            let pipe = at_pipe(&descriptors, configuration);
            assert_eq!(pipe.is_some(), takes, "{bits:#04x}");
        }
    }

    #[test]
    fn nothing_else_is_dialled() {
        for file in [
            "linux_gadget_0525_a4a1.bin",
            "lsusb_0bda_8156_835e1b_1.bin",
            "apple_iphone_05ac_12a8_cfg5.bin",
            "lsusb_1bc7_1081_908638_1.bin",
        ] {
            assert_eq!(of(file), [], "{file}");
        }
    }
}
