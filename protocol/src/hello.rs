//! The hello: the first frame of each side.
//!
//! Owns what two sides tell each other before anything else, and how they agree on a version. Must never
//! require a field that version 1 does not: an old peer's hello stays readable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{FrameLimit, VERSIONS};

/// The feature of a worker that sends heartbeats, and is watched by them.
pub const HEARTBEAT_FEATURE: &str = "heartbeat";

/// The feature of a client that is to be told when a request that it streams is accepted.
pub const ACCEPTED_FEATURE: &str = "accepted";

/// The feature of a broker that keeps to the pool that a request names ([`Ext::pool`](crate::Ext::pool)): a client asks
/// no other for one.
pub const POOL_FEATURE: &str = "pool";

/// The name under which a broker tells of the methods that it serves without naming them.
pub const OTHER_METHOD: &str = "_other";

/// The feature of a broker that keeps what attempts save. To any other nothing is sent to be saved.
pub const SAVE_FEATURE: &str = "save";

/// The feature of a worker that wants to be told of the attempts before its own.
pub const HISTORY_FEATURE: &str = "history";

/// The feature of a worker that notes its heartbeats, and what its slots begin, in the flight recorder that it was handed:
/// it sends no heartbeats.
pub const RECORDER_FEATURE: &str = "recorder";

/// The feature of a broker that understands `retire`: a worker sends it to no other.
pub const RETIRE_FEATURE: &str = "retire";

/// Slots that one process can serve, at most: what a [`RouteFlags`](crate::RouteFlags) can tell apart.
pub const MAX_SLOTS: u32 = 256;

/// What the sender of a hello is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Asks for work.
    Client,
    /// Owns the workers.
    Broker,
    /// Does the work.
    Worker,
}

/// The body of a hello message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Every version the sender speaks; the highest that both sides speak is used.
    pub versions: Vec<u16>,
    /// What the sender is.
    pub role: Role,
    /// The largest body the sender accepts, in bytes.
    pub max_body: u64,
    /// The sender's software, such as `lifeboat-client/0.1.0`.
    pub software: String,
    /// Optional abilities, by name, such as [`HEARTBEAT_FEATURE`]. Unknown ones are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The sender's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Said by a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerHello>,
    /// Said by the broker to a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// Said by the broker to a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

impl Hello {
    /// A hello in every version this crate speaks, without features, pid or anything of a role's own. `max_body`
    /// is in bytes, `software` a name and version such as `lifeboat-client/0.1.0`.
    #[must_use]
    pub fn new(role: Role, max_body: usize, software: impl Into<String>) -> Self {
        Self {
            versions: VERSIONS.to_vec(),
            role,
            max_body: max_body as u64,
            software: software.into(),
            features: Vec::new(),
            pid: None,
            worker: None,
            assignment: None,
            service: None,
        }
    }

    /// Whether the sender named this feature.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.iter().any(|named| named == feature)
    }

    /// The limit for frames sent to the sender of this hello.
    #[must_use]
    pub fn frame_limit(&self) -> FrameLimit {
        FrameLimit::for_body(usize::try_from(self.max_body).unwrap_or(usize::MAX))
    }
}

/// What a worker says of itself. Its hello means: ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHello {
    /// The methods it has handlers for.
    #[serde(default)]
    pub methods: Vec<String>,
    /// How many slots it offers, each executing one request at a time; 1 when missing.
    #[serde(default = "one")]
    pub slots: u32,
}

impl Default for WorkerHello {
    /// No methods, one slot.
    fn default() -> Self {
        Self { methods: Vec::new(), slots: one() }
    }
}

/// What the broker tells a worker about its place. A missing field has the default named with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Assignment {
    /// The pool's name; empty when missing.
    pub pool: String,
    /// The worker's stable name; empty when missing.
    pub worker: String,
    /// Which life of the worker this process is; 0 when missing.
    pub incarnation: u64,
    /// Requests a slot may hold, the executing one included; 1 when missing.
    pub prefetch: u32,
    /// Time a handler has after a cancel, in milliseconds; 1000 when missing.
    pub cancel_grace_ms: u64,
    /// Time the process has to end after being told, in milliseconds; 5000 when missing.
    pub stop_grace_ms: u64,
    /// How many slots to serve; 1 when missing, at most [`MAX_SLOTS`]. A worker must offer as many.
    #[serde(skip_serializing_if = "is_one")]
    pub slots: u32,
    /// How often to send a heartbeat, in milliseconds; 0 when missing: none is wanted.
    #[serde(skip_serializing_if = "is_zero")]
    pub heartbeat_ms: u64,
    /// What becomes of a slot whose handler panics; [`OnPanic::RetireSlot`] when missing.
    #[serde(skip_serializing_if = "OnPanic::retires")]
    pub on_panic: OnPanic,
}

/// What becomes of a slot whose handler panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPanic {
    /// It goes on with its next request.
    Keep,
    /// It executes nothing more. So does one that is told a word that it does not know.
    #[default]
    #[serde(other)]
    RetireSlot,
}

impl OnPanic {
    const fn retires(&self) -> bool {
        matches!(self, Self::RetireSlot)
    }
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            pool: String::new(),
            worker: String::new(),
            incarnation: 0,
            prefetch: 1,
            cancel_grace_ms: 1000,
            stop_grace_ms: 5000,
            slots: one(),
            heartbeat_ms: 0,
            on_panic: OnPanic::RetireSlot,
        }
    }
}

/// What the broker tells a client about its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Requests one connection may have open at a time; 65536 when missing.
    pub max_in_flight: u32,
    /// The methods that it serves, by name; [`OTHER_METHOD`] stands for all others, where they are served. Empty when
    /// missing; a broker with very many tells of some, and then of no others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, MethodTimes>,
    /// How long after its deadline the outcome of a request is told at the latest, whatever its method, those that are
    /// not told of included; in milliseconds. Missing: an older broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_deadline_ms: Option<u64>,
}

impl Default for Service {
    fn default() -> Self {
        Self { max_in_flight: 65536, methods: BTreeMap::new(), after_deadline_ms: None }
    }
}

/// How long requests for a method may take, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MethodTimes {
    /// When a request is out of time, after its acceptance and in milliseconds, unless its client is stricter.
    pub deadline_ms: u64,
    /// When its client is told the outcome at the latest: the deadline, and what the death of the process may take.
    pub answer_within_ms: u64,
}

const fn one() -> u32 {
    1
}

const fn is_one(number: &u32) -> bool {
    *number == 1
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The highest version that both sides speak. `None`: send `refused` with `unsupported_version` and close.
#[must_use]
pub fn agree_version(ours: &[u16], theirs: &[u16]) -> Option<u16> {
    ours.iter().copied().filter(|version| theirs.contains(version)).max()
}
