//! The dimensions that a sweep varies, and the cells that follow from it: every combination of the
//! values.

use std::fmt;
use std::time::Duration;

use uwwan_modem::Options;

use crate::checks::{bad, within};
use crate::failure::Failure;

/// Largest number of cells of a sweep.
const MOST_CELLS: usize = 10_000;
/// Longest pause between two batches, in milliseconds.
const LONGEST_PAUSE: f64 = 60_000.0;
/// Largest number of NTBs without datagrams in front of each NTB: more would leave no buffer for
/// others.
const MOST_EMPTY: u32 = 7;
/// Longest pause in configuration 0, in seconds.
const LONGEST_SETTLE: f64 = 600.0;

/// A setting that can be varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Pause between USB configuration 0 and the MBIM configuration.
    Settle,
    /// Format of NTBs.
    Ntb,
    /// Length of the longest NTB to the device, in bytes.
    BlockSize,
    /// Length of the longest NTB from the device, in bytes.
    InputSize,
    /// Number of transfers in flight.
    InFlight,
    /// Place of the NDP.
    Ndp,
    /// Size of the NDP.
    Table,
    /// End of an NTB that fills its last packet.
    Pad,
    /// Number of datagrams in an NTB.
    MaxDatagrams,
    /// Divisor of the offsets of datagrams, in bytes.
    Divisor,
    /// Remainder of the offsets of datagrams, in bytes.
    Remainder,
    /// Alignment of NDPs, in bytes.
    NdpAlignment,
    /// Pause between two batches.
    Pause,
    /// Sequence of `wSequence` over the NTBs.
    Sequence,
    /// Number of NTBs without datagrams in front of each NTB.
    Empty,
    /// Order of the requests that set the data function up.
    Order,
}

impl Dimension {
    /// All dimensions.
    const ALL: [Self; 16] = [
        Self::Settle,
        Self::Ntb,
        Self::BlockSize,
        Self::InputSize,
        Self::InFlight,
        Self::Ndp,
        Self::Table,
        Self::Pad,
        Self::MaxDatagrams,
        Self::Divisor,
        Self::Remainder,
        Self::NdpAlignment,
        Self::Pause,
        Self::Sequence,
        Self::Empty,
        Self::Order,
    ];

    /// Returns the name of the dimension, which is that of the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Ntb => "ntb",
            Self::BlockSize => "block-size",
            Self::InputSize => "input-size",
            Self::InFlight => "in-flight",
            Self::Ndp => "ndp",
            Self::Table => "table",
            Self::Pad => "pad",
            Self::MaxDatagrams => "max-datagrams",
            Self::Divisor => "divisor",
            Self::Remainder => "remainder",
            Self::NdpAlignment => "ndp-alignment",
            Self::Pause => "pause",
            Self::Sequence => "sequence",
            Self::Empty => "empty",
            Self::Order => "order",
        }
    }

    /// Returns whether another value needs a new session.
    fn takes_a_session(self) -> bool {
        matches!(
            self,
            Self::Settle
                | Self::Ntb
                | Self::BlockSize
                | Self::InputSize
                | Self::InFlight
                | Self::Order
        )
    }

    /// Puts the value into a setting.
    ///
    /// # Errors
    /// [`FailureKind::Usage`](crate::failure::FailureKind::Usage), which names the option and what it
    /// accepts.
    fn apply(self, value: &str, setting: &mut Setting) -> Result<(), Failure> {
        let name = self.name();
        let wrong = |why: &dyn fmt::Display| bad(name, format!("{value:?}: {why}"));
        let number = |least: u32, most: u32| {
            let number: u32 = value
                .parse()
                .map_err(|_| wrong(&format_args!("a number from {least} to {most} is expected")))?;
            within(name, number, least, most)?;
            Ok::<_, Failure>(number)
        };
        let short = |least: u16| number(least.into(), u16::MAX.into()).map(|number| number as u16);
        let decimal = |most: f64| {
            let number: f64 = value.parse().map_err(|_| wrong(&"a number is expected"))?;
            within(name, number, 0.0, most)?;
            Ok::<_, Failure>(number)
        };
        let options = &mut setting.options;
        match self {
            Self::Settle => {
                options.settle = Some(Duration::from_secs_f64(decimal(LONGEST_SETTLE)?));
            }
            Self::Ntb => options.ntb = Some(value.parse().map_err(|error| wrong(&error))?),
            Self::BlockSize => options.block_size = Some(number(2048, 1 << 18)?),
            Self::InputSize => options.input_size = Some(number(2048, 1 << 18)?),
            Self::InFlight => options.in_flight = Some(number(1, 64)? as usize),
            Self::Ndp => options.ndp = Some(value.parse().map_err(|error| wrong(&error))?),
            Self::Table => options.table = Some(value.parse().map_err(|error| wrong(&error))?),
            Self::Pad => options.padding = Some(value.parse().map_err(|error| wrong(&error))?),
            Self::MaxDatagrams => options.max_datagrams = Some(short(1)?),
            Self::Divisor => options.experiment.divisor = Some(short(1)?),
            Self::Remainder => options.experiment.remainder = Some(short(0)?),
            Self::NdpAlignment => options.experiment.ndp_alignment = Some(short(4)?),
            Self::Sequence => {
                options.experiment.sequence = value.parse().map_err(|error| wrong(&error))?;
            }
            Self::Empty => options.experiment.empty = number(0, MOST_EMPTY)? as u8,
            Self::Order => {
                options.experiment.order = value.parse().map_err(|error| wrong(&error))?;
            }
            Self::Pause => {
                setting.pause = Duration::from_secs_f64(decimal(LONGEST_PAUSE)? / 1000.0);
            }
        }
        Ok(())
    }
}

