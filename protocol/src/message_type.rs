//! The closed list of message types and which of them carry a route.
//!
//! Owns the numbers. Must never give a number a second meaning: the list only grows.

/// What a message is: the first element of its header, a CBOR unsigned integer of one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// First frame of each side: versions, limits, features.
    Hello = 0,
    /// A request, from client to broker and from broker to worker.
    Request = 1,
    /// A handler's reply.
    Answer = 2,
    /// A handler said no; worker to broker.
    Failure = 3,
    /// Every outcome but `ok`; broker to client.
    Error = 4,
    /// Stop a request or an attempt.
    Cancel = 5,
    /// The work moves; from worker to broker, and on to a client that streams.
    Progress = 6,
    /// A part of the reply; from worker to broker, and on to a client that streams.
    Partial = 7,
    /// To a worker: finish what runs, then exit. To a client: no new requests, the broker shuts down.
    Drain = 8,
    /// No slot is left in a worker's process.
    WorkersFailed = 9,
    /// The process is scheduled; worker to broker.
    Heartbeat = 10,
    /// The last frame before the sender closes: why.
    Refused = 11,
    /// The handler panicked: ends the attempt, retires the slot; worker to broker.
    Panicked = 12,
    /// The handler stopped because of a cancel: ends the attempt, frees the slot; worker to broker.
    Cancelled = 13,
    /// An attempt failed and another follows; broker to a client that streams.
    AttemptFailed = 14,
    /// An operation on the broker, its pools or workers; client to broker.
    Operate = 15,
    /// What became of an operation; broker to client.
    Operated = 16,
    /// What the request's next attempt is to begin with; worker to broker.
    Save = 17,
    /// The attempts before this one, and what they saved; broker to worker, before a further attempt's request.
    History = 18,
    /// The process wants to be replaced, once it has finished what it holds; worker to broker.
    Retire = 19,
    /// A request was accepted; broker to a client that streams.
    Accepted = 20,
}

impl MessageType {
    /// Every message type, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Hello,
        Self::Request,
        Self::Answer,
        Self::Failure,
        Self::Error,
        Self::Cancel,
        Self::Progress,
        Self::Partial,
        Self::Drain,
        Self::WorkersFailed,
        Self::Heartbeat,
        Self::Refused,
        Self::Panicked,
        Self::Cancelled,
        Self::AttemptFailed,
        Self::Operate,
        Self::Operated,
        Self::Save,
        Self::History,
        Self::Retire,
        Self::Accepted,
    ];

    /// The number as it travels, also its CBOR encoding.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The type with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() { Some(Self::ALL[number as usize]) } else { None }
    }

    /// Whether the header's second element is a route.
    #[must_use]
    pub const fn has_route(self) -> bool {
        match self {
            Self::Request
            | Self::Answer
            | Self::Failure
            | Self::Error
            | Self::Cancel
            | Self::Progress
            | Self::Partial
            | Self::Panicked
            | Self::Cancelled
            | Self::AttemptFailed
            | Self::Operate
            | Self::Operated
            | Self::Save
            | Self::History
            | Self::Accepted => true,
            Self::Hello
            | Self::Drain
            | Self::WorkersFailed
            | Self::Heartbeat
            | Self::Refused
            | Self::Retire => false,
        }
    }

    /// The name used in the documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Cancel => "cancel",
            Self::Progress => "progress",
            Self::Partial => "partial",
            Self::Drain => "drain",
            Self::WorkersFailed => "workers_failed",
            Self::Heartbeat => "heartbeat",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::AttemptFailed => "attempt_failed",
            Self::Operate => "operate",
            Self::Operated => "operated",
            Self::Save => "save",
            Self::History => "history",
            Self::Retire => "retire",
            Self::Accepted => "accepted",
        }
    }
}

impl std::fmt::Display for MessageType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
