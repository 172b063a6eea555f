//! Run long work without the interpreter, and stop it soon after Ctrl-C.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;
use stereotax::data::{Event, Monitor};

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
    run_told(py, None, work)
}

/// How far the current step is.
#[derive(Debug, Clone, PartialEq, Default)]
struct Progress {
    task: String,
    done: u64,
    total: u64,
}

/// Steps within steps: a run of nodes, and within one of them a pass over samples.
#[derive(Debug, Default)]
struct Steps {
    open: Vec<Progress>,
    ended: Progress,
}

impl Steps {
    fn follow(&mut self, event: Event) {
        match event {
            Event::Started { task, total } => self.open.push(Progress { task, done: 0, total }),
            Event::Advanced { done } => {
                if let Some(innermost) = self.open.last_mut() {
                    innermost.done += done;
                }
            }
            Event::Finished { task } => {
                if let Some(at) = self.open.iter().rposition(|step| step.task == task) {
                    self.ended = self.open.remove(at);
                    self.ended.done = self.ended.total;
                }
            }
        }
    }

    /// The innermost open step, or the one that ended last.
    fn now(&self) -> Progress {
        self.open.last().unwrap_or(&self.ended).clone()
    }
}

/// As [`run`]; every 50 ms, and at the end, `progress(task, done, total)` hears what is new. An exception
/// that it raises stops the work and is raised in turn.
pub fn run_told<T: Send, E: Into<Failure> + Send>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Monitor<'_>) -> std::result::Result<T, E> + Send,
) -> Result<T> {
    let steps = Mutex::new(Steps::default());
    let watcher = |event: Event| {
        if let Ok(mut steps) = steps.lock() {
            steps.follow(event);
        }
    };
    let mut told = Progress::default();
    let tell = || -> PyResult<()> {
        let now = steps.lock().map(|steps| steps.now()).unwrap_or_default();
        if let (Some(progress), true) = (progress, now != told) {
            progress.call1((&now.task, now.done, now.total))?;
            told = now;
        }
        Ok(())
    };
    run_watched(py, &watcher, tell, work)
}

/// As [`run`]; every 50 ms, and at the end, `poll` is called with the interpreter. An error of it stops the work and
/// is raised in turn.
pub fn run_polled<T: Send, E: Into<Failure> + Send>(
    py: Python<'_>,
    poll: impl FnMut() -> PyResult<()>,
    work: impl FnOnce(&Monitor<'_>) -> std::result::Result<T, E> + Send,
) -> Result<T> {
    run_watched(py, &|_: Event| {}, poll, work)
}

fn run_watched<T: Send, E: Into<Failure> + Send>(
    py: Python<'_>,
    watcher: &(dyn Fn(Event) + Sync),
    mut tell: impl FnMut() -> PyResult<()>,
    work: impl FnOnce(&Monitor<'_>) -> std::result::Result<T, E> + Send,
) -> Result<T> {
    let stop = AtomicBool::new(false);
    let (done, finished) = channel::<()>();
    let mut interrupt = None;
    let outcome = std::thread::scope(|scope| {
        let stop_flag = &stop;
        let worker = scope.spawn(move || {
            let outcome = work(&Monitor::new(watcher, stop_flag));
            drop(done);
            outcome
        });
        let finished = Mutex::new(finished);
        loop {
            let waited = py.detach(|| match finished.lock() {
                Ok(finished) => finished.recv_timeout(POLL),
                Err(_) => Err(RecvTimeoutError::Disconnected),
            });
            if waited != Err(RecvTimeoutError::Timeout) {
                break;
            }
            if let Err(signal) = py.check_signals().and_then(|()| tell()) {
                stop.store(true, Ordering::Relaxed);
                interrupt.get_or_insert(signal);
            }
        }
        py.detach(|| worker.join())
    });
    if let Some(signal) = interrupt {
        return Err(signal.into());
    }
    tell()?;
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
