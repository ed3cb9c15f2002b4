//! One lane of the batch: file after file, each read, sent, answered and saved.
//!
//! Owns what happens to one file. Must never hold more than one file at a time, and must never send one again that may
//! have been executed: only a request that the broker refused before it ran is offered again.

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lifeboat_client::{CallError, Client, Reply};

use super::places::Places;
use super::progress::Progress;
use super::{End, Label, Options};
use crate::{Thumb, Thumbnail};

/// How long a file is offered again to a broker that has no room for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pauses between offers, where the broker names none: the first, and the longest of the doubled ones.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The files that are left, shared by all lanes.
#[derive(Debug)]
pub(super) struct Work {
    files: Mutex<std::vec::IntoIter<PathBuf>>,
    lost: AtomicBool,
}

impl Work {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        Self { files: Mutex::new(files.into_iter()), lost: AtomicBool::new(false) }
    }

    fn next(&self) -> Option<PathBuf> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// Whether the broker was lost, and nothing more is sent.
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// One lane.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    places: Places,
    max_side: u32,
    attempts: Option<NonZeroU16>,
    max_file: ByteSize,
}

impl Sender {
    pub(super) fn new(client: Client, options: &Options, places: Places) -> Self {
        let (attempts, max_file) = (options.attempts, options.max_file);
        Self { client, places, max_side: options.size.get(), attempts, max_file }
    }

    /// Takes files until none is left.
    pub(super) async fn send_all(self, work: Arc<Work>, progress: Progress) -> Vec<End> {
        let mut ends = Vec::new();
        while let Some(file) = work.next() {
            let end = if work.lost() {
                End::not_sent(file, "the broker was lost before")
            } else {
                self.send(file, &work).await
            };
            progress.count(&end);
            ends.push(end);
        }
        ends
    }

    async fn send(&self, file: PathBuf, work: &Work) -> End {
        let path = self.places.directory.join(&file);
        let max = self.max_file;
        let bytes = match blocking(move || read(&path, max)).await {
            Ok(bytes) => bytes,
            Err(error) => return End::not_sent(file, format!("cannot be read: {error}")),
        };
        let reply = match self.call(&file, bytes).await {
            Ok(reply) => reply,
            Err(error) => {
                if let CallError::Connect(_) = error {
                    work.lost.store(true, Ordering::Relaxed);
                }
                return End::from_error(file, &error);
            }
        };
        let attempts = usize::from(reply.attempts());
        let (places, name, thumb) = (self.places.clone(), file.clone(), reply.into_inner());
        match blocking(move || places.save(&name, thumb.format, &thumb.bytes)).await {
            Ok(()) => End::ok(file, attempts),
            Err(error) => {
                let reason = format!("the thumbnail cannot be written: {error}");
                End { file, label: Label::NotSaved, reason, attempts }
            }
        }
    }

    /// Calls, and offers again what the broker had no room for.
    async fn call(&self, file: &Path, bytes: Vec<u8>) -> Result<Reply<Thumb>, CallError> {
        let name = file.to_string_lossy().into_owned();
        let mut request = self.client.request(Thumbnail { name, bytes, max_side: self.max_side });
        if let Some(attempts) = self.attempts {
            request = request.retry(attempts.get());
        }
        let (give_up, mut pause) = (Instant::now() + PATIENCE, PAUSE.0);
        loop {
            let error = match request.clone().await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let CallError::Rejected { retry_after, .. } = &error else { return Err(error) };
            let wait = retry_after.unwrap_or(pause);
            if !error.is_retryable() || Instant::now() + wait > give_up {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// Runs what waits for a disk beside the connection.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Reads a file that is not larger than `max`. Blocks.
fn read(path: &Path, max: ByteSize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= max.0 {
        // It may have grown meanwhile.
        file.take(max.0.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let length = length.max(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    if length > max.0 {
        let length = ByteSize(length);
        return Err(io::Error::other(format!("its {length} are more than the {max} of --max-file")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_exactly_the_limit_is_read() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("file");
        std::fs::write(&path, [7; 1024]).unwrap();
        assert_eq!(read(&path, ByteSize::kib(1)).unwrap(), [7; 1024]);
        let refused = read(&path, ByteSize(1023)).expect_err("one byte more").to_string();
        assert_eq!(refused, "its 1.0 KiB are more than the 1023 B of --max-file");
    }
}
