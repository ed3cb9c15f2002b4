//! What one turn of the data plane may take: nobody keeps the others waiting, whatever it sends.

use std::cell::RefCell;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::{PoolId, ProcessKey};
use tokio::task::{spawn_local, yield_now};

use super::on_data_plane;
use crate::engine::ports::ProcessPort;
use crate::engine::{Clock, Engine};
use crate::link::{LinkSettings, Links, SharedEngine, listener};
use crate::observe::tests::{observer, settings};

/// The engine of these tests is never started: it has no processes.
struct NoProcesses;

impl ProcessPort for NoProcesses {
    fn spawn(&mut self, _: ProcessKey, _: PoolId, _: &str) {
        unreachable!("nothing is started");
    }

    fn signal(&mut self, _: ProcessKey, _: StopSignal) {
        unreachable!("nothing is started");
    }

    fn collect(&mut self, _: ProcessKey) {
        unreachable!("nothing is started");
    }

    fn release(&mut self, _: ProcessKey) {
        unreachable!("nothing is started");
    }
}

fn engine() -> SharedEngine<NoProcesses> {
    let link = LinkSettings { max_body: 1 << 20, client_backlog: 1 << 20, max_clients: 1000 };
    let links = Links::new(link, &settings(), 3);
    Rc::new(RefCell::new(Engine::new(settings(), 1, Clock::start(), observer(), links, NoProcesses)))
}

#[test]
fn many_that_connect_at_once_leave_the_others_their_turns() {
    const WAITING: usize = 100;
    on_data_plane(async || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let waiting: Vec<_> = (0..WAITING).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let engine = engine();
        let accepting = spawn_local(listener::run(Rc::clone(&engine), listener.into()));
        let mut counts = vec![0];
        while counts.last() != Some(&WAITING) {
            yield_now().await;
            counts.push(engine.borrow().links.table.client_count());
        }
        let most = counts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert_eq!(most, listener::ACCEPTS_A_TURN as usize, "accepted in one turn");
        accepting.abort();
        drop(waiting);
    });
}
