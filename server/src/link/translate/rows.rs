//! Operations: what a client asks of the broker itself, and the rows that it is shown.

use lifeboat_core::Core;
use lifeboat_core::event::{Operation, Target};
use lifeboat_core::ids::{ClientId, Digest, PoolId, WorkerId};
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::{
    BrokerView, PoolState, PoolView, QuarantineView, RequestState, RequestView, SlotState, SlotView,
    WorkerView,
};
use lifeboat_protocol as wire;
use lifeboat_protocol::{
    ALL_BODIES, LastCrash, Operate, Operated, PoolRow, PoolStateLabel, QuarantineRow, RequestRow,
    RequestStateLabel, SlotRow, SlotStateLabel, WorkerRow,
};

use super::told::{millis, reason_text};

/// The process id of a client, if it is still there and known.
type ClientPids<'a> = &'a dyn Fn(ClientId) -> Option<u32>;

/// What an operation asks for.
pub(in crate::link) enum Asked {
    /// To be shown something: here it is.
    Shown(Operated),
    /// To be shown the last requests that did not end `ok`: so many.
    FailedRequests(usize),
    /// To be shown what reports there are: so many.
    Reports(usize),
    /// To be shown the report of this name.
    Report(String),
    /// To have something done: the core is to be told.
    Ordered(Operation, Target, Operated),
    /// To let the body with this digest, or each, out of quarantine.
    Released(Option<Digest>, Operated),
}

/// Understands an operation, and answers it as far as it only shows.
pub(in crate::link) fn operate<Q, A>(
    core: &Core<Q, A>,
    now: Timestamp,
    asked: &Operate,
    pids: ClientPids<'_>,
) -> Asked {
    let Some(operation) = wire::Operation::from_label(&asked.operation) else {
        let text = format!("unknown operation {:?}; this broker knows {}", asked.operation, known());
        return Asked::Shown(Operated::not_done(text));
    };
    let order = match operation {
        wire::Operation::Workers => return Asked::Shown(workers(core, now)),
        wire::Operation::Requests => return Asked::Shown(requests(core, now, asked.rows(), pids)),
        wire::Operation::FailedRequests => return Asked::FailedRequests(asked.rows()),
        wire::Operation::Reports => return Asked::Reports(asked.rows()),
        wire::Operation::Report => {
            return match asked.target.clone() {
                Some(id) => Asked::Report(id),
                None => Asked::Shown(Operated::not_done("name a report; `lifeboat report` lists them")),
            };
        }
        wire::Operation::Health => return Asked::Shown(health(core, now)),
        wire::Operation::Quarantine => {
            let quarantine = quarantine(core, now, None);
            return Asked::Shown(Operated { quarantine, ..Operated::done() });
        }
        wire::Operation::Release => return release(core, now, asked.target.as_deref()),
        wire::Operation::Restart => Operation::Restart,
        wire::Operation::Drain => Operation::Drain,
        wire::Operation::Kill => Operation::Kill,
    };
    let Some(name) = asked.target.as_deref() else {
        return Asked::Shown(Operated::not_done("name a pool or a worker"));
    };
    if core.is_draining() && order != Operation::Kill {
        return Asked::Shown(Operated::not_done("the broker is shutting down"));
    }
    match find(core, name) {
        Some((Target::Worker(worker), _)) if order == Operation::Restart && is_drained(core, now, worker) => {
            let pool = &core.settings().pool(core.worker_pool(worker)).name;
            let text = format!("the pool of {name} is drained; restart the pool: lifeboat restart {pool}");
            Asked::Shown(Operated::not_done(text))
        }
        Some((target, affected)) => Asked::Ordered(order, target, Operated { affected, ..Operated::done() }),
        None => {
            let pools = core.settings().pools.iter().map(|pool| pool.name.as_str());
            let pools: Vec<&str> = pools.collect();
            let text = format!("no pool or worker is named {name:?}; the pools are {}", pools.join(", "));
            Asked::Shown(Operated::not_done(text))
        }
    }
}

