//! The limits of an attempt, seen by workers that read their cancel frame, answer, and serve on.

use std::time::Duration;

use lifeboat_client::{Client, RequestBuilder};
use lifeboat_tests::act::{Act, Deed, Told};
use lifeboat_tests::clock::now;
use tokio::task::JoinSet;

use super::lateness::Firing;
use super::{TIMED, millis, nanos};

/// Which limit of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Attempt,
    Progress,
    Output,
}

/// Output is seen up to this much later than it was written, so that its limit waits so much longer.
const OUTPUT_LAG: Duration = Duration::from_millis(10);

impl Which {
    fn set(self, request: RequestBuilder<Act>, limit: Duration) -> RequestBuilder<Act> {
        match self {
            Self::Attempt => request.attempt_timeout(limit),
            Self::Progress => request.progress_timeout(limit),
            Self::Output => request.output_timeout(limit),
        }
    }

    /// When it must fire.
    fn after(self, limit: Duration) -> Duration {
        if self == Self::Output { limit + OUTPUT_LAG } else { limit }
    }
}

/// `each` firings of a limit on every worker.
pub(super) async fn fire(client: &Client, which: Which, each: usize) -> Vec<Firing> {
    let mut tasks = JoinSet::new();
    for task in 0..TIMED {
        let client = client.clone();
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task as u64);
            let mut firings = Vec::new();
            for _ in 0..each {
                let limit = millis(&mut random);
                let sent = now();
                let request = which.set(client.request(Act::new(Deed::AnswerLate(Told::Cancel))), limit);
                let reply = request.await.expect("an answer within cancel_grace counts");
                assert!(reply.late(), "{reply:?}");
                let seen = reply.told_at.expect("the worker has noted the time");
                firings.push(Firing::at(sent + nanos(which.after(limit)), seen));
            }
            firings
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}
