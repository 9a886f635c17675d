//! The control socket of a running `uwwan emulate`.

use std::path::Path;

use uwwan_emulator::Controls;
use uwwan_modem::Failure;
use uwwan_modem::share::{Builder, Policy, Responder, Server};

use crate::emulated;
use crate::failure::FailureKind;
use crate::runtime::{self, RuntimeDir};

/// The socket. Dropping it removes the socket and its directory.
pub struct Control {
    _server: Server,
    directory: RuntimeDir,
}

impl Control {
    /// Opens the socket, of mode 0600, for this user alone.
    ///
    /// # Errors
    /// [`Failure`] with the reason why there is no socket, as [`RuntimeDir::create`] gives it.
    pub fn open(
        base: Option<&Path>,
        controls: Controls,
        stop: impl Fn() + Send + 'static,
    ) -> Result<Self, Failure> {
        let name = format!("emulate-{}", std::process::id());
        let base = runtime::own_base(base)?;
        runtime::sweep(&base);
        let directory = RuntimeDir::create(&base, &name)?;
        let socket = directory.emulate_socket();
        let failed = |error: std::io::Error| {
            Failure::new(FailureKind::Host, "cannot open the control socket")
                .at(socket.display().to_string())
                .because(error)
        };
        let mut builder = Builder::new(Policy::default()).map_err(failed)?;
        let answers = Answers {
            controls,
            stop: Box::new(stop),
        };
        builder
            .status(&socket, &name, Box::new(answers))
            .map_err(failed)?;
        Ok(Self {
            _server: builder.serve().map_err(failed)?,
            directory,
        })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> std::path::PathBuf {
        self.directory.emulate_socket()
    }
}

struct Answers {
    controls: Controls,
    stop: Box<dyn Fn() + Send>,
}

impl Responder for Answers {
    fn status(&self) -> serde_json::Value {
        emulated::tell(&self.controls, &[]).unwrap_or_default()
    }

    fn stop(&self) {
        (self.stop)();
    }

    fn emulate(&self, set: &[String]) -> Result<serde_json::Value, Failure> {
        emulated::tell(&self.controls, set)
    }
}
