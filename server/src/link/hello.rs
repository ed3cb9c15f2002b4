//! The hellos between the broker and a process: what it is told, and whether what it says will do.

use std::time::Duration;

use lifeboat_core::event::Event;
use lifeboat_core::ids::{PoolId, ProcessKey};
use lifeboat_core::settings::OnPanic;
use lifeboat_protocol as wire;
use lifeboat_protocol::{
    Assignment, HEARTBEAT_FEATURE, HISTORY_FEATURE, Header, Hello, Message, MessageType, OTHER_METHOD,
    RECORDER_FEATURE, RETIRE_FEATURE, Refused, RefusedCode, Role, SAVE_FEATURE, VERSIONS, WorkerHello,
    agree_version, decode_body, put_control,
};
use thiserror::Error;

use super::table::Peer;
use super::words::cut;
use super::{LinkEvent, Links};
use crate::engine::Engine;
use crate::engine::ports::ProcessPort;

/// A hello that cannot be accepted. Its text is the reason told with the process's end.
#[derive(Debug, Error)]
pub(super) enum HelloError {
    #[error("the first message must be a hello, not {0}; is the program a Lifeboat worker?")]
    Missing(MessageType),
    #[error("its hello cannot be read: {0}")]
    Unreadable(#[from] lifeboat_protocol::BodyError),
    #[error("it says that it is a {0:?}, not a worker")]
    Role(Role),
    #[error("it speaks protocol versions {theirs:?}, this broker {VERSIONS:?}; use a matching SDK")]
    Version { theirs: Vec<u16> },
    #[error("it has no handler for '{0}', which its pool's configuration names")]
    MissingMethod(String),
    #[error("it has {theirs} slots and its pool's configuration says {ours}; make them agree")]
    Slots { theirs: u32, ours: u16 },
    #[error(
        "it takes bodies of at most {theirs} bytes, and this broker's max_body is {ours}; make them agree"
    )]
    MaxBody { theirs: u64, ours: usize },
}

/// The hello in a process's first message, or what is wrong with it. The error is a refusal of the process's own.
pub(super) fn read(message: &Message<'_>) -> Result<Result<Hello, HelloError>, String> {
    Ok(match message.header {
        Header::Hello => decode_body(message.body).map_err(HelloError::from),
        // Said by the SDK when the broker's hello is not for it.
        Header::Refused => {
            let refused: Refused = decode_body(message.body).map_err(|error| error.to_string())?;
            return Err(cut(format!("{}: {}", refused.code.as_str(), refused.message)));
        }
        Header::Request { .. }
        | Header::Answer { .. }
        | Header::Failure { .. }
        | Header::Error { .. }
        | Header::Cancel { .. }
        | Header::Drain
        | Header::WorkersFailed
        | Header::Retire
        | Header::Panicked { .. }
        | Header::Cancelled { .. }
        | Header::Progress { .. }
        | Header::Partial { .. }
        | Header::Heartbeat
        | Header::AttemptFailed { .. }
        | Header::Accepted { .. }
        | Header::Operate { .. }
        | Header::Operated { .. }
        | Header::Save { .. }
        | Header::History { .. } => Err(HelloError::Missing(message.header.message_type())),
    })
}

/// What counts of a process's hello that was accepted.
struct Greeted {
    /// It will send heartbeats.
    heartbeats: bool,
    /// It notes them in its flight recorder.
    notes: bool,
    /// It wants to be told of the attempts before its own.
    history: bool,
    /// It has handlers for these.
    methods: Vec<String>,
}

