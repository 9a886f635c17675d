//! What is known of each modem: a table in the program, and rows that users add in files.
//!
//! A device gets the first row that names its vendor and product, else the first that names its
//! vendor alone, else [`DEFAULT`], which is what the class specifications ask for. The rows of files
//! count before those of the table.

mod file;
mod table;

pub use file::load;
pub use table::{DEFAULT, ETHERNET, Origin, Quirk, TABLE};

/// Returns the row for a device. The rows of files count before the built-in ones.
#[must_use]
pub fn find(vendor: u16, product: u16) -> &'static Quirk {
    let (own, usual) = (
        table::best(file::rows(), vendor, Some(product)),
        table::built_in(vendor, Some(product)),
    );
    match own {
        // A file's row for a whole vendor leaves the modems with rows of their own alone.
        Some(own) if own.product.is_some() || usual.product.is_none() => own,
        _ => usual,
    }
}
