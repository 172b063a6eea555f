//! Draw the core's progress events on stderr, and turn Ctrl-C into a stop request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stereotax::data::Event;

static STOP: AtomicBool = AtomicBool::new(false);

/// The flag that Ctrl-C raises. A second Ctrl-C ends the program at once.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where no handler can be set (inside a host that has its own), the host's rules hold.
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
        });
    });
    &STOP
}

/// A bar that follows the outermost step; steps within steps are not drawn.
#[derive(Debug)]
pub(crate) struct Bar {
    state: Mutex<(ProgressBar, usize)>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Bar { state: Mutex::new((ProgressBar::hidden(), 0)) }
    }

    pub(crate) fn follow(&self, event: &Event) {
        let Ok(mut state) = self.state.lock() else { return };
        let (bar, depth) = &mut *state;
        match event {
            Event::Started { task, total } => {
                *depth += 1;
                if *depth > 1 {
                    return;
                }
                *bar = ProgressBar::with_draw_target(Some(*total), ProgressDrawTarget::stderr());
                let style = "{msg:28!} {bar:30} {pos}/{len}  {elapsed} elapsed, {eta} to go";
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style);
                }
                bar.set_message(task.clone());
            }
            Event::Advanced { done } if *depth == 1 => bar.inc(*done),
            Event::Advanced { .. } => {}
            Event::Finished { .. } => {
                *depth = depth.saturating_sub(1);
                if *depth == 0 {
                    bar.finish_and_clear();
                }
            }
        }
    }
}