impl<P: ProcessPort> Engine<Links, P> {
    /// Takes a process's hello: it is ready, or refused.
    pub(super) fn be_greeted(
        &mut self,
        process: ProcessKey,
        read: Result<Hello, HelloError>,
    ) -> Result<LinkEvent, String> {
        let pool = self.core().worker_pool(process.worker);
        match read.and_then(|hello| self.check_hello(pool, hello)) {
            Ok(Greeted { heartbeats, notes, history, methods }) => {
                if let Some(worker) = self.links.table.worker(process) {
                    worker.greeted = true;
                    worker.history = history;
                    if let Some(recorder) = &mut worker.recorder {
                        recorder.beats = heartbeats && notes;
                    }
                }
                self.observer().announced(process, methods);
                Ok(Event::Ready { process, heartbeats })
            }
            Err(error) => {
                self.refuse_process(process, &error);
                Err(error.to_string())
            }
        }
    }

    /// What a process is told of its place.
    pub(super) fn assignment(&self, process: ProcessKey) -> Hello {
        let core = self.core();
        let pool = core.settings().pool(core.worker_pool(process.worker));
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Hello {
            assignment: Some(Assignment {
                pool: pool.name.clone(),
                worker: core.worker_name(process.worker).to_owned(),
                incarnation: u64::from(process.incarnation.0),
                slots: u32::from(pool.slots.get()),
                prefetch: u32::from(pool.prefetch.get()),
                heartbeat_ms: pool.heartbeat.map_or(0, |heartbeat| millis(heartbeat.interval)),
                cancel_grace_ms: millis(pool.cancel_grace),
                stop_grace_ms: millis(pool.stop_grace),
                on_panic: match pool.on_panic {
                    OnPanic::RetireSlot => wire::OnPanic::RetireSlot,
                    OnPanic::Keep => wire::OnPanic::Keep,
                },
            }),
            features: [SAVE_FEATURE, RETIRE_FEATURE].map(str::to_owned).into(),
            ..Hello::new(Role::Broker, self.links.settings.max_body, super::SOFTWARE)
        }
    }

    fn check_hello(&self, pool: PoolId, hello: Hello) -> Result<Greeted, HelloError> {
        let heartbeats = hello.has_feature(HEARTBEAT_FEATURE);
        let notes = hello.has_feature(RECORDER_FEATURE);
        let history = hello.has_feature(HISTORY_FEATURE);
        if hello.role != Role::Worker {
            return Err(HelloError::Role(hello.role));
        }
        if agree_version(VERSIONS, &hello.versions).is_none() {
            return Err(HelloError::Version { theirs: hello.versions });
        }
        let ours = self.links.settings.max_body;
        if hello.max_body < ours as u64 {
            return Err(HelloError::MaxBody { theirs: hello.max_body, ours });
        }
        let WorkerHello { methods, slots } = hello.worker.unwrap_or_default();
        let wanted = self.core().settings().pool(pool).slots.get();
        if slots < u32::from(wanted) {
            return Err(HelloError::Slots { theirs: slots, ours: wanted });
        }
        let mut wanted = self.core().settings().methods.iter().filter(|method| method.pool == pool);
        match wanted.find(|method| method.name != OTHER_METHOD && !methods.contains(&method.name)) {
            None => Ok(Greeted { heartbeats, notes, history, methods }),
            Some(missing) => Err(HelloError::MissingMethod(missing.name.clone())),
        }
    }

    fn refuse_process(&mut self, process: ProcessKey, error: &HelloError) {
        let code = match error {
            HelloError::Missing(_) => RefusedCode::Unexpected,
            HelloError::Unreadable(_) => RefusedCode::Malformed,
            HelloError::Role(_)
            | HelloError::MissingMethod(_)
            | HelloError::Slots { .. }
            | HelloError::MaxBody { .. } => RefusedCode::NotAllowed,
            HelloError::Version { .. } => RefusedCode::UnsupportedVersion,
        };
        let refused = Refused::new(code, error.to_string());
        // Written at once: the process is about to be killed.
        self.links.write(Peer::Process(process), |connection, _| {
            match put_control(connection.outbox.tail(), MessageType::Refused, None, &refused) {
                Ok(()) => drop(connection.outbox.flush(&connection.socket)),
                Err(error) => tracing::error!(%error, "a refusal could not be encoded"),
            }
        });
    }
}
