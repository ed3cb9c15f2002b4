//! What the clients and the workers wrote down, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lifeboat_tests::chaos::{Class, Ended, Entry, Pool, Sent, place_of, read_journal};

use super::fleet::Fleet;

/// One execution: by which process, of which attempt.
pub(super) type Execution = (u32, u16);

/// Everything that was written down.
pub(super) struct Books {
    /// Every call that was about to be sent, by tag, with its end if its client wrote one.
    pub(super) calls: BTreeMap<u64, Call>,
    /// What workers executed, by tag.
    pub(super) executed: BTreeMap<u64, Vec<Execution>>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) sent: Sent,
    /// Of a client that came to its end in order.
    pub(super) whole: bool,
    pub(super) ended: Option<Ended>,
}

impl Books {
    /// Reads the journals of these clients, and all traces. Every call of a client that was not killed has one end.
    pub(super) fn read(room: &Path, fleet: &Fleet) -> Self {
        let mut books = Self { calls: BTreeMap::new(), executed: traces(&room.join("trace")) };
        for journal in fleet.whole() {
            let over = books.enter(journal, true);
            assert_eq!(over, Some(0), "what the broker told {} that it should not have", journal.display());
        }
        for journal in fleet.torn() {
            // A client that was killed before it was connected has none.
            if journal.exists() {
                assert_eq!(books.enter(journal, false), None, "it was killed: {}", journal.display());
            }
        }
        let open: Vec<_> =
            books.of(true).filter(|call| call.ended.is_none()).map(|call| &call.sent).collect();
        assert!(open.is_empty(), "calls without an end: {open:?}");
        books
    }

    /// Enters a journal; gives what it says at its end, if it has one.
    fn enter(&mut self, journal: &Path, whole: bool) -> Option<u64> {
        let mut entries = journal_of(journal);
        let over = entries.pop_if(|entry| matches!(entry, Entry::Over { .. }));
        for entry in entries {
            match entry {
                Entry::Sent(sent) => {
                    let call = Call { sent, whole, ended: None };
                    assert!(self.calls.insert(call.sent.tag, call).is_none(), "a tag is given once");
                }
                Entry::Ended(ended) => self.end(ended),
                Entry::Over { .. } => panic!("{} goes on after its end", journal.display()),
            }
        }
        over.map(|entry| if let Entry::Over { unexpected } = entry { unexpected } else { 0 })
    }

    fn end(&mut self, ended: Ended) {
        let call = self.calls.get_mut(&ended.tag).expect("it was sent before");
        assert!(call.ended.is_none(), "a second end: {ended:?} after {:?}", call.ended);
        call.ended = Some(ended);
    }

    /// The calls of clients that came to their end, or of those that did not.
    pub(super) fn of(&self, whole: bool) -> impl Iterator<Item = &Call> {
        self.calls.values().filter(move |call| call.whole == whole)
    }

    /// The calls that each process is known to have executed.
    pub(super) fn by_process(&self) -> BTreeMap<u32, BTreeSet<u64>> {
        let mut by_process: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for (tag, executions) in &self.executed {
            for (pid, _) in executions {
                by_process.entry(*pid).or_default().insert(*tag);
            }
        }
        by_process
    }
}

impl Call {
    /// Where it belongs; nowhere, if no pool serves its method.
    pub(super) fn place(&self) -> Option<(Pool, Class)> {
        place_of(&self.sent.method)
    }

    /// Whether its client knows all that the broker does of it.
    pub(super) fn is_kept(&self) -> bool {
        self.place().is_none_or(|(_, class)| class == Class::Kept)
    }

    pub(super) fn outcome(&self) -> &str {
        self.ended.as_ref().map_or("", |ended| &ended.outcome)
    }
}

fn journal_of(file: &Path) -> Vec<Entry> {
    read_journal(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Each line is an execution: tag, process, attempt.
fn traces(file: &Path) -> BTreeMap<u64, Vec<Execution>> {
    let mut executed: BTreeMap<u64, Vec<Execution>> = BTreeMap::new();
    for line in fs::read_to_string(file).expect("workers left traces").lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [tag, pid, attempt] = words.as_slice() else { panic!("no trace: {line:?}") };
        let tag = tag.parse().expect("a tag");
        let execution = (pid.parse().expect("a process"), attempt.parse().expect("an attempt"));
        executed.entry(tag).or_default().push(execution);
    }
    executed
}