/// Settings of one cell, in the form in which they are used.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Options of the driver.
    pub options: Options,
    /// Pause between two batches.
    pub pause: Duration,
}

impl Setting {
    /// Returns the settings of a cell: `base` with the cell's values.
    ///
    /// # Errors
    /// That of [`Dimension::apply`].
    pub fn of(cell: &Cell, base: &Options) -> Result<Self, Failure> {
        let mut setting = Self {
            options: base.clone(),
            pause: Duration::ZERO,
        };
        for (dimension, value) in &cell.values {
            dimension.apply(value, &mut setting)?;
        }
        Ok(setting)
    }
}

/// One combination of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    values: Vec<(Dimension, String)>,
}

impl Cell {
    /// Makes a cell of these values.
    pub fn of(values: &[(Dimension, &str)]) -> Self {
        let values = values.iter();
        Self {
            values: values
                .map(|(dimension, value)| (*dimension, (*value).to_owned()))
                .collect(),
        }
    }

    /// Returns the value of a dimension.
    pub fn value(&self, dimension: Dimension) -> Option<&str> {
        let mut values = self.values.iter();
        let (_, value) = values.find(|(known, _)| *known == dimension)?;
        Some(value)
    }

    /// Returns the part of the cell that needs a session of its own: cells with the same part share
    /// one.
    pub fn session(&self) -> Vec<&(Dimension, String)> {
        let values = self.values.iter();
        values
            .filter(|(dimension, _)| dimension.takes_a_session())
            .collect()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            return f.write_str("the modem's own settings");
        }
        for (at, (dimension, value)) in self.values.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {value}", dimension.name())?;
        }
        Ok(())
    }
}

/// Values to vary, by dimension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix(Vec<(Dimension, Vec<String>)>);

impl Matrix {
    /// Returns a matrix. A dimension without values is left to the modem, and repeated values count
    /// once.
    pub fn new(dimensions: Vec<(Dimension, Vec<String>)>) -> Self {
        let mut kept = Vec::new();
        for (dimension, values) in dimensions {
            let mut once: Vec<String> = Vec::new();
            for value in values {
                let value = value.trim().to_owned();
                if !once.contains(&value) {
                    once.push(value);
                }
            }
            if !once.is_empty() {
                kept.push((dimension, once));
            }
        }
        Self(kept)
    }

    /// Returns the matrix in the form in which it is written into a file.
    pub fn written(&self) -> Vec<(String, Vec<String>)> {
        let dimensions = self.0.iter();
        dimensions
            .map(|(dimension, values)| (dimension.name().to_owned(), values.clone()))
            .collect()
    }

