//! What the room logs, and how often.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::yield_now;

use super::on_data_plane;
use super::turns::engine;
use crate::link::client;
use crate::link::refusals::{ClientError, SAID, WINDOW};

/// The lines that are logged meanwhile.
pub(super) fn logged(act: impl FnOnce()) -> Vec<String> {
    let mut file = tempfile::tempfile().unwrap();
    let log = Arc::new(file.try_clone().unwrap());
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_target(false).without_time().with_writer(log);
    tracing::subscriber::with_default(subscriber.finish(), act);
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn refusals_are_logged_at_a_bounded_rate_wherever_they_happen() {
    const EACH: usize = 100;
    let began = Instant::now();
    let lines = logged(|| {
        on_data_plane(async || {
            let engine = engine();
            for _ in 0..EACH {
                let fd = OwnedFd::from(UnixStream::pair().unwrap().0);
                client::turn_away(&engine, &fd, &ClientError::TooMany { limit: 1 });
            }
            let mut theirs = Vec::new();
            for _ in 0..EACH {
                let (ours, mut speaks_http) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                speaks_http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
                client::admit(&engine, ours.into(), None);
                theirs.push(speaks_http);
            }
            while engine.borrow().links.table.client_count() > 0 {
                yield_now().await;
            }
        });
    });
    let windows = began.elapsed().as_secs() / WINDOW.as_secs() + 1;
    let refused = lines.iter().filter(|line| line.contains("a client is refused")).count() as u64;
    assert!(refused >= u64::from(SAID), "{lines:#?}");
    assert!(refused <= u64::from(SAID) * windows, "{refused} lines within {windows} s");
}
