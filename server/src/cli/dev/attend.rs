//! What a person sees of the worker while they write it, beside its own lines: that it is ready and how to call it, how
//! its processes die, and that a changed program is started.
//!
//! It owns the words for these. It must never show the same over and over: a program that does not work is complained of
//! once, until it has changed.

use std::path::PathBuf;
use std::{io, thread};

use lifeboat_client::Client;
use lifeboat_core::fact::Death;
use lifeboat_core::reason::{CrashReason, StartFailure};
use tokio::sync::mpsc::Receiver;

use super::POOL;
use super::snippet::Printer;
use super::watch::Watch;
use crate::observe::{News, describe};

/// Attends to one pool.
pub(super) struct Attendant {
    socket: PathBuf,
    news: Receiver<News>,
    watch: Watch,
    printer: Printer,
    /// The methods that were shown last.
    shown: Option<Vec<String>>,
    /// How the last processes did not start, since one did or the program changed.
    complained: Option<CrashReason>,
}

impl Attendant {
    /// Attends until the broker is gone, on a thread that nobody waits for: it looks at files, which may block.
    pub(super) fn start(socket: PathBuf, news: Receiver<News>, watch: Watch) -> io::Result<()> {
        let printer = Printer::start()?;
        let attendant = Self { socket, news, watch, printer, shown: None, complained: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let attending = move || runtime.block_on(attendant.attend());
        thread::Builder::new().name("attendant".to_owned()).spawn(attending)?;
        Ok(())
    }

    async fn attend(mut self) {
        loop {
            tokio::select! {
                news = self.news.recv() => match news {
                    Some(News::Ready { methods, .. }) => self.ready(methods),
                    Some(News::Died { worker, death }) => self.died(&worker, &death),
                    None => return,
                },
                Some(file) = self.watch.changed() => {
                    tracing::info!("{} has changed: starting the next process", file.display());
                    self.complained = None;
                    self.restart().await;
                }
            }
        }
    }

    fn ready(&mut self, methods: Vec<String>) {
        self.complained = None;
        if self.shown.as_ref() == Some(&methods) {
            tracing::info!("the worker is ready");
        } else {
            self.printer.show(&methods, &self.socket);
            self.shown = Some(methods);
        }
    }

    fn died(&mut self, name: &str, death: &Death) {
        let started = !matches!(death.reason, CrashReason::StartFailed(_) | CrashReason::SpawnFailed(_));
        if started || self.complained.as_ref() != Some(&death.reason) {
            tracing::warn!("{}", in_words(name, death));
        }
        if !started && self.complained.is_none() {
            tracing::info!("it is tried again from time to time, and at once when its file has changed");
        }
        self.complained = (!started).then(|| death.reason.clone());
    }

    async fn restart(&self) {
        let restarted = match Client::connect(&self.socket).await {
            Ok(client) => client.admin().restart(POOL).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = restarted {
            tracing::warn!(error, "the processes could not be replaced");
        }
    }
}

/// One line.
fn in_words(name: &str, death: &Death) -> String {
    let label = death.reason.label().replace('_', " ");
    let detail = describe(&death.reason);
    let why = if let CrashReason::StartFailed(failure) = &death.reason {
        let is_silent = matches!(failure, StartFailure::Exit { code: 0 } | StartFailure::TimedOut);
        let hint = if is_silent { NOT_A_WORKER } else { "" };
        return format!("{name} did not start: {detail}{hint}");
    } else if matches!(death.reason, CrashReason::Exit { .. } | CrashReason::Signal { .. }) {
        // The detail says the label as well.
        detail
    } else if detail.is_empty() {
        label
    } else {
        format!("{label}: {detail}")
    };
    let meanwhile = match death.executing.len() {
        0 => String::new(),
        1 => " while it executed a request".to_owned(),
        several => format!(" while it executed {several} requests"),
    };
    format!("{name} died{meanwhile}: {why}")
}

const NOT_A_WORKER: &str = "; is it a Lifeboat worker? It must call `lifeboat_worker::Worker::run`, or speak the protocol \
                            on the descriptor that LIFEBOAT_FD names";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::tests::death;

    #[test]
    fn a_death_is_a_line_that_says_why() {
        let said = |reason| in_words("dev-0", &death(0, 1, reason));
        let meanwhile = "dev-0 died while it executed a request";
        assert_eq!(said(CrashReason::Exit { code: 3 }), format!("{meanwhile}: exit code 3"));
        assert_eq!(said(CrashReason::Oom), format!("{meanwhile}: oom"));
        let failed = said(CrashReason::StartFailed(StartFailure::Exit { code: 5 }));
        assert_eq!(failed, "dev-0 did not start: exit code 5");
        let hint = said(CrashReason::StartFailed(StartFailure::Exit { code: 0 }));
        assert!(hint.starts_with("dev-0 did not start: exit code 0; is it a Lifeboat worker?"), "{hint}");
        let slots = said(CrashReason::SlotsExhausted("boom".to_owned()));
        assert_eq!(slots, format!("{meanwhile}: slots exhausted: boom"));
    }
}