    /// Returns the matrix that was written.
    ///
    /// # Errors
    /// The name of a dimension that does not exist, or that is there twice.
    pub fn read(written: &[(String, Vec<String>)]) -> Result<Self, String> {
        let mut dimensions: Vec<(Dimension, Vec<String>)> = Vec::new();
        for (name, values) in written {
            let mut all = Dimension::ALL.into_iter();
            let Some(dimension) = all.find(|dimension| dimension.name() == name) else {
                return Err(format!("{name:?} cannot be varied"));
            };
            if dimensions.iter().any(|(known, _)| *known == dimension) || values.is_empty() {
                return Err(format!("{name} is there twice, or has no values"));
            }
            dimensions.push((dimension, values.clone()));
        }
        let matrix = Self::new(dimensions);
        match matrix.written() == written {
            true => Ok(matrix),
            false => Err("a value is there twice".to_owned()),
        }
    }

    /// Returns the dimensions with their values.
    pub fn dimensions(&self) -> &[(Dimension, Vec<String>)] {
        &self.0
    }

    /// Returns every combination of the values. The last dimension changes fastest.
    ///
    /// # Errors
    /// [`FailureKind::Usage`](crate::failure::FailureKind::Usage) when there are too many.
    pub fn cells(&self) -> Result<Vec<Cell>, Failure> {
        let count = self.0.iter().try_fold(1_usize, |count, (_, values)| {
            count
                .checked_mul(values.len())
                .filter(|count| *count <= MOST_CELLS)
        });
        if count.is_none() {
            return Err(bad(
                self.0
                    .last()
                    .map_or("ndp", |(dimension, _)| dimension.name()),
                format!("the combinations are more than {MOST_CELLS}"),
            ));
        }
        let mut cells = vec![Cell { values: Vec::new() }];
        for (dimension, values) in &self.0 {
            cells = cells
                .iter()
                .flat_map(|cell| {
                    values.iter().map(|value| {
                        let mut further = cell.clone();
                        further.values.push((*dimension, value.clone()));
                        further
                    })
                })
                .collect();
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::options::{Format, Placement};

    fn words(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_combination_is_a_cell_once() {
        let matrix = Matrix::new(vec![
            (Dimension::Ntb, words(&["16", "32"])),
            (Dimension::Table, Vec::new()),
            (Dimension::Ndp, words(&["end", " front", "end"])),
        ]);
        let cells = matrix.cells().unwrap();
        let names: Vec<String> = cells.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "ntb 16, ndp end",
                "ntb 16, ndp front",
                "ntb 32, ndp end",
                "ntb 32, ndp front"
            ]
        );
        assert_eq!(cells[0].session(), cells[1].session());
        assert_ne!(cells[1].session(), cells[2].session());
        let setting = Setting::of(&cells[3], &Options::default()).unwrap();
        assert_eq!(setting.options.ntb, Some(Format::Ntb32));
        assert_eq!(setting.options.ndp, Some(Placement::Front));
        assert_eq!(Matrix::read(&matrix.written()), Ok(matrix.clone()));
        for wrong in [
            vec![("colour".to_owned(), words(&["red"]))],
            vec![("ndp".to_owned(), Vec::new())],
            vec![("ndp".to_owned(), words(&["end", "end"]))],
            vec![("ndp".to_owned(), words(&["end"])); 2],
        ] {
            assert!(Matrix::read(&wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Matrix::default().cells().unwrap().len(), 1);
        let many: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let huge = Matrix::new(vec![
            (Dimension::Divisor, many.clone()),
            (Dimension::Remainder, many),
        ]);
        assert!(huge.cells().is_err());
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named() {
        for (dimension, value) in [
            (Dimension::Ndp, "middle"),
            (Dimension::Ntb, "24"),
            (Dimension::BlockSize, "7"),
            (Dimension::BlockSize, "4k"),
            (Dimension::InFlight, "0"),
            (Dimension::MaxDatagrams, "70000"),
            (Dimension::Settle, "-1"),
            (Dimension::Settle, "nan"),
            (Dimension::Pause, "soon"),
            (Dimension::Divisor, "0"),
            (Dimension::Sequence, "falling"),
            (Dimension::Empty, "8"),
            (Dimension::Order, "open-last"),
        ] {
            let cell = Cell::of(&[(dimension, value)]);
            let failure = Setting::of(&cell, &Options::default()).unwrap_err();
            let told = failure.to_string();
            assert!(
                told.contains(&format!("--{}", dimension.name())),
                "{value}: {told}"
            );
        }
    }
}
