//! A worker's stdout or stderr: a pipe read by a task of its own, of which the last bytes are kept.
//!
//! It owns the reading end. It must never wait for end of file (a descendant may hold the pipe for ever) and never
//! read without bound: a flooding worker is slowed down, not the plane.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::sys;

/// How much of each stream is kept: enough for a panic message with its backtrace.
pub(super) const TAIL_BYTES: usize = 16 * 1024;

/// How much one wake-up reads: what a pipe holds by default.
const BURST_BYTES: usize = 64 * 1024;

/// A stream is read at no more than [`WINDOW_BYTES`] per [`WINDOW`], some 100 MB/s: a flooding worker waits in its
/// own writes, and costs the plane a small part of a core.
const WINDOW: Duration = Duration::from_millis(2);
const WINDOW_BYTES: usize = 256 * 1024;

/// How much is read at death: a full pipe of the largest size that an unprivileged process can ask for.
const LAST_BYTES: usize = 1024 * 1024;

/// One output stream of a process.
#[derive(Debug)]
pub(super) struct Output {
    pipe: AsyncFd<OwnedFd>,
    tail: RefCell<Tail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Nothing more to read for now.
    Empty,
    /// The budget is spent.
    More,
    /// Every writer is gone.
    Ended,
}

impl Output {
    /// Takes the reading end, which must be non-blocking. Must be called inside the plane's runtime.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Rc<Self>> {
        let pipe = sys::watch_readable(pipe)?;
        Ok(Rc::new(Self { pipe, tail: RefCell::default() }))
    }

    /// Reads until every writer is gone. To be aborted when the process is collected.
    pub(super) async fn follow(self: Rc<Self>) {
        let mut window = (Instant::now(), 0);
        while let Ok(mut ready) = self.pipe.readable().await {
            let (drained, read) = self.drain(BURST_BYTES);
            match drained {
                Drained::Empty => ready.clear_ready(),
                Drained::More => drop(ready),
                Drained::Ended => return,
            }
            window.1 += read;
            if window.1 >= WINDOW_BYTES {
                tokio::time::sleep_until((window.0 + WINDOW).into()).await;
                window = (Instant::now(), 0);
            } else if drained == Drained::More {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what is there now, without waiting: the last words of a leader that has exited.
    pub(super) fn drain_last_words(&self) {
        self.drain(LAST_BYTES);
    }

    /// The last bytes as text; what is no UTF-8 is replaced.
    pub(super) fn tail_text(&self) -> String {
        self.tail.borrow_mut().text()
    }

    /// Reads without waiting until there is nothing more or `budget` is reached; says also how much it read.
    fn drain(&self, budget: usize) -> (Drained, usize) {
        let mut buffer = [0_u8; 16 * 1024];
        let mut read = 0;
        while read < budget {
            match rustix::io::read(self.pipe.get_ref(), &mut buffer) {
                Ok(0) => return (Drained::Ended, read),
                Ok(count) => {
                    read += count;
                    self.tail.borrow_mut().push(&buffer[..count]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return (Drained::Empty, read),
                Err(_) => return (Drained::Ended, read),
            }
        }
        (Drained::More, read)
    }
}

/// The last [`TAIL_BYTES`] of a stream. Allocates nothing until the first byte.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        self.0.drain(..excess);
        self.0.extend(bytes);
    }

    fn text(&mut self) -> String {
        let mut bytes: &[u8] = self.0.make_contiguous();
        if bytes.len() == TAIL_BYTES {
            // The ring may begin in the middle of a character.
            let cut = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            bytes = &bytes[cut..];
        }
        let text = String::from_utf8_lossy(bytes);
        // A replacement character is longer than the byte it stands for.
        let start = text.len().saturating_sub(TAIL_BYTES);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[start..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_bytes_only() {
        let mut tail = Tail::default();
        tail.push(&vec![b'a'; TAIL_BYTES - 1]);
        tail.push(b"bc");
        assert_eq!(tail.0.len(), TAIL_BYTES);
        assert!(tail.text().ends_with("aabc"));
        tail.push(&vec![b'd'; 3 * TAIL_BYTES]);
        assert_eq!(tail.text(), "d".repeat(TAIL_BYTES));
    }

    #[test]
    fn the_text_is_bounded_and_begins_with_a_whole_character() {
        let mut tail = Tail::default();
        tail.push("€".repeat(TAIL_BYTES).as_bytes());
        let text = tail.text();
        assert!(text.chars().all(|char| char == '€'), "{:?}", text.chars().next());
        assert!(text.len() > TAIL_BYTES - 3);
        tail.push(&vec![0xFF; TAIL_BYTES]);
        assert!(tail.text().len() <= TAIL_BYTES);
        assert!(tail.text().chars().all(|char| char == char::REPLACEMENT_CHARACTER));
    }
}
