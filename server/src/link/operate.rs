//! Operations of a client on the broker itself: shown at once, or ordered of the core.
//!
//! Who may connect may operate: the listener has checked the peer's user.

use lifeboat_core::event::Event;
use lifeboat_core::ids::ClientId;
use lifeboat_protocol::{MessageType, Operate, Operated, Route, RouteFlags, TimeLeft, put_control};

use super::table::Peer;
use super::translate::{Asked, failed_row, operate, report_row};
use super::{Links, table::Table};
use crate::engine::Engine;
use crate::engine::ports::ProcessPort;

impl<P: ProcessPort> Engine<Links, P> {
    /// Answers the oldest operation that the client has asked for. True if more are left, each for a turn of its own: one
    /// may have to look at everything the broker has.
    pub(super) fn operate_once(&mut self, id: ClientId) -> bool {
        let Some(client) = self.links.table.client(id).filter(|client| !client.closing) else { return false };
        let Some((tag, asked)) = client.asked.pop_front() else { return false };
        let more = !client.asked.is_empty();
        self.wake();
        self.operate(id, tag, &asked);
        more
    }

    /// Answers an operation, and has the core told if something is to be done.
    fn operate(&mut self, client: ClientId, tag: u64, asked: &Operate) {
        let now = self.now();
        let table = &self.links.table;
        let answer = match operate(self.core(), now, asked, &|id| pid(table, id)) {
            Asked::Shown(answer) => answer,
            Asked::FailedRequests(most) => {
                let mut all = self.observer().failed_requests(now);
                let more = all.len() > most;
                all.truncate(most);
                let failed_requests = all.into_iter().map(failed_row).collect();
                Operated { failed_requests, more, ..Operated::done() }
            }
            Asked::Reports(most) => {
                let mut reports: Vec<_> = self.observer().reports(now).map(report_row).collect();
                let more = reports.len() > most;
                reports.truncate(most);
                Operated { reports, more, ..Operated::done() }
            }
            Asked::Report(id) => match self.observer().report(&id) {
                Some(json) => Operated { report: Some(json.to_string()), ..Operated::done() },
                None => Operated::not_done(format!(
                    "no report is named {id:?}; `lifeboat report` lists those that are kept"
                )),
            },
            Asked::Ordered(operation, target, answer) => {
                log_order(pid(table, client), asked);
                self.handle(Event::Operated { operation, target });
                answer
            }
            Asked::Released(which, answer) => {
                log_order(pid(table, client), asked);
                self.handle(Event::QuarantineReleased { which });
                answer
            }
        };
        self.links.tell_operated(client, tag, answer);
    }
}

/// Logged here and not where facts are: only here is it known who orders.
fn log_order(by: Option<u32>, asked: &Operate) {
    let target = asked.target.as_deref().unwrap_or_default();
    tracing::info!(pid = by, operation = asked.operation, target, "ordered by a person");
}

fn pid(table: &Table, client: ClientId) -> Option<u32> {
    table.look_up_client(client).and_then(|client| client.pid)
}

impl Links {
    /// Rows that would not fit the client's limit are left out, and that is said.
    fn tell_operated(&mut self, client: ClientId, tag: u64, mut answer: Operated) {
        let route = Route { id: tag, attempt: 0, flags: RouteFlags::NONE, time_left: TimeLeft::NONE };
        let most = self.table.client(client).map_or(0, |client| client.max_frame);
        let frame = loop {
            let mut frame = Vec::new();
            if let Err(error) = put_control(&mut frame, MessageType::Operated, Some(route), &answer) {
                tracing::error!(%error, "the answer to an operation could not be encoded; its client is closed");
                self.abandon(Peer::Client(client));
                return;
            }
            if frame.len() > most && answer.report.is_some() {
                let text = format!("the report has {} bytes, more than this client takes", frame.len());
                answer = Operated::not_done(text);
                continue;
            }
            let rows = [
                answer.requests.len(),
                answer.workers.len(),
                answer.affected.len(),
                answer.failed_requests.len(),
                answer.reports.len(),
                answer.quarantine.len(),
            ];
            if frame.len() <= most || rows.iter().all(|rows| *rows == 0) {
                break frame;
            }
            answer.requests.truncate(answer.requests.len() / 2);
            answer.failed_requests.truncate(answer.failed_requests.len() / 2);
            answer.reports.truncate(answer.reports.len() / 2);
            answer.workers.truncate(answer.workers.len() / 2);
            answer.affected.truncate(answer.affected.len() / 2);
            answer.quarantine.truncate(answer.quarantine.len() / 2);
            answer.more = true;
        };
        self.write(Peer::Client(client), |connection, _| {
            connection.outbox.tail().extend_from_slice(&frame);
        });
    }
}
