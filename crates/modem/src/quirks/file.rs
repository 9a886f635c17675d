//! Quirk files: rows beside the built-in table, as TOML.
//!
//! ```toml
//! [[modem]]
//! vendor = 0x2c7c
//! product = 0x0801        # left out: all products of the vendor
//! name = "Quectel RM520N-GL of the lab"
//! ndp = "end"
//! settle = 2.5            # seconds
//! ```
//!
//! A field that a row leaves out is as in the row that applied without it, which depends on whether
//! the device is driven as a modem or as a plain Ethernet device.

use std::fs;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::table::{Origin, Quirk, built_in, built_in_ethernet};
use crate::failure::{Failure, FailureKind};
use crate::options::{FccUnlock, Format, Mode, Padding, Placement, UssdForm};
use crate::state_file;

/// Size of the longest file that is read, in bytes.
const LONGEST_FILE: u64 = 64 * 1024;
/// Largest number of files in a directory.
const MOST_FILES: usize = 64;
/// Largest number of rows of all files together.
const MOST_ROWS: usize = 1024;
/// Sizes in bytes that a row may give for NTBs (NCM 1.0, 6.2.7).
const NTB_SIZES: RangeInclusive<u32> = 2048..=1 << 20;
/// Longest pause in seconds that a row may have.
const LONGEST_PAUSE: f64 = 600.0;

/// Rows of the files, which count before the built-in ones; those of a later file come first.
static ROWS: OnceLock<Rows> = OnceLock::new();

/// The rows in the forms that apply to each kind of function.
#[derive(Debug, Default)]
struct Rows {
    modems: Vec<Quirk>,
    ethernet: Vec<Quirk>,
}

/// Returns the rows for modems.
pub(super) fn rows() -> &'static [Quirk] {
    ROWS.get().map_or(&[], |rows| &rows.modems)
}

/// Returns the same rows in the form for plain Ethernet functions.
pub(super) fn ethernet_rows() -> &'static [Quirk] {
    ROWS.get().map_or(&[], |rows| &rows.ethernet)
}

/// The text of a file, with its path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    modem: Vec<Spanned<Row>>,
}

/// A row of a file. Its fields are those of [`Quirk`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Row {
    vendor: u16,
    product: Option<u16>,
    name: Option<String>,
    via_zero: Option<bool>,
    recycle: Option<bool>,
    settle: Option<Spanned<f64>>,
    ndp: Option<Placement>,
    padding: Option<Padding>,
    input_size: Option<Spanned<u32>>,
    ntb: Option<Format>,
    block_size: Option<Spanned<u32>>,
    max_datagrams: Option<Spanned<u16>>,
    divisor: Option<Spanned<u16>>,
    remainder: Option<u16>,
    open_budget: Option<Spanned<f64>>,
    format_pause: Option<Spanned<f64>>,
    toggle: Option<bool>,
    disconnect_suspend: Option<bool>,
    ipv6_by_plmn: Option<bool>,
    fcc_unlock: Option<FccUnlock>,
    at_port: Option<u8>,
    mode: Option<Mode>,
    ussd: Option<UssdForm>,
    story: Option<String>,
    source: Option<String>,
}

