//! What a process's hello leads to.

use lifeboat_core::event::Event;
use lifeboat_protocol::{Hello, Role, WorkerHello};
use tokio::sync::mpsc;

use super::fit::PROCESS;
use super::on_data_plane;
use super::turns::{self, adopted};

#[test]
fn a_hello_is_told_to_a_watcher_only_if_the_core_takes_the_process() {
    on_data_plane(async || {
        let engine = turns::engine();
        let _worker = adopted(&engine, PROCESS);
        let mut engine = engine.borrow_mut();
        let (tell, mut news) = mpsc::channel(8);
        engine.observer().tell_news(tell);
        let methods = vec!["thumbnail".to_owned(), "convert".to_owned()];
        let worker = Some(WorkerHello { methods, slots: 1 });
        let hello = Hello { worker, ..Hello::new(Role::Worker, 1 << 20, "test") };
        let event = engine.be_greeted(PROCESS, Ok(hello.clone())).unwrap();
        engine.handle(event);
        assert!(news.try_recv().is_err(), "the core knows of no such process");
        engine.start();
        engine.handle(Event::Spawned { process: PROCESS, pid: 4321 });
        let event = engine.be_greeted(PROCESS, Ok(hello)).unwrap();
        engine.handle(event);
        let told = format!("{:?}", news.try_recv());
        assert_eq!(told, r#"Ok(Ready { worker: "images-0", methods: ["thumbnail", "convert"] })"#);
    });
}
