//! The one background task of a client: connects when somebody waits for it, connects again when the connection is
//! lost, and watches the limits of calls.
//!
//! Owns the client's runtime side. Must never outlive the last client, and must never end without telling the calls.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::handshake::{self, Opened};
use crate::settings::Settings;
use crate::shared::Shared;

/// Runs until the last client is gone.
pub(crate) async fn drive(shared: Arc<Shared>) {
    // Also when the runtime drops this task.
    let _told = TellOnDrop(Arc::clone(&shared));
    tokio::select! {
        biased;
        () = watch_limits(&shared) => {}
        () = keep_connected(&shared) => {}
    }
}

struct TellOnDrop(Arc<Shared>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.0.stopped();
    }
}

/// Ends calls at their limits; ends itself when the last client is gone.
async fn watch_limits(shared: &Shared) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut state = shared.lock();
            if state.closed {
                drop(state);
                // Cancels that were queued while the outbox was being written.
                shared.close();
                return Poll::Ready(());
            }
            let next = state.table.next_scan;
            if let Some(next) = next
                && state.scan_armed.is_none_or(|armed| next < armed)
            {
                state.scan_armed = Some(next);
                alarm.as_mut().reset(next);
            }
            let armed = state.scan_armed.is_some();
            state.sleep(cx);
            drop(state);
            if !armed || alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            shared.scan();
        }
    })
    .await;
}

/// A connection at a time, whenever somebody waits for one.
async fn keep_connected(shared: &Arc<Shared>) {
    let mut backoff = Backoff::new(&shared.settings);
    loop {
        poll_fn(|cx| {
            let mut state = shared.lock();
            if state.table.has_demand() {
                return Poll::Ready(());
            }
            state.sleep(cx);
            Poll::Pending
        })
        .await;
        match handshake::open(shared).await {
            Ok(Opened { mut session, window, software, times }) => {
                shared.connected(session.socket(), window, software, times);
                let lost = session.run().await;
                tracing::debug!(%lost, "connection to the broker lost");
                shared.disconnected(&lost);
                if session.heard {
                    backoff.reset();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no connection to the broker");
                shared.connect_failed(error);
            }
        }
        sleep(backoff.next()).await;
    }
}

/// The pause before the next try: doubled each time up to a cap, and shortened by chance by up to half, so that many
/// clients of one broker do not return in step.
#[derive(Debug)]
struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(settings: &Settings) -> Self {
        Self { first: settings.backoff_first, max: settings.backoff_max, next: settings.backoff_first }
    }

    fn reset(&mut self) {
        self.next = self.first;
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.max);
        self.next = pause.saturating_mul(2);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_start_again() {
        let (first, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut backoff = Backoff { first, max, next: first };
        for full in [10, 20, 40, 80, 100, 100] {
            let full = Duration::from_millis(full);
            let pause = backoff.next();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} for {full:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
