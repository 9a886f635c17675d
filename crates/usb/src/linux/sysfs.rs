//! Lists and describes USB devices through sysfs, without opening them
//! (`Documentation/ABI/testing/sysfs-bus-usb`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::descriptors::Descriptors;
use crate::device::{Found, Identity, Speed};
use crate::error::{Error, Holder};

/// Largest number of bytes of descriptors that are read: more than eight configurations of 64 KiB.
const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Largest number of bytes of a text attribute that are read: as many as sysfs can hold.
const ATTRIBUTE_MAX: u64 = 4096;

/// Name of the driver to which the kernel binds an interface that a program has claimed.
pub(crate) const USBFS: &str = "usbfs";

/// The folders in which devices and their nodes are.
#[derive(Debug, Clone)]
pub(crate) struct Sysfs {
    devices: PathBuf,
    nodes: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::new("/sys/bus/usb/devices".into(), "/dev/bus/usb".into())
    }
}

impl Sysfs {
    pub(crate) fn new(devices: PathBuf, nodes: PathBuf) -> Self {
        Self { devices, nodes }
    }

    /// Returns why no device can be listed or opened, or `None` when devices can be.
    pub(crate) fn unavailable(&self) -> Option<String> {
        let missing = |path: &Path, means: &str| {
            (!path.is_dir()).then(|| format!("{} does not exist: {means}", path.display()))
        };
        missing(
            &self.devices,
            "this machine has no USB host controller, or sysfs is not mounted",
        )
        .or_else(|| {
            missing(
                &self.nodes,
                "USB devices are listed but cannot be opened here",
            )
        })
    }

