//! A server on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{Server, ServerConfig, ServerReport};
use crate::error::Error;
use crate::link::{PacketLink, Wait};

/// A server on a thread of its own. Dropping it stops the server and closes its end of the link. It
/// also ends by itself when the other end closes.
pub struct ServerThread {
    shared: Arc<Shared>,
    waiter: Arc<dyn Wait>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    report: Mutex<ServerReport>,
}

impl<L: PacketLink + 'static> Server<L> {
    /// Makes a server on a thread of its own.
    ///
    /// # Errors
    /// Returns the fault of the configuration, or [`Error::System`] when the system gives no
    /// thread.
    pub fn spawn(config: ServerConfig, link: L) -> Result<ServerThread, Error> {
        let mut server = Server::new(config, link, Instant::now())?;
        let waiter = server.link().waiter();
        let shared = Arc::new(Shared::default());
        let inside = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("uwwan-far-side".into())
            .spawn(move || inside.run(&mut server))
            .map_err(Error::system("start the server thread"))?;
        Ok(ServerThread {
            shared,
            waiter,
            thread: Some(thread),
        })
    }
}

impl Shared {
    fn run<L: PacketLink>(&self, server: &mut Server<L>) {
        let waiter = server.link().waiter();
        while !self.stop.load(Ordering::Acquire) && !server.link().closed() {
            let now = Instant::now();
            let deadline = server.poll(now);
            *self.report.lock().unwrap_or_else(PoisonError::into_inner) = server.report();
            match deadline {
                Some(deadline) if deadline <= now => {}
                deadline => waiter.wait(deadline.map(|at| at.saturating_duration_since(now))),
            }
        }
    }
}

impl ServerThread {
    /// Returns the counters after the server's last poll.
    #[must_use]
    pub fn report(&self) -> ServerReport {
        *self
            .shared
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the server and returns its counters.
    #[must_use]
    pub fn stop(mut self) -> ServerReport {
        self.join();
        self.report()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waiter.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the server thread panicked");
        }
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        self.join();
    }
}

impl std::fmt::Debug for ServerThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerThread")
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}
