//! Why a client is refused, and how often that is logged: whoever connects in a loop fills no log.

use std::time::Duration;

use lifeboat_core::time::Timestamp;
use lifeboat_protocol::{
    BodyError, ExtError, FrameError, HeaderError, MessageType, RefusedCode, Role, VERSIONS,
};
use thiserror::Error;

use super::Links;

/// How long a client may take to say hello. A client does it at once; one that does not is not a client.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`SAID`] refusals are enough for.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// Refusals logged one by one within a window: plenty to see who it is.
pub(super) const SAID: u32 = 10;

/// Counts the refusals of the present window.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Timestamp,
    said: u32,
    unsaid: u64,
}

impl Refusals {
    /// Whether a refusal is to be logged now; if so, how many before it were not.
    pub(super) fn say(&mut self, now: Timestamp) -> Option<u64> {
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.said = 0;
        }
        if self.said == SAID {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// What a client may not send. Its text is sent to the client, then the connection is closed.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Header(#[from] HeaderError),
    #[error("the body of the hello cannot be read: {0}")]
    Hello(#[from] BodyError),
    #[error("the body of an operation cannot be read: {0}")]
    Operation(#[source] BodyError),
    #[error("the extension map of request {id} cannot be read: {source}")]
    Ext { id: u64, source: ExtError },
    #[error("the first message must be a hello")]
    NoHello,
    #[error("no hello within {HELLO_TIMEOUT:?}")]
    HelloTimeout,
    #[error("a client may not send a {0} message here")]
    Unexpected(MessageType),
    #[error("this socket is for clients; a {0:?} may not connect here")]
    Role(Role),
    #[error("the client speaks protocol versions {theirs:?}, this broker {VERSIONS:?}; use a matching SDK")]
    Version { theirs: Vec<u16> },
    #[error("request id {id} does not exceed {last}, the highest before it; ids must increase")]
    DuplicateId { id: u64, last: u64 },
    #[error("a body of {len} bytes is over the limit of {limit}; raise max_body or send less")]
    BodyTooLarge { len: usize, limit: usize },
    #[error("the broker has {limit} clients, as many as it takes; close some or raise its descriptor limit")]
    TooMany { limit: usize },
    #[error("user {uid} may not connect here; a broker serves its own user and root")]
    User { uid: u32 },
}

impl ClientError {
    pub(super) const fn code(&self) -> RefusedCode {
        match self {
            Self::Frame(error) => error.refused_code(),
            Self::Header(error) => error.refused_code(),
            Self::Hello(_) | Self::Operation(_) | Self::Ext { .. } => RefusedCode::Malformed,
            Self::NoHello | Self::HelloTimeout | Self::Unexpected(_) => RefusedCode::Unexpected,
            Self::Role(_) | Self::User { .. } => RefusedCode::NotAllowed,
            Self::Version { .. } => RefusedCode::UnsupportedVersion,
            Self::DuplicateId { .. } => RefusedCode::DuplicateId,
            Self::BodyTooLarge { .. } => RefusedCode::TooLarge,
            Self::TooMany { .. } => RefusedCode::TooManyConnections,
        }
    }
}

impl Links {
    /// Logs a refusal, unless there are too many.
    pub(super) fn log_refusal(&mut self, error: &ClientError, now: Timestamp) {
        if let Some(unsaid) = self.refusals.say(now) {
            let unsaid = (unsaid > 0).then_some(unsaid);
            tracing::warn!(code = error.code().as_str(), unsaid, "a client is refused: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_with_the_next_refusal() {
        let mut refusals = Refusals::default();
        let said = (0..1000).filter(|at| refusals.say(Timestamp::from_micros(*at)).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(refusals.say(Timestamp::from_millis(1001)), Some(990));
        assert_eq!(refusals.say(Timestamp::from_millis(1002)), Some(0));
    }
}
