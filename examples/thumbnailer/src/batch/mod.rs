//! The program `thumbnailer`: a directory in, thumbnails and the truth about the rest out.
//!
//! Owns the batch: which files there are, how many calls are under way, what became of each file. Must never decode an
//! image, never write outside `OUT`, and never leave a file without an end in its account.

mod account;
mod ends;
mod options;
mod places;
mod progress;
mod send;
mod walk;

pub use account::Account;
pub use ends::{End, Label, chain};
pub use options::Options;
pub use places::PlaceError;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_client::{Client, ConnectError};
use thiserror::Error;

use places::Places;
use progress::Progress;
use send::{Sender, Work};

/// How long a broker is waited for: it may be starting at this moment.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum BatchError {
    /// One of the directories cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is no broker.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Sends every file below the directory and waits for all ends.
///
/// Needs a tokio runtime with I/O and time; files are read on its blocking threads. Dropping the future cancels the
/// calls that are under way; thumbnails already written stay.
///
/// # Errors
///
/// [`BatchError`] when nothing was sent: a directory cannot be used, or there is no broker within 3 s. What happens to
/// single files is in the account.
pub async fn run(options: &Options) -> Result<Account, BatchError> {
    let places = Places::new(&options.directory, &options.out)?;
    let mut client = Client::builder().name("thumbnailer").connect_timeout(CONNECT_TIMEOUT);
    if let Some(socket) = &options.socket {
        client = client.socket(socket);
    }
    let client = client.connect().await?;
    let started = Instant::now();
    let (files, mut ends) = walk::walk(&places);
    places.make_out()?;
    let progress = Progress::new(files.len());
    let work = Arc::new(Work::new(files));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..options.jobs {
        let sender = Sender::new(client.clone(), options, places.clone());
        lanes.spawn(sender.send_all(Arc::clone(&work), progress.clone()));
    }
    while let Some(lane) = lanes.join_next().await {
        match lane {
            Ok(done) => ends.extend(done),
            // A lane that panicked is a bug of this program: it goes on as if it had happened here.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    progress.finish();
    Ok(Account::new(ends, started.elapsed(), work.lost()))
}
