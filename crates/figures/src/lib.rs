//! Measurements of several contenders, each as a median with its spread. They are shown as a
//! [table] for terminals, as JSON (serde), which can be read again ([saved]), as [csv], and as a
//! [page] with charts that needs nothing but a browser.
//!
//! ```
//! use uwwan_figures::{Better, Figures, Kind};
//!
//! let mut figures = Figures::new("Two ways");
//! let rate = Kind::new("Throughput", "download", "Mbit/s", Better::Higher);
//! for (contender, value) in [("a", 100.0), ("b", 148.0), ("a", 104.0), ("b", 152.0)] {
//!     figures.record(&rate, contender, value);
//! }
//! let rows = figures.metrics()[0].rows();
//! assert_eq!(rows[1].spread().unwrap().median, 150.0);
//! assert!(uwwan_figures::table::of(&figures).contains("1.47"));
//! ```
#![forbid(unsafe_code)]

pub mod csv;
pub mod page;
pub mod saved;
pub mod table;

mod metric;
mod spread;

pub use metric::{Better, Figures, Kind, Metric, Row};
pub use spread::Spread;

/// The examples in the README are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
