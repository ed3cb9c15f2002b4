//! The clients' socket: accepts, checks who connects, starts a task per client.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::Interest;

use super::SharedEngine;
use super::client;
use super::peer::{Credentials, credentials};
use super::refusals::ClientError;
use super::watch::watch;
use crate::engine::ports::ProcessPort;

/// The wait after the system had no descriptor or memory left for a connection; clients wait in the backlog meanwhile.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// Connections accepted before everybody else has a turn: waiting for readiness never yields while there is some, and two
/// processes that connect and close all the time keep the backlog filled for ever.
pub(super) const ACCEPTS_A_TURN: u32 = 8;

/// The user that may do everything anyway.
const ROOT: u32 = 0;

/// Accepts clients until dropped. Takes a listening, non-blocking socket.
///
/// # Errors
///
/// When the socket cannot be watched, or stops being one that can be accepted from.
pub async fn run<P: ProcessPort + 'static>(engine: SharedEngine<P>, listener: OwnedFd) -> io::Result<()> {
    let listener = watch(listener, Interest::READABLE)?;
    let mut accepted = 0;
    let mut exhausted = false;
    loop {
        if accepted == ACCEPTS_A_TURN {
            accepted = 0;
            tokio::task::yield_now().await;
        }
        let mut guard = listener.readable().await?;
        accepted += 1;
        match rustix::net::accept_with(listener.get_ref(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(client) => {
                if std::mem::take(&mut exhausted) {
                    tracing::info!("there is room for clients again");
                }
                admit(&engine, client);
            }
            Err(Errno::WOULDBLOCK) => guard.clear_ready(),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                if !std::mem::replace(&mut exhausted, true) {
                    tracing::warn!(%errno, "no room for another client; clients wait in the backlog");
                }
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Only the broker's own user, and root, may connect; the socket's mode says so too.
fn admit<P: ProcessPort + 'static>(engine: &SharedEngine<P>, fd: OwnedFd) {
    let ours = rustix::process::geteuid().as_raw();
    match credentials(&fd) {
        Ok(Credentials { uid, pid }) if uid == ours || uid == ROOT => client::admit(engine, fd, pid),
        Ok(Credentials { uid, .. }) => client::turn_away(engine, &fd, &ClientError::User { uid }),
        Err(error) => tracing::warn!(%error, "a client that cannot be identified is refused"),
    }
}