/// The bodies in quarantine, or the one with this digest.
fn quarantine<Q, A>(core: &Core<Q, A>, now: Timestamp, which: Option<Digest>) -> Vec<QuarantineRow> {
    let all = core.quarantine(now).into_iter();
    let wanted = all.filter(|view| which.is_none_or(|digest| digest == view.digest));
    wanted.map(|view| quarantine_row(core, now, &view)).collect()
}

/// Understands whom to release.
fn release<Q, A>(core: &Core<Q, A>, now: Timestamp, target: Option<&str>) -> Asked {
    let which = match target {
        Some(ALL_BODIES) => None,
        Some(target) => match u128::from_str_radix(target, 16) {
            Ok(bits) => Some(Digest(bits.to_be_bytes())),
            Err(_) => return Asked::Shown(Operated::not_done(format!("{target:?} is no digest"))),
        },
        None => return Asked::Shown(Operated::not_done(format!("name a digest, or {ALL_BODIES:?}"))),
    };
    let quarantine = quarantine(core, now, which);
    match which {
        Some(digest) if quarantine.is_empty() => {
            Asked::Shown(Operated::not_done(format!("no body with the digest {digest} is in quarantine")))
        }
        _ => Asked::Released(which, Operated { quarantine, ..Operated::done() }),
    }
}

/// Whether a worker cannot serve because a person drained its whole pool.
fn is_drained<Q, A>(core: &Core<Q, A>, now: Timestamp, worker: WorkerId) -> bool {
    let pool = core.view(now).pools.into_iter().nth(usize::from(core.worker_pool(worker).0));
    pool.is_some_and(|pool| matches!(pool.state, PoolState::Draining | PoolState::Drained))
}

fn known() -> String {
    let labels: Vec<&str> = wire::Operation::ALL.iter().map(|operation| operation.as_str()).collect();
    labels.join(", ")
}

/// A pool or worker by its name, with the names of the workers concerned. A pool comes first: a pool could be named
/// like another one's worker.
fn find<Q, A>(core: &Core<Q, A>, name: &str) -> Option<(Target, Vec<String>)> {
    let workers = || (0..core.worker_count()).filter_map(|place| u16::try_from(place).ok()).map(WorkerId);
    let pool = core.settings().pools.iter().position(|pool| pool.name == name);
    if let Some(id) = pool.and_then(|place| u16::try_from(place).ok()).map(PoolId) {
        let members = workers().filter(|worker| core.worker_pool(*worker) == id);
        let names = members.map(|worker| core.worker_name(worker).to_owned()).collect();
        return Some((Target::Pool(id), names));
    }
    let worker = workers().find(|worker| core.worker_name(*worker) == name)?;
    Some((Target::Worker(worker), vec![name.to_owned()]))
}

fn workers<Q, A>(core: &Core<Q, A>, now: Timestamp) -> Operated {
    let view = core.view(now);
    let workers = view.workers.iter().map(|worker| worker_row(core, &view, worker)).collect();
    Operated { workers, pools: pools(core, &view), ..Operated::done() }
}

fn health<Q, A>(core: &Core<Q, A>, now: Timestamp) -> Operated {
    let view = core.view(now);
    Operated {
        pools: pools(core, &view),
        ready: Some(core.ready()),
        draining: Some(view.draining),
        ..Operated::done()
    }
}

fn requests<Q, A>(core: &Core<Q, A>, now: Timestamp, most: usize, pids: ClientPids<'_>) -> Operated {
    let (open, more) = core.requests(most);
    let requests = open.iter().map(|request| request_row(core, now, request, pids)).collect();
    Operated { requests, more, ..Operated::done() }
}

fn pools<Q, A>(core: &Core<Q, A>, view: &BrokerView) -> Vec<PoolRow> {
    view.pools.iter().map(|pool| pool_row(core, view, pool)).collect()
}

