//! The driver in this process as a host of the device.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::PollFlags;

use super::channel::{Asked, Channel};
use crate::presence::Presence;
use crate::upstream::{HostGone, Request, Upstream};
use crate::urb::{Completed, Token, UrbStatus};

/// The device's end of the channel. Dropping it ends all requests that are left.
pub(crate) struct Local {
    channel: Arc<Channel>,
    presence: Arc<Presence>,
    asked: Vec<Asked>,
    completed: Vec<Completed>,
}

impl Local {
    /// Takes requests from `channel` that are meant for the current state of `presence`.
    pub fn new(channel: Arc<Channel>, presence: Arc<Presence>) -> Self {
        Self {
            channel,
            presence,
            asked: Vec::new(),
            completed: Vec::new(),
        }
    }
}

impl Upstream for Local {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    fn receive(&mut self, requests: &mut Vec<Request>) -> Result<(), HostGone> {
        self.channel.take_requests(&mut self.asked);
        let here = self.presence.generation_here();
        for Asked {
            request,
            generation,
        } in self.asked.drain(..)
        {
            let current = here.is_some() && (generation.is_none() || generation == here);
            match request {
                request if current => requests.push(request),
                Request::Submit(urb) => self.completed.push(urb.end(UrbStatus::Gone)),
                Request::Cancel(_) | Request::ResetPort => {}
            }
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        false
    }

    fn cancelled(&mut self, _: Token, _: bool) {
        // The driver learns of it by the end of the transfer.
    }

    fn complete(&mut self, completed: Completed) {
        self.completed.push(completed);
    }

    fn flush(&mut self) -> Result<(), HostGone> {
        if !self.completed.is_empty() {
            self.channel.deliver(&mut self.completed);
        }
        Ok(())
    }

    fn presence_changed(&mut self) {
        self.channel.notify();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.channel.end();
    }
}
