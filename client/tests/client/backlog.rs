//! A stream that is read too slowly is bounded, never silent, and harms no other call.

use lifeboat_client::{CallError, Event};
use lifeboat_protocol::{ErrorBody, OutcomeLabel};

use crate::streams::{all_read, start, word};
use crate::support::{Broker, Resize, limit};

#[tokio::test]
async fn of_unread_progress_the_newest_stays_and_the_rest_is_counted() {
    const SENT: u64 = 5_000;
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream();
    let request = start(&mut events, &mut peer).await;
    for number in 0..SENT {
        peer.progress(request.route.id, 1, &number.to_string()).await;
    }
    all_read(&client, &mut peer).await;
    peer.echo(&request).await;
    let (mut seen, mut skipped, mut last) = (0, 0, None);
    loop {
        match limit(events.next()).await.expect("an end") {
            Event::Progress(progress) => {
                seen += 1;
                skipped += progress.skipped;
                last = progress.text;
            }
            Event::Done(reply) => break assert_eq!(*reply.expect("answered"), 1),
            event @ (Event::Accepted(_) | Event::Partial(_) | Event::AttemptFailed(_) | _) => {
                panic!("{event:?}")
            }
        }
    }
    assert_eq!((seen, seen + skipped, last), (64, SENT, Some((SENT - 1).to_string())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_unread_partials_end_the_stream_and_nothing_else() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream_backlog(3, 1000).stream();
    let id = start(&mut events, &mut peer).await.route.id;
    for part in 0..10 {
        peer.partial(id, 1, &part).await;
        peer.progress(id, 1, &part.to_string()).await;
    }
    assert_eq!(peer.cancel().await, id);
    // Other calls go on, and what the broker says at last is no news.
    all_read(&client, &mut peer).await;
    peer.error(id, 1, &ErrorBody::new(OutcomeLabel::Cancelled, "resize")).await;
    all_read(&client, &mut peer).await;
    for part in 0..3 {
        assert_eq!(word(limit(events.next()).await.expect("told before")), format!("partial {part} of 1"));
        assert_eq!(word(limit(events.next()).await.expect("told before")), format!("progress {part}"));
    }
    let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("the end") };
    let CallError::BacklogFull { method, events: 3, bytes: 3 } = &error else { panic!("{error:?}") };
    assert_eq!(method, "resize");
    assert!(error.may_have_executed() && !error.is_retryable() && error.attempts().is_empty());
    assert!(error.to_string().contains("stream_backlog"), "{error}");
    assert!(limit(events.next()).await.is_none());
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn bytes_are_bounded_too_but_a_reader_that_keeps_up_gets_everything() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream_backlog(1000, 1000).stream();
    let request = start(&mut events, &mut peer).await;
    let large = "x".repeat(100_000);
    for _ in 0..5 {
        // One is larger than the bound, but alone.
        peer.partial(request.route.id, 1, &large).await;
        let Some(Event::Partial(partial)) = limit(events.next()).await else { panic!("a partial") };
        assert_eq!(partial.deserialized::<String>().expect("a text"), large);
    }
    for _ in 0..2 {
        peer.partial(request.route.id, 1, &large).await;
    }
    assert_eq!(peer.cancel().await, request.route.id);
    assert!(matches!(limit(events.next()).await, Some(Event::Partial(_))));
    let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("the end") };
    assert!(matches!(&error, CallError::BacklogFull { events: 1, bytes: 100_005, .. }), "{error:?}");
}