/// Returns the line and the column of a byte of the text, both counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl Row {
    /// Returns the row in the forms for modems and for plain Ethernet functions. The row stands in
    /// `text`, and begins at `line`.
    fn quirks(self, path: &'static str, text: &str, line: usize) -> Result<[Quirk; 2], String> {
        let out = |name: &str, at: usize, bounds: &str| {
            let (line, column) = place(text, at);
            format!("line {line}, column {column}: {name} is not among {bounds}")
        };
        let seconds = |name: &str, given: Option<Spanned<f64>>| match given {
            None => Ok(None),
            Some(given) if (0.0..=LONGEST_PAUSE).contains(given.get_ref()) => {
                Ok(Some(Duration::from_secs_f64(given.into_inner())))
            }
            Some(given) => {
                let bounds = format!("0 to {LONGEST_PAUSE} seconds");
                Err(out(name, given.span().start, &bounds))
            }
        };
        let size = |name: &str, given: Option<Spanned<u32>>| match given {
            Some(given) if !NTB_SIZES.contains(given.get_ref()) => {
                let bounds = format!("{} to {} bytes", NTB_SIZES.start(), NTB_SIZES.end());
                Err(out(name, given.span().start, &bounds))
            }
            given => Ok(given.map(Spanned::into_inner)),
        };
        let count = |name: &str, given: Option<Spanned<u16>>| match given {
            Some(given) if *given.get_ref() == 0 => {
                Err(out(name, given.span().start, "1 to 65535"))
            }
            given => Ok(given.map(Spanned::into_inner)),
        };
        let settle = seconds("settle", self.settle)?;
        let open_budget = seconds("open-budget", self.open_budget)?;
        let format_pause = seconds("format-pause", self.format_pause)?;
        let input_size = size("input-size", self.input_size)?;
        let block_size = size("block-size", self.block_size)?;
        let max_datagrams = count("max-datagrams", self.max_datagrams)?;
        let divisor = count("divisor", self.divisor)?;
        // Rows are few and bounded, so their texts are kept until the program ends.
        let kept = |text: Option<String>| -> Option<&'static str> {
            text.map(|text| &*Box::leak(text.into_boxed_str()))
        };
        let [name, story, source] = [self.name, self.story, self.source].map(kept);
        let bases = [
            built_in(self.vendor, self.product),
            built_in_ethernet(self.vendor, self.product),
        ];
        Ok(bases.map(|base| Quirk {
            vendor: Some(self.vendor),
            product: self.product,
            name: name.unwrap_or(base.name),
            via_zero: self.via_zero.unwrap_or(base.via_zero),
            recycle: self.recycle.unwrap_or(base.recycle),
            settle: settle.unwrap_or(base.settle),
            ndp: self.ndp.unwrap_or(base.ndp),
            padding: self.padding.unwrap_or(base.padding),
            input_size: input_size.or(base.input_size),
            ntb: self.ntb.or(base.ntb),
            block_size: block_size.or(base.block_size),
            max_datagrams: max_datagrams.or(base.max_datagrams),
            divisor: divisor.or(base.divisor),
            remainder: self.remainder.or(base.remainder),
            open_budget: open_budget.unwrap_or(base.open_budget),
            format_pause: format_pause.unwrap_or(base.format_pause),
            toggle: self.toggle.unwrap_or(base.toggle),
            disconnect_suspend: self.disconnect_suspend.unwrap_or(base.disconnect_suspend),
            ipv6_by_plmn: self.ipv6_by_plmn.unwrap_or(base.ipv6_by_plmn),
            fcc_unlock: self.fcc_unlock.or(base.fcc_unlock),
            at_port: self.at_port.or(base.at_port),
            mode: self.mode.or(base.mode),
            ussd: self.ussd.or(base.ussd),
            story: story.unwrap_or(base.story),
            source: source.unwrap_or(base.source),
            origin: Origin::File { path, line },
        }))
    }
}

/// Reads the files `*.toml` of the directories, in their order and then by name, and puts their rows
/// before the built-in table: of two rows for the same modem the one read last applies. A missing
/// directory counts as empty. This is done once, before a device is looked for.
///
/// # Errors
/// [`FailureKind::Usage`], with file, line and column, for the first file that cannot be used; then
/// no row is taken.
pub fn load(directories: &[PathBuf]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for path in files(directories)? {
        rows.extend(read(&path)?);
        if rows.len() > MOST_ROWS {
            return Err(wrong(&path).because(format!("there are more than {MOST_ROWS} rows")));
        }
    }
    rows.reverse();
    let (modems, ethernet) = rows
        .into_iter()
        .map(|[modem, ethernet]| (modem, ethernet))
        .unzip();
    // A second call of the same process finds the same files.
    let _ = ROWS.set(Rows { modems, ethernet });
    Ok(())
}

fn wrong(path: &Path) -> Failure {
    Failure::new(FailureKind::Usage, "cannot use a quirk file").at(path.display().to_string())
}

fn files(directories: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for directory in directories {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .take(MOST_FILES + 1)
            .collect();
        if files.len() > MOST_FILES {
            return Err(wrong(directory).because(format!("it has more than {MOST_FILES} files")));
        }
        files.sort();
        all.extend(files);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<[Quirk; 2]>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| wrong(path).because(why);
    let mut text = String::new();
    state_file::regular(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
        .map_err(|error| wrong(&error))?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(wrong(&format_args!(
            "it is longer than {LONGEST_FILE} bytes"
        )));
    }
    parse(path, &text)
}

/// Parses the text of the file at `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<[Quirk; 2]>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        wrong(path).because(why).next(
            "its rows are [[modem]] with vendor, product and what differs; man uwwan-quirks tells the fields",
        )
    };
    let rows: Text = toml::from_str(text).map_err(|error| wrong(&error.to_string().trim_end()))?;
    let kept: &'static str = Box::leak(path.display().to_string().into_boxed_str());
    let rows = rows.modem.into_iter().map(|row| {
        let (line, _) = place(text, row.span().start);
        row.into_inner().quirks(kept, text, line)
    });
    rows.collect::<Result<_, _>>().map_err(|why| wrong(&why))
}

