//! How far long work is: a bar on stderr, when a person watches.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A bar that draws nothing unless stderr is a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of work whose size is not known at first.
    pub(crate) fn new(output: &Output, doing: &'static str) -> Self {
        // Hidden by itself where stderr is no terminal.
        let target = match output.is_json() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_message(doing);
        let style = ProgressStyle::with_template("{msg} {bar:40} {pos} of {len} ({eta})");
        Self(style.map_or(bar.clone(), |style| bar.with_style(style)))
    }

    /// There is so much more to do than was known.
    pub(crate) fn more(&self, count: usize) {
        self.0.inc_length(count as u64);
    }

    /// One of it is done.
    pub(crate) fn step(&self) {
        self.done(1);
    }

    /// So much of it is done.
    pub(crate) fn done(&self, count: u64) {
        self.0.inc(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