fn pool_row<Q, A>(core: &Core<Q, A>, view: &BrokerView, pool: &PoolView) -> PoolRow {
    PoolRow {
        pool: core.settings().pool(pool.pool).name.clone(),
        state: match pool.state {
            PoolState::Serving => PoolStateLabel::Serving,
            PoolState::Tripped => PoolStateLabel::Tripped,
            PoolState::Probing => PoolStateLabel::Probing,
            PoolState::Draining => PoolStateLabel::Draining,
            PoolState::Drained => PoolStateLabel::Drained,
        },
        queue_depth: pool.queue_depth as u64,
        queue_bytes: pool.queue_bytes as u64,
        queue_oldest_ms: pool.queue_oldest.map(|at| millis(view.at - at)),
        because: pool.because.as_ref().map(|death| reason_text(core, death)),
    }
}

fn worker_row<Q, A>(core: &Core<Q, A>, view: &BrokerView, worker: &WorkerView) -> WorkerRow {
    let busy = worker.current().is_some();
    WorkerRow {
        worker: core.worker_name(worker.worker).to_owned(),
        pool: core.settings().pool(worker.pool).name.clone(),
        state: worker.state.label().to_owned(),
        incarnation: worker.process.map(|process| u64::from(process.incarnation.0)),
        pid: worker.pid,
        held: worker.held as u64,
        slots: worker.slots.iter().map(|slot| slot_row(core, view.at, *slot)).collect(),
        idle_ms: if busy { 0 } else { millis(view.at - worker.last_activity) },
        consecutive_failures: worker.consecutive_failures.into(),
        healthy: worker.healthy,
        recycling: worker.recycling.map(|reason| reason.label().to_owned()),
        last_crash: worker
            .last_crash
            .map(|(at, reason)| LastCrash { reason: reason.to_owned(), ago_ms: millis(view.at - at) }),
    }
}

fn quarantine_row<Q, A>(core: &Core<Q, A>, now: Timestamp, body: &QuarantineView) -> QuarantineRow {
    QuarantineRow {
        pool: core.settings().pool(body.pool).name.clone(),
        method: core.settings().method(body.method).name.clone(),
        digest: body.digest.to_string(),
        crashes: body.crashes,
        last_crash_ms: millis(now - body.last_crash),
        expires_ms: millis(body.until.since(now)),
        report_id: body.report.map(|report| report.name(&core.settings().start)),
    }
}

fn slot_row<Q, A>(core: &Core<Q, A>, now: Timestamp, slot: SlotView) -> SlotRow {
    let state = match slot.state {
        SlotState::Idle => SlotStateLabel::Idle,
        SlotState::Busy => SlotStateLabel::Busy,
        SlotState::Failed => SlotStateLabel::Failed,
    };
    let Some(task) = slot.current else { return SlotRow::new(state) };
    SlotRow {
        request: Some(task.request.0),
        method: Some(core.settings().method(task.method).name.clone()),
        attempt: Some(task.attempt.0),
        running_ms: Some(millis(now - task.started_at)),
        progress_ms: Some(millis(now - task.progress_at)),
        ..SlotRow::new(state)
    }
}

fn request_row<Q, A>(
    core: &Core<Q, A>,
    now: Timestamp,
    request: &RequestView,
    pids: ClientPids<'_>,
) -> RequestRow {
    let runs = request.state == RequestState::Running;
    RequestRow {
        request: request.request.0,
        pool: core.settings().pool(request.pool).name.clone(),
        method: core.settings().method(request.method).name.clone(),
        state: match request.state {
            RequestState::Queued => RequestStateLabel::Queued,
            RequestState::Running => RequestStateLabel::Running,
            RequestState::Backoff => RequestStateLabel::Backoff,
        },
        attempt: request.attempt.0,
        max_attempts: request.max_attempts,
        age_ms: millis(now - request.accepted_at),
        running_ms: request.started_at.map(|at| millis(now - at)),
        worker: request.worker.filter(|_| runs).map(|worker| core.worker_name(worker).to_owned()),
        client_pid: pids(request.client),
        suspect: request.suspect,
    }
}