#[cfg(test)]
mod tests {
    use super::super::table::{DEFAULT, ETHERNET, TABLE, best};
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("uwwan-quirks-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_row_says_what_differs_and_where_it_stands() {
        let folder = folder("row");
        let path = folder.join("a.toml");
        let text = "# of the lab\n\n[[modem]]\nvendor = 0x2c7c\nproduct = 0x0801\nname = \"ours\"\n\
                    ndp = \"end\"\nsettle = 2.5\nat-port = 3\ninput-size = 16384\n\
                    ntb = \"32\"\nblock-size = 4096\nmax-datagrams = 7\nmode = \"ncm\"\nussd = \"octets\"\n\n[[modem]]\nvendor = 0xdead\n";
        fs::write(&path, text).unwrap();
        let rows = read(&path).unwrap();
        let [[ours, _], [other, _]] = rows[..] else {
            panic!("{rows:?}")
        };
        let table = TABLE
            .iter()
            .find(|row| row.product == Some(0x0801))
            .unwrap();
        assert_eq!((ours.name, ours.ndp), ("ours", Placement::End));
        assert_eq!(ours.settle, Duration::from_millis(2500));
        assert_eq!((ours.at_port, ours.input_size), (Some(3), Some(16_384)));
        assert_eq!(ours.ntb, Some(Format::Ntb32));
        assert_eq!((ours.block_size, ours.max_datagrams), (Some(4096), Some(7)));
        assert_eq!((ours.mode, other.mode), (Some(Mode::Ncm), None));
        assert_eq!((ours.ussd, other.ussd), (Some(UssdForm::Octets), None));
        // The other fields are those of the built-in row.
        assert_eq!(
            (ours.fcc_unlock, ours.source),
            (table.fcc_unlock, table.source)
        );
        assert_eq!(
            ours.origin.to_string(),
            format!("{}, line 3", path.display())
        );
        assert_eq!((other.product, other.padding), (None, DEFAULT.padding));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_row_lies_over_what_the_kind_of_function_has() {
        let folder = folder("kinds");
        let path = folder.join("a.toml");
        let text = "[[modem]]\nvendor = 0x17e9\npadding = \"zlp\"\n\n\
                    [[modem]]\nvendor = 0x12d1\nproduct = 0xffff\nname = \"ours\"\n";
        fs::write(&path, text).unwrap();
        let rows = read(&path).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let [[_, dock], [modem, adapter]] = rows[..] else {
            panic!("{rows:?}")
        };
        assert_eq!((dock.padding, dock.via_zero), (Padding::ZeroPacket, false));
        assert_eq!(dock.name, ETHERNET.name);
        // The vendor's row of the built-in table is for modems.
        assert!(modem.recycle && modem.via_zero && modem.ndp == Placement::End);
        assert_eq!((adapter.name, adapter.padding), ("ours", Padding::Short));
        assert!(!adapter.recycle && !adapter.via_zero && adapter.ndp == Placement::Front);
        // A row for a whole vendor applies to its Ethernet functions.
        let own: &'static [Quirk] = Box::leak(Box::new([dock]));
        let usual = built_in_ethernet(0x17e9, Some(0x4321));
        assert_eq!(usual, &ETHERNET);
        let applies = super::super::rank(best(own, 0x17e9, Some(0x4321)), usual);
        assert_eq!(applies, &dock);
    }

    #[test]
    fn what_is_broken_is_told_with_its_place() {
        let folder = folder("broken");
        let path = folder.join("b.toml");
        for (text, place) in [
            ("[[modem]]\nvendor = 0x1ffff\n", "line 2, column"),
            ("[[modem]]\nvendor = 1\nnpd = \"end\"\n", "line 3, column"),
            (
                "[[modem]]\nvendor = 1\nndp = \"middle\"\n",
                "line 3, column",
            ),
            ("[[modem]]\nproduct = 1\n", "line 1, column"),
            ("modem = 3\n", "line 1, column"),
            ("[[modem]\n", "line 1, column"),
            (
                "[[modem]]\nvendor = 1\nsettle = 1e9\n",
                "line 3, column 10: settle",
            ),
            (
                "[[modem]]\nvendor = 1\nsettle = nan\n",
                "line 3, column 10: settle",
            ),
            (
                "[[modem]]\nvendor = 1\ninput-size = 512\n",
                "line 3, column 14: input-size",
            ),
            (
                "[[modem]]\nvendor = 1\nblock-size = 7\n",
                "line 3, column 14: block-size",
            ),
            (
                "[[modem]]\nvendor = 1\nmax-datagrams = 0\n",
                "line 3, column 17: max-datagrams",
            ),
            (
                "[[modem]]\nvendor = 1\ndivisor = 0\n",
                "line 3, column 11: divisor",
            ),
            ("[[modem]]\nvendor = 1\nntb = \"24\"\n", "line 3, column"),
            ("[[modem]]\nvendor = 1\nmode = \"qmi\"\n", "line 3, column"),
            ("[[modem]]\nvendor = 1\nussd = \"ucs2\"\n", "line 3, column"),
        ] {
            fs::write(&path, text).unwrap();
            let failure = read(&path).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            let told = failure.to_string();
            assert!(
                told.contains(place) && told.contains("b.toml"),
                "{text}: {told}"
            );
        }
        fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
        assert!(read(&path).unwrap_err().why[0].contains("longer than"));
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).is_err());
        assert!(read(&folder).unwrap_err().why[0].contains("regular file"));
        for number in 0..=MOST_FILES {
            fs::write(folder.join(format!("{number}.toml")), "").unwrap();
        }
        assert!(files(std::slice::from_ref(&folder)).is_err());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(files(&[folder]).unwrap(), Vec::<PathBuf>::new());
    }
}
