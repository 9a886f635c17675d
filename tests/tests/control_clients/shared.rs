//! A driver on an emulated modem, with its entrances open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use uwwan_modem::Options;
use uwwan_modem::client::Client;
use uwwan_modem::share::{Builder, MbimEntrances, MbimOptions, Policy, Server};

use uwwan_tests::bench::{Bench, quick};

/// The driver, its entrances, and the folder that they are in.
pub struct Shared {
    pub mbim: MbimEntrances,
    pub server: Option<Server>,
    pub bench: Bench,
    pub folder: PathBuf,
}

impl Shared {
    /// Starts a driver and waits until it is online, with the entrances that `choose` asks for.
    pub fn start(knobs: &str, choose: impl FnOnce(&mut MbimOptions)) -> Self {
        let mut shared = Self::starting(knobs, quick(), choose);
        shared.bench.online();
        shared
    }

    /// Starts a driver that is still coming up.
    pub fn starting(knobs: &str, options: Options, choose: impl FnOnce(&mut MbimOptions)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join(format!(
            "uwwan-clients-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let bench = Bench::start(knobs, options);
        let mut options = MbimOptions {
            socket: folder.join("mbim"),
            terminal: Some(folder.join("mbim-terminal")),
            ..MbimOptions::default()
        };
        choose(&mut options);
        let mut builder = Builder::new(Policy::default()).unwrap();
        let mbim = builder.mbim(&bench.handle, &options);
        Self {
            mbim,
            server: Some(builder.serve().unwrap()),
            bench,
            folder,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("mbim")
    }

    pub fn client(&self) -> Client {
        Client::through(&self.socket()).unwrap()
    }

    /// Stops the driver: the session is still up, and no rule was violated.
    pub fn stop(mut self) {
        assert!(self.bench.handle.status().online);
        self.bench.ping_through();
        self.server = None;
        let left: Vec<_> = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        std::fs::remove_dir(&self.folder).unwrap();
        self.bench.stop();
    }
}
