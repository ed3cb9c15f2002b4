//! How far the batch is: a bar on a terminal, now and then a line elsewhere.
//!
//! Owns what stands on stderr meanwhile. Must never write to stdout, where the account goes.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::{End, Label};

/// How many lines stand for the bar where there is no terminal.
const LINES: usize = 10;

/// Cheap to clone; the clones share the count.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    all: usize,
    done: AtomicUsize,
    without: AtomicUsize,
}

impl Progress {
    pub(super) fn new(all: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let length = u64::try_from(all).unwrap_or(u64::MAX);
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {eta} left{msg}");
            ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let state = State { bar, all, done: AtomicUsize::new(0), without: AtomicUsize::new(0) };
        Self { state: Arc::new(state) }
    }

    /// One more file has its end.
    pub(super) fn count(&self, end: &End) {
        let State { bar, all, done, without } = &*self.state;
        let lacking = usize::from(end.label != Label::Ok);
        let without = without.fetch_add(lacking, Ordering::Relaxed) + lacking;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let message = if without == 0 { String::new() } else { format!(", {without} without a thumbnail") };
        match bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(message);
            }
            None if done * LINES / all != (done - 1) * LINES / all => {
                // A stderr that is gone must not end the work.
                drop(writeln!(io::stderr(), "thumbnailer: {done} of {all} files{message}"));
            }
            None => {}
        }
    }

    /// The bar makes room for the account.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.state.bar {
            bar.finish_and_clear();
        }
    }
}
