//! The host interface of a trial: it gives the driver the datagrams of one batch, and keeps what comes back.
//!
//! A batch is handed over as a whole or not at all, so that its datagrams share NTBs as far as the
//! layout permits.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{EventfdFlags, eventfd};
use uwwan_modem::host::{HostConfig, HostControl, HostData, HostEnd, HostProvider, Single};
use uwwan_modem::status::{Addresses, Interface};
use uwwan_modem::{Failure, FailureKind};

use super::frames::{Content, Station};

/// Number of datagrams from the device that may wait to be read; more are dropped.
const MOST_WAITING: usize = 16_384;

/// Ethernet address of the host where the device gives it none.
const OWN_STATION: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// Datagram from the device, with the time of its arrival.
pub type Arrival = (Instant, Vec<u8>);

/// The host interface, which clones share.
#[derive(Clone)]
pub struct LabHost {
    inner: Arc<Inner>,
    arrivals: Receiver<Arrival>,
    carriers: Receiver<()>,
}

struct Inner {
    /// Descriptor that is readable while datagrams of a batch are left.
    ready: OwnedFd,
    state: Mutex<State>,
    arrived: Sender<Arrival>,
    /// Channel with room for one message: that the device has a link.
    connected: Sender<()>,
}

#[derive(Default)]
struct State {
    batch: VecDeque<Vec<u8>>,
    addresses: Addresses,
    /// The host's station, on a device that carries Ethernet frames.
    station: Option<Station>,
}

impl LabHost {
    /// Makes a host interface that has nothing to send.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when a file descriptor cannot be had.
    pub fn new() -> Result<Self, Failure> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let ready = eventfd(0, flags).map_err(|error| {
            Failure::new(
                FailureKind::Host,
                "cannot make the host interface of a trial",
            )
            .because(error)
        })?;
        let (arrived, arrivals) = bounded(MOST_WAITING);
        let (connected, carriers) = bounded(1);
        let state = Mutex::default();
        let inner = Inner {
            ready,
            state,
            arrived,
            connected,
        };
        Ok(Self {
            inner: Arc::new(inner),
            arrivals,
            carriers,
        })
    }

    /// Gives the driver these datagrams to send together.
    pub fn send(&self, batch: Vec<Vec<u8>>) {
        if batch.is_empty() {
            return;
        }
        let mut state = self.inner.locked();
        let batch = match &state.station {
            Some(station) => station.frames(batch),
            None => batch,
        };
        state.batch.extend(batch);
        self.inner.make_ready();
    }

    /// Takes back the datagrams that the driver has not read, and returns their number.
    pub fn withdraw(&self) -> usize {
        let mut state = self.inner.locked();
        let left = state.batch.len();
        state.batch.clear();
        self.inner.unready();
        left
    }

    /// Returns the channel of the datagrams from the device.
    pub fn arrivals(&self) -> &Receiver<Arrival> {
        &self.arrivals
    }

    /// Returns the channel that reports once that the device has a link. A modem has one when it is
    /// online.
    pub fn carriers(&self) -> &Receiver<()> {
        &self.carriers
    }

    /// Returns the addresses that the network gave.
    pub fn addresses(&self) -> Addresses {
        self.inner.locked().addresses.clone()
    }
}

impl Inner {
    /// Makes the descriptor readable. The lock is held meanwhile.
    fn make_ready(&self) {
        let _ = rustix::io::write(&self.ready, &1_u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable. The lock is held meanwhile.
    fn unready(&self) {
        let _ = rustix::io::read(&self.ready, &mut [0; 8]);
    }

    fn carrier(&self, up: bool) {
        if up {
            let _ = self.connected.try_send(());
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostProvider for LabHost {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let mut control = Control(Arc::clone(&self.inner));
        control.reconfigure(config)?;
        Ok(HostEnd {
            control: Box::new(control),
            data: HostData::Single(Box::new(Data(Arc::clone(&self.inner)))),
        })
    }
}

struct Control(Arc<Inner>);

impl HostControl for Control {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        let mut state = self.0.locked();
        state.addresses = config.addresses.clone();
        state.station = config.ethernet.as_ref().and_then(|ethernet| {
            let own = ethernet.address.unwrap_or(OWN_STATION);
            let address = config.addresses.ipv4?.address;
            Some(Station::new(own, address, config.addresses.gateway4))
        });
        self.0
            .carrier(config.ethernet.as_ref().is_none_or(|it| it.carrier));
        Ok(())
    }

    fn set_carrier(&mut self, up: bool) {
        self.0.carrier(up);
    }

    fn interface(&self) -> Interface {
        Interface {
            name: "the laboratory".into(),
            ..Interface::default()
        }
    }
}

struct Data(Arc<Inner>);

impl AsFd for Data {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

impl Single for Data {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.locked();
        let Some(datagram) = state.batch.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if state.batch.is_empty() {
            self.0.unready();
        }
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<usize> {
        let mut state = self.0.locked();
        let content = match &mut state.station {
            Some(station) => station.take(packet),
            None => Content::Datagram(packet),
        };
        match content {
            // Datagrams beyond the bound are dropped, as in a full queue.
            Content::Datagram(datagram) => {
                let _ = self.0.arrived.try_send((Instant::now(), datagram.to_vec()));
            }
            Content::Question(answer) if state.batch.len() < MOST_WAITING => {
                state.batch.push_back(answer);
                self.0.make_ready();
            }
            Content::Question(_) | Content::Other => {}
        }
        Ok(packet.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(data: &Data) -> bool {
        let mut fds = [PollFd::new(data, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_batch_is_readable_until_its_last_datagram() {
        let host = LabHost::new().unwrap();
        let mut data = Data(Arc::clone(&host.inner));
        let mut buffer = [0; 16];
        assert!(!readable(&data));
        host.send(vec![vec![1; 3], vec![2; 20]]);
        assert!(readable(&data));
        assert_eq!(data.receive(&mut buffer).unwrap(), 3);
        assert!(readable(&data));
        assert_eq!(data.receive(&mut buffer).unwrap(), 16, "it is cut");
        assert!(!readable(&data));
        let error = data.receive(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        host.send(vec![vec![3], vec![4]]);
        assert_eq!(host.withdraw(), 2);
        assert!(data.receive(&mut buffer).is_err());
        data.send(&[5; 4]).unwrap();
        assert_eq!(host.arrivals().try_recv().unwrap().1, [5; 4]);
    }
}
