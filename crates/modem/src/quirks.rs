//! Facts about each modem: a table in the program, and rows that users add in files.
//!
//! A device gets the first row that names its vendor and product, else the first that names its
//! vendor alone, else [`DEFAULT`], which is what the class specifications ask for. The rows of files
//! count before those of the table. A plain Ethernet function has [`ETHERNET`] in place of
//! [`DEFAULT`] and of the table's rows for whole vendors.

mod file;
mod table;

pub use file::load;
#[cfg(fuzzing)]
pub(crate) use file::parse;
pub use table::{DEFAULT, ETHERNET, Origin, Quirk, TABLE};

/// Returns the row for a device that is driven as a modem. The rows of files count before the
/// built-in ones.
#[must_use]
pub fn find(vendor: u16, product: u16) -> &'static Quirk {
    rank(
        table::best(file::rows(), vendor, Some(product)),
        table::built_in(vendor, Some(product)),
    )
}

/// Returns the row for a device that is driven as a plain Ethernet device.
#[must_use]
pub fn find_ethernet(vendor: u16, product: u16) -> &'static Quirk {
    rank(
        table::best(file::ethernet_rows(), vendor, Some(product)),
        table::built_in_ethernet(vendor, Some(product)),
    )
}

/// Returns every row that a device may get: those of files first, then the built-in ones. The rows of
/// files are returned in the form that applies to modems.
pub fn all() -> impl Iterator<Item = &'static Quirk> {
    file::rows().iter().chain(TABLE)
}

/// Returns the row that applies: the files' `own` or the `usual` one. A file's row for a whole
/// vendor does not apply to modems with rows of their own.
fn rank(own: Option<&'static Quirk>, usual: &'static Quirk) -> &'static Quirk {
    own.filter(|own| own.product.is_some() || usual.product.is_none())
        .unwrap_or(usual)
}
