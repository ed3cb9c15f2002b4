//! Random conversations, whatever the order of things: nothing is executed twice, nothing after a drain, and each slot
//! answers what it executed, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use lifeboat_protocol::{Assignment, MessageType};

use super::broker::{Broker, Got, cancel_in, drain, request_in};
use crate::prelude::*;
use crate::{Bytes, WorkerError};

/// What handlers noted when they began: slot and request, in the order of beginning.
type Executed = Arc<Mutex<Vec<(u8, u64)>>>;

/// What a handler does.
const CANCELLABLE: u64 = 3;
const PANIC: u64 = 4;
const KINDS: u64 = 6;

fn work(kind: u64, context: &Context) -> Result<(), HandlerError> {
    let begin = Instant::now();
    match kind {
        0 => {}
        1 => while begin.elapsed() < Duration::from_micros(200) {},
        2 => return Err("no".into()),
        CANCELLABLE => {
            while begin.elapsed() < Duration::from_millis(3) {
                context.check_cancel()?;
                std::thread::yield_now();
            }
        }
        PANIC => panic!("as told"),
        _ => {
            context.partial_blocking(&"part")?;
            context.progress(Progress::new());
        }
    }
    Ok(())
}

fn worker(executed: Executed) -> Worker {
    let for_async = Arc::clone(&executed);
    Worker::new()
        .handle_raw_blocking("blocking", move |body, context| {
            executed.lock().unwrap().push((context.slot(), context.request_id()));
            work(lifeboat_protocol::decode_body(&body)?, &context)?;
            Ok::<_, HandlerError>(body)
        })
        .handle_raw("async", move |body: Bytes, context: Context| {
            let executed = Arc::clone(&for_async);
            async move {
                executed.lock().unwrap().push((context.slot(), context.request_id()));
                tokio::task::yield_now().await;
                work(lifeboat_protocol::decode_body(&body)?, &context)?;
                Ok::<_, HandlerError>(body)
            }
        })
}

/// The broker's side of one conversation.
struct Script {
    broker: Broker,
    random: Rng,
    panics: bool,
    prefetch: usize,
    next: u64,
    /// What each slot has not answered; nothing is asked of a slot that is known to be retired.
    lines: Vec<VecDeque<u64>>,
    retired: BTreeSet<u8>,
    /// What was asked, in order.
    asked: BTreeMap<u64, u8>,
    ended: BTreeSet<u64>,
    all_failed: bool,
}

impl Script {
    fn new(seed: u64, executed: &Executed) -> Self {
        let mut random = Rng::with_seed(seed);
        let (slots, prefetch) = (random.u32(1..=5), random.u32(1..=3));
        let executed = Arc::clone(executed);
        let assignment = Assignment { slots, prefetch, heartbeat_ms: 1, ..Assignment::default() };
        Self {
            broker: Broker::start_with(assignment, || worker(executed)),
            panics: random.u8(0..3) == 0,
            random,
            prefetch: prefetch as usize,
            next: 1,
            lines: (0..slots).map(|_| VecDeque::new()).collect(),
            retired: BTreeSet::new(),
            asked: BTreeMap::new(),
            ended: BTreeSet::new(),
            all_failed: false,
        }
    }

    /// A request for some slot that may be given one, if there is any.
    fn ask(&mut self) -> Option<Vec<u8>> {
        let room =
            |slot: &usize| self.lines[*slot].len() < self.prefetch && !self.retired.contains(&(*slot as u8));
        let able: Vec<usize> = (0..self.lines.len()).filter(room).collect();
        let slot = *self.random.choice(&able)?;
        let mut kind = self.random.u64(0..KINDS);
        if kind == PANIC && !(self.panics && self.random.u8(0..4) == 0) {
            kind = 0;
        }
        let method = if self.random.bool() { "blocking" } else { "async" };
        let id = self.next;
        self.next += 1;
        self.lines[slot].push_back(id);
        self.asked.insert(id, slot as u8);
        Some(request_in(slot as u8, id, method, &kind))
    }

    fn step(&mut self) {
        let mut bytes = Vec::new();
        for _ in 0..self.random.u8(0..4) {
            bytes.extend(self.ask().unwrap_or_default());
        }
        if self.random.u8(0..4) == 0 && self.next > 1 {
            let id = self.random.u64(1..self.next);
            bytes.extend(cancel_in(self.asked[&id], id));
        }
        self.send(&bytes);
        let owed = |(slot, line): (u8, &VecDeque<u64>)| !line.is_empty() && !self.retired.contains(&slot);
        if self.random.bool() && (0..).zip(&self.lines).any(owed) && !self.all_failed {
            let got = self.broker.next();
            self.note(&got);
        }
        while let Some(got) = self.broker.next_now() {
            self.note(&got);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // It fails after the last slot was retired.
        let sent = self.broker.socket.write_all(bytes);
        assert!(sent.is_ok() || self.panics, "{sent:?}");
    }

    #[track_caller]
    fn note(&mut self, got: &Got) {
        assert!(!self.all_failed, "after the last words: {got:?}");
        if got.kind == MessageType::Heartbeat {
            return;
        }
        let Some(route) = got.route else {
            assert_eq!(got.kind, MessageType::WorkersFailed);
            self.all_failed = true;
            return;
        };
        let slot = self.asked[&route.id];
        let line = &mut self.lines[usize::from(slot)];
        assert_eq!(line.front(), Some(&route.id), "slot {slot} answers in order: {got:?}");
        assert!(!self.retired.contains(&slot), "slot {slot} is retired: {got:?}");
        if matches!(got.kind, MessageType::Partial | MessageType::Progress) {
            return;
        }
        if got.kind == MessageType::Panicked {
            self.retired.insert(slot);
        } else {
            let ends = [MessageType::Answer, MessageType::Failure, MessageType::Cancelled];
            assert!(ends.contains(&got.kind), "{got:?}");
        }
        line.pop_front();
        assert!(self.ended.insert(route.id), "answered twice: {got:?}");
    }

    /// Drains the worker, with requests behind. Gives the first of them.
    fn drain(&mut self) -> u64 {
        let first_late = self.next;
        let mut bytes = drain();
        for _ in 0..3 {
            bytes.extend(self.ask().unwrap_or_default());
        }
        self.send(&bytes);
        first_late
    }
}

#[test]
fn nothing_is_executed_twice_or_after_a_drain_and_everything_executed_is_answered() {
    for seed in 0..150 {
        let executed = Executed::default();
        let mut script = Script::new(seed, &executed);
        for _ in 0..script.random.u8(0..40) {
            script.step();
        }
        let first_late = script.drain();
        let result = script.broker.result();
        while let Some(got) = script.broker.next_now() {
            script.note(&got);
        }
        let failed = script.retired.len() == script.lines.len();
        assert_eq!(script.all_failed, failed, "seed {seed}");
        match result {
            Ok(()) => assert!(!failed, "seed {seed}"),
            Err(WorkerError::SlotsFailed { reasons }) => {
                assert!(failed && reasons.len() == script.lines.len(), "seed {seed}: {reasons:?}");
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let executed = executed.lock().unwrap();
        let mut latest = BTreeMap::new();
        for (slot, id) in &*executed {
            assert_eq!(script.asked[id], *slot, "seed {seed}: {id} in the wrong slot");
            assert!(
                latest.insert(slot, id).is_none_or(|before| before < id),
                "seed {seed}: twice or out of order"
            );
            assert!(*id < first_late, "seed {seed}: {id} came after the drain");
            assert!(script.ended.contains(id), "seed {seed}: {id} was executed and not answered");
        }
    }
}
