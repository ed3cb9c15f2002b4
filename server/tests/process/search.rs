//! The search of the whole system for descendants that are not our children.

use std::process::{Child, Command};

use lifeboat::process::{Order, Report};

use super::alone::is_alone;
use super::rig::{Rig, lives, program, sh};

/// Strangers whose environments are as big as the system lets them be.
struct Strangers(Vec<Child>);

impl Strangers {
    fn new(count: usize) -> Self {
        let variables: Vec<_> = (0..15).map(|number| (format!("V{number}"), "x".repeat(130_000))).collect();
        let start = |_| {
            let mut command = Command::new("sleep");
            command.arg("1000").envs(variables.iter().map(|(name, value)| (name, value)));
            command.spawn().expect("sleep")
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        for stranger in &mut self.0 {
            let _ = stranger.kill();
            let _ = stranger.wait();
        }
    }
}

#[test]
fn a_long_search_lets_orders_pass() {
    if !is_alone("search::a_long_search_lets_orders_pass", &[]) {
        return;
    }
    let strangers = Strangers::new(60);
    // Without a subreaper every collection is such a search.
    rustix::process::set_child_subreaper(None).expect("allowed to every process");
    let mut rig = Rig::with(|_| {});
    // Counted, not timed: the machine may be busy. A start that is refused is the cheapest order that is answered.
    let carried_out = (0..5).map(|_| {
        let dead = rig.spawn(sh("exit 0"));
        dead.wait_for_exit();
        rig.order(Order::Collect { process: dead.key });
        let mut orders = 0;
        loop {
            rig.order_spawn(program(&[]));
            match rig.report() {
                Report::SpawnFailed { .. } => orders += 1,
                Report::Evidence { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(rig.report(), Report::SpawnFailed { .. }));
        orders
    });
    let most = carried_out.max().expect("some rounds");
    assert!(most >= 20, "in one search only {most} orders were carried out");
    assert!(strangers.0.iter().all(|stranger| lives(stranger.id())), "a stranger was killed");
}
