//! Small files of the state directory, in which findings outlive the process.
//!
//! A file is JSON, readable by its owner alone, and replaced in one piece or not at all. Its content
//! may be anything: a file that is too long, broken or no regular file is reported, and left as it is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Size of the longest file that is read, in bytes.
pub const LONGEST_FILE: u64 = 64 * 1024;

/// Another process that keeps a content over runs in place of this one, and may write the file.
pub trait Keeper<T>: Send + Sync {
    /// Returns the content that earlier runs have kept.
    ///
    /// # Errors
    /// The reason in words why the content cannot be read.
    fn load(&self) -> Result<T, String>;

    /// Keeps the content.
    ///
    /// # Errors
    /// The reason in words why the content is not kept.
    fn save(&self, content: &T) -> Result<(), String>;
}

/// Place where a content is kept over runs: a file, which this process or another one reads and writes.
#[derive(Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf", bound = "")]
pub struct StatePlace<T> {
    /// Path of the file.
    pub path: PathBuf,
    keeper: Option<Arc<dyn Keeper<T>>>,
}

impl<T> StatePlace<T> {
    /// Returns the place of a content that another process keeps.
    #[must_use]
    pub fn kept_by(path: PathBuf, keeper: Arc<dyn Keeper<T>>) -> Self {
        Self {
            path,
            keeper: Some(keeper),
        }
    }
}

impl<T> Clone for StatePlace<T> {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            keeper: self.keeper.clone(),
        }
    }
}

impl<T> From<PathBuf> for StatePlace<T> {
    fn from(path: PathBuf) -> Self {
        Self { path, keeper: None }
    }
}

impl<T> From<StatePlace<T>> for PathBuf {
    fn from(place: StatePlace<T>) -> Self {
        place.path
    }
}

/// Places are equal when the file is the same, whichever process writes it.
impl<T> PartialEq for StatePlace<T> {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl<T> std::fmt::Debug for StatePlace<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

/// A file of the state directory and its content.
#[derive(Debug)]
pub struct StateFile<T> {
    place: StatePlace<T>,
    /// Present content, which [`StateFile::save`] writes.
    pub content: T,
    /// Reason why the file of earlier runs cannot be read, if it cannot. The file is not replaced
    /// then.
    unreadable: Option<String>,
}

impl<T: Default + Serialize + DeserializeOwned> StateFile<T> {
    /// Reads the content that earlier runs have kept. It is the default without a file, and when the
    /// file cannot be read.
    #[must_use]
    pub fn open(place: impl Into<StatePlace<T>>) -> Self {
        let place = place.into();
        let loaded = match &place.keeper {
            Some(keeper) => keeper.load(),
            None => load(&place.path).map_err(|error| error.to_string()),
        };
        let (content, unreadable) = match loaded {
            Ok(content) => (content, None),
            Err(why) => (T::default(), Some(why)),
        };
        Self {
            place,
            content,
            unreadable,
        }
    }

    /// Reads the file again, which other processes may have changed since.
    pub fn reopen(&mut self) {
        *self = Self::open(self.place.clone());
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Returns the reason why the file of earlier runs cannot be read, if it cannot.
    #[must_use]
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Writes the content to the file.
    ///
    /// # Errors
    /// The reason why the file is left as it is: it cannot be read, or cannot be written.
    pub fn save(&self) -> Result<(), String> {
        if let Some(why) = &self.unreadable {
            return Err(why.clone());
        }
        match &self.place.keeper {
            Some(keeper) => keeper.save(&self.content),
            None => save(&self.place.path, &self.content).map_err(|error| error.to_string()),
        }
    }
}

/// Opens a file for reading.
///
/// # Errors
/// The system's error, and [`io::ErrorKind::InvalidInput`] for anything but a regular file, such as a pipe
/// or a device, which is never waited for.
pub fn regular(path: &Path) -> io::Result<fs::File> {
    // Opening a pipe without a writer would wait without this flag.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        )),
    }
}

/// Reads a file; without a file the content is the default.
///
/// # Errors
/// The system's error, and that of parsing a file of another form. A pipe or a device is refused and
/// never waited for.
fn load<T: Default + DeserializeOwned>(path: &Path) -> io::Result<T> {
    let file = match regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes a file that this user alone may read, in one piece or not at all. Its directory is made if
/// it does not exist.
///
/// # Errors
/// The system's error; the old file then stays.
fn save<T: Serialize>(path: &Path, content: &T) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(serde_json::to_string(content)?.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, path))
        // The directory entry must outlive a power cut as well.
        .and_then(|()| fs::File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    type Kept = StateFile<Vec<u32>>;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("uwwan-{name}-{}", std::process::id()))
    }

    #[test]
    fn the_file_is_private_and_garbage_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = folder("state");
        let path = folder.join("deep").join("kept.json");
        let mut kept = Kept::open(path.clone());
        assert!(kept.content.is_empty() && kept.unreadable().is_none());
        kept.content.push(7);
        kept.save().unwrap();
        kept.save().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(Kept::open(path.clone()).content, [7]);
        for garbage in ["", "{", "[\"x\"]", "[7] 8", "\u{1}"] {
            fs::write(&path, garbage).unwrap();
            let kept = Kept::open(path.clone());
            assert!(kept.unreadable().is_some() && kept.content.is_empty());
        }
        fs::write(&path, vec![b' '; 1 << 20]).unwrap();
        assert!(load::<Vec<u32>>(&path).is_err());
        fs::remove_file(&path).unwrap();
        let here = rustix::fs::CWD;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(here, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let refused = load::<Vec<u32>>(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_replaced() {
        let folder = folder("unreadable");
        let path = folder.join("kept.json");
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, "{").unwrap();
        let mut broken = Kept::open(path.clone());
        let why = broken.unreadable().unwrap().to_owned();
        broken.content.push(7);
        assert_eq!(broken.save(), Err(why));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn another_process_may_keep_it() {
        #[derive(Default)]
        struct Elsewhere(std::sync::Mutex<Option<Vec<u32>>>);
        impl Keeper<Vec<u32>> for Elsewhere {
            fn load(&self) -> Result<Vec<u32>, String> {
                let kept = self.0.lock().unwrap().clone();
                kept.ok_or_else(|| "not there".to_owned())
            }
            fn save(&self, content: &Vec<u32>) -> Result<(), String> {
                *self.0.lock().unwrap() = Some(content.clone());
                Ok(())
            }
        }
        let elsewhere = Arc::new(Elsewhere::default());
        let place = StatePlace::kept_by("/nowhere/kept.json".into(), elsewhere.clone());
        let kept = Kept::open(place.clone());
        assert_eq!(kept.unreadable(), Some("not there"));
        assert_eq!(kept.save().unwrap_err(), "not there");
        elsewhere.save(&vec![7]).unwrap();
        let mut kept = Kept::open(place);
        assert_eq!(kept.content, [7]);
        kept.content.push(8);
        kept.save().unwrap();
        assert_eq!(elsewhere.load().unwrap(), [7, 8]);
    }
}
