//! Run long work without the interpreter, and stop it soon after Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;
use stereotax::data::Monitor;

use crate::error::{Failure, Result, StereotaxError};

/// How often signals are looked at.
const POLL: Duration = Duration::from_millis(50);

/// Do `work` on a thread of its own; every 50 ms ask Python whether a signal has arrived.
///
/// A pending Ctrl-C sets the monitor's stop flag, and its exception is raised once the work has ended.
/// A panic of the work is a bug of ours and becomes `StereotaxError`, never an abort.
pub fn run<T: Send, E: Into<Failure> + Send>(
    py: Python<'_>,
    work: impl FnOnce(&Monitor<'_>) -> std::result::Result<T, E> + Send,
) -> Result<T> {
    let stop = AtomicBool::new(false);
    let (done, finished) = channel::<()>();
    let mut interrupt = None;
    let outcome = std::thread::scope(|scope| {
        let stop_flag = &stop;
        let worker = scope.spawn(move || {
            let outcome = work(&Monitor::stoppable(stop_flag));
            drop(done);
            outcome
        });
        let finished = std::sync::Mutex::new(finished);
        loop {
            let waited = py.detach(|| match finished.lock() {
                Ok(finished) => finished.recv_timeout(POLL),
                Err(_) => Err(RecvTimeoutError::Disconnected),
            });
            if waited != Err(RecvTimeoutError::Timeout) {
                break;
            }
            if let Err(signal) = py.check_signals() {
                stop.store(true, Ordering::Relaxed);
                interrupt.get_or_insert(signal);
            }
        }
        py.detach(|| worker.join())
    });
    if let Some(signal) = interrupt {
        return Err(signal.into());
    }
    match outcome {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_default();
            let text = format!("Stereotax failed on input that it should have refused: {what}");
            Err(StereotaxError::new_err(text).into())
        }
    }
}
