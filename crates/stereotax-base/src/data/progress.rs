//! One way for long work to say how far it is, and to be told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{Error, Result};

/// Something a long computation tells whoever watches it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step of `total` units of work (bytes, cells, permutations) begins.
    Started {
        /// What is done, for a person.
        task: String,
        /// How much there is to do.
        total: u64,
    },
    /// `done` further units of the current step are finished.
    Advanced {
        /// Units finished since the last event.
        done: u64,
    },
    /// The step is over.
    Finished {
        /// The step's name as given in `Started`.
        task: String,
    },
}

/// Carries events out of, and a stop request into, a long computation.
///
/// The core neither draws nor polls signals: the command line draws a bar, Python checks Ctrl-C.
#[derive(Clone, Copy)]
pub struct Monitor<'a> {
    watcher: Option<&'a (dyn Fn(Event) + Sync)>,
    stop: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for Monitor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("watched", &self.watcher.is_some()).finish()
    }
}

impl<'a> Monitor<'a> {
    /// Tell nobody and never stop.
    pub const fn silent() -> Monitor<'static> {
        Monitor { watcher: None, stop: None }
    }

    /// Tell `watcher` and stop soon after `stop` becomes true.
    pub fn new(watcher: &'a (dyn Fn(Event) + Sync), stop: &'a AtomicBool) -> Self {
        Monitor { watcher: Some(watcher), stop: Some(stop) }
    }

    /// Only listen for a stop request.
    pub fn stoppable(stop: &'a AtomicBool) -> Self {
        Monitor { watcher: None, stop: Some(stop) }
    }

    /// The same stop request, with nobody told: for work that is one unit of a larger step.
    pub fn only_stop(&self) -> Monitor<'a> {
        Monitor { watcher: None, stop: self.stop }
    }

    /// Pass an event on.
    pub fn tell(&self, event: Event) {
        if let Some(watcher) = self.watcher {
            watcher(event);
        }
    }

    /// `Err(Cancelled)` once a stop was requested; call it inside every loop that can last.
    pub fn check(&self) -> Result<()> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}