    /// Lists all devices but root hubs, sorted by port.
    ///
    /// # Errors
    /// [`Error::Other`] when the folder exists and cannot be read.
    pub(crate) fn devices(&self) -> Result<Vec<Found>, Error> {
        let entries = match std::fs::read_dir(&self.devices) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(Error::Other {
                    operation: format!("list USB devices in {}", self.devices.display()),
                    reason: error.to_string(),
                });
            }
        };
        let mut found: Vec<Found> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_port(name))
            .filter_map(|port| self.describe(&port))
            .collect();
        found.sort_by(|a, b| a.identity.port.cmp(&b.identity.port));
        Ok(found)
    }

    /// Describes the device at `port`. Returns `None` when an attribute is missing, as while the
    /// device goes away.
    fn describe(&self, port: &str) -> Option<Found> {
        let mut blob = Vec::new();
        let file = File::open(self.devices.join(port).join("descriptors")).ok()?;
        file.take(DESCRIPTORS_MAX).read_to_end(&mut blob).ok()?;
        let descriptors = Descriptors::from_sysfs(&blob);
        let identity = self.identity(port)?;
        let active_configuration = self.active_configuration(port).ok();
        let kernel_drivers = active_configuration
            .and_then(|value| descriptors.configuration(value))
            .map(|configuration| {
                let numbers = configuration.interfaces.iter().map(|i| i.number);
                numbers
                    .filter_map(|n| Some((n, self.driver(port, configuration.value, n)?)))
                    .collect()
            })
            .unwrap_or_default();
        Some(Found {
            identity,
            descriptors,
            active_configuration,
            kernel_drivers,
        })
    }

    /// Returns the identity of the device at `port`. Returns `None` when an attribute is missing.
    pub(crate) fn identity(&self, port: &str) -> Option<Identity> {
        let text = |name: &str| {
            self.attribute(port, name)
                .ok()
                .filter(|text| !text.is_empty())
        };
        let hex = |name: &str| u16::from_str_radix(&text(name)?, 16).ok();
        Some(Identity {
            vendor: hex("idVendor")?,
            product: hex("idProduct")?,
            bus: text("busnum")?.parse().ok()?,
            address: text("devnum")?.parse().ok()?,
            port: port.to_owned(),
            speed: speed(text("speed").as_deref()),
            manufacturer: text("manufacturer"),
            product_name: text("product"),
            serial: text("serial"),
        })
    }

    /// Returns whether the device of this identity is at its port, and has not been enumerated anew.
    pub(crate) fn is_present(&self, identity: &Identity) -> bool {
        let number = |name: &str| {
            self.attribute(&identity.port, name)
                .ok()?
                .parse::<u8>()
                .ok()
        };
        number("devnum") == Some(identity.address) && number("busnum") == Some(identity.bus)
    }

    /// Returns `bConfigurationValue` of the active configuration. The attribute is empty for a device
    /// that is unconfigured, which is returned as 0.
    pub(crate) fn active_configuration(&self, port: &str) -> io::Result<u8> {
        let text = self.attribute(port, "bConfigurationValue")?;
        if text.is_empty() {
            return Ok(0);
        }
        text.parse()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Selects a configuration, for which the kernel unbinds all drivers first. -1 is written to
    /// unconfigure, because 0 selects that configuration of a device that has one.
    pub(crate) fn force_configuration(&self, port: &str, value: u8) -> io::Result<()> {
        let value = if value == 0 {
            "-1".to_owned()
        } else {
            value.to_string()
        };
        std::fs::write(self.devices.join(port).join("bConfigurationValue"), value)
    }

    /// Returns the name of the driver that is bound to an interface, `usbfs` for a program's claim.
    pub(crate) fn driver(&self, port: &str, configuration: u8, interface: u8) -> Option<String> {
        let interface = format!("{port}:{configuration}.{interface}");
        let link = std::fs::read_link(self.devices.join(interface).join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// Returns the names of the drivers that are bound to the interfaces of a configuration.
    pub(crate) fn drivers(&self, port: &str, configuration: u8) -> impl Iterator<Item = String> {
        let start = format!("{port}:{configuration}.");
        let entries = std::fs::read_dir(&self.devices).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let interfaces = names.filter_map(move |name| name.strip_prefix(&start)?.parse().ok());
        interfaces.filter_map(move |interface| self.driver(port, configuration, interface))
    }

    /// Returns the path of a device's node.
    pub(crate) fn node(&self, bus: u8, address: u8) -> PathBuf {
        self.nodes.join(format!("{bus:03}/{address:03}"))
    }

    /// Returns the path of the node of the hub that `port` belongs to, and the port's number there.
    pub(crate) fn hub(&self, port: &str) -> Option<(PathBuf, u32)> {
        let (hub, number) = match port.rsplit_once('.') {
            Some((hub, number)) => (hub.to_owned(), number),
            None => {
                let (bus, number) = port.split_once('-')?;
                (format!("usb{bus}"), number)
            }
        };
        let id = |name: &str| self.attribute(&hub, name).ok()?.parse().ok();
        Some((
            self.node(id("busnum")?, id("devnum")?),
            number.parse().ok()?,
        ))
    }

    fn attribute(&self, port: &str, name: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        let file = File::open(self.devices.join(port).join(name))?;
        file.take(ATTRIBUTE_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// Returns the program that has `node` open, as `NAME, process ID`, or `another program` when it
/// cannot be seen: programs of other users show only to root.
pub(crate) fn holder(node: &Path) -> Holder {
    let own = std::process::id();
    let holders = std::fs::read_dir("/proc")
        .ok()
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let mut files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
            let has = files.any(|file| {
                file.and_then(|f| std::fs::read_link(f.path()))
                    .is_ok_and(|target| target == node)
            });
            has.then_some(process)
        });
    let mut holders: Vec<u32> = holders.collect();
    // This program has the node open too. It is the holder only if no other program is.
    holders.sort_by_key(|&process| process == own);
    Holder::Program(match holders.first() {
        Some(&process) if process == own => "this program itself".to_owned(),
        Some(process) => {
            let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            format!("{}, process {process}", name.trim())
        }
        None => "another program".to_owned(),
    })
}

/// Returns whether a name in the folder of devices is a port (`1-4.2`), and not a root hub (`usb1`)
/// or an interface (`1-4:1.0`).
pub(crate) fn is_port(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
        && name.contains('-')
        && !name.contains([':', '/'])
}

/// Parses the attribute `speed`, which is in Mbit/s.
fn speed(text: Option<&str>) -> Speed {
    match text {
        Some("1.5") => Speed::Low,
        Some("12") => Speed::Full,
        Some("480") => Speed::High,
        Some("5000") => Speed::Super,
        Some("10000" | "20000") => Speed::SuperPlus,
        _ => Speed::Unknown,
    }
}
