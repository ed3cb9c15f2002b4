//! A watcher on another thread is told what becomes of processes, in order, and nothing that the core did not say.

use tokio::sync::mpsc;

use super::*;

fn ready(incarnation: u32) -> Fact {
    let took = Duration::from_millis(3);
    Fact::WorkerReady { pool: IMAGES, process: process(1, incarnation), pid: 9, took }
}

fn told(news: &mut mpsc::Receiver<News>) -> Vec<String> {
    std::iter::from_fn(|| news.try_recv().ok())
        .map(|news| match news {
            News::Ready { worker, methods } => format!("{worker} serves {}", methods.join(", ")),
            News::Died { worker, death } => format!("{worker} died: {}", death.reason.label()),
        })
        .collect()
}

#[test]
fn a_process_is_told_as_ready_with_its_methods_when_the_core_says_so() {
    let mut observer = observer();
    let (tell, mut news) = mpsc::channel(8);
    observer.tell_news(tell);
    observer.announced(process(1, 1), vec!["thumbnail".to_owned(), "convert".to_owned()]);
    assert!(told(&mut news).is_empty(), "the core has not said anything");
    for fact in [ready(1), crashed(1, 1, CrashReason::Oom)] {
        observer.record(&fact, Timestamp::ZERO);
    }
    assert_eq!(told(&mut news), ["images-1 serves thumbnail, convert", "images-1 died: oom"]);
    // One that the core did not take, and its successor.
    observer.announced(process(1, 2), vec!["old".to_owned()]);
    observer.announced(process(1, 3), vec!["new".to_owned()]);
    observer.record(&ready(3), Timestamp::ZERO);
    assert_eq!(told(&mut news), ["images-1 serves new"]);
}

#[test]
fn a_watcher_that_does_not_keep_up_loses_news() {
    let mut observer = observer();
    let (tell, mut news) = mpsc::channel(1);
    observer.tell_news(tell);
    for incarnation in 1..=3 {
        observer.record(&crashed(0, incarnation, CrashReason::Oom), Timestamp::ZERO);
    }
    assert_eq!(told(&mut news), ["images-0 died: oom"]);
}
