//! A streamed request: what is told of it comes in order, bounded, and before its end.

use std::time::Duration;

use lifeboat_client::{
    Amount, AttemptEndLabel, CallError, Client, Event, EventStream, LostReason, RequestError, TimeoutWhich,
    Value, encode_body,
};
use lifeboat_protocol::{ErrorBody, MessageType, OutcomeLabel, Progress};

use crate::support::{Broker, Peer, Request, Resize, limit, poll_once, told_of};

/// Events as short texts, for comparing.
pub(crate) fn word(event: Event<u32, Value>) -> String {
    match event {
        Event::Accepted(accepted) => format!("accepted {} for {:?}", accepted.request_id, accepted.time_left),
        Event::Progress(progress) => format!("progress {}", progress.text.unwrap_or_default()),
        Event::Partial(partial) => {
            format!("partial {} of {}", partial.deserialized::<u32>().expect("a number"), partial.attempt())
        }
        Event::AttemptFailed(attempt) => format!("attempt {} failed", attempt.number),
        Event::Done(end) => match end {
            Ok(reply) => format!("done {} after {}", *reply, reply.attempts()),
            Err(error) => format!("error {error}"),
        },
        _ => panic!("an event that is newer than this test"),
    }
}

/// All events from here on.
pub(crate) async fn words(events: &mut EventStream<Resize>) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(event) = limit(events.next()).await {
        words.push(word(event));
    }
    words
}

/// Waits until the client has read all that was written to it: an ordinary call is answered behind it.
pub(crate) async fn all_read(client: &Client, peer: &mut Peer) {
    let serve = async {
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 77 })), serve);
    assert_eq!(reply.expect("answered"), 77);
}

/// Starts a stream and takes its request from the broker's side.
pub(crate) async fn start(events: &mut EventStream<Resize>, peer: &mut Peer) -> Request {
    {
        let mut next = Box::pin(events.next());
        assert!(poll_once(&mut next).await.is_pending());
    }
    let request = peer.request().await;
    assert!(request.ext.stream);
    request
}

#[tokio::test]
async fn acceptance_is_told_first_and_once() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 5 }).stream();
    let request = start(&mut events, &mut peer).await;
    peer.accepted(request.route.id, 77, Duration::from_millis(4998)).await;
    peer.progress(request.route.id, 1, "half").await;
    peer.accepted(request.route.id, 77, Duration::from_millis(4998)).await;
    peer.echo(&request).await;
    assert_eq!(words(&mut events).await, ["accepted 77 for Some(4.998s)", "progress half", "done 5 after 1"]);
    assert_eq!(client.unexpected_answers(), 1, "the second one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_told_comes_in_order() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).retry(2).restartable(true).stream();
    let request = start(&mut events, &mut peer).await;
    assert!(request.ext.restartable);
    let id = request.route.id;
    let serve = async {
        peer.progress(id, 1, "a").await;
        peer.partial(id, 1, &1).await;
        peer.progress(id, 1, "b").await;
        peer.attempt_failed(id, 1).await;
        peer.partial(id, 2, &2).await;
        peer.answer(told_of(id, 2), &9_u32).await;
    };
    let (words, ()) = tokio::join!(words(&mut events), serve);
    assert_eq!(
        words,
        [
            "progress a",
            "partial 1 of 1",
            "progress b",
            "attempt 1 failed",
            "partial 2 of 2",
            "done 9 after 2"
        ]
    );
    assert!(limit(events.next()).await.is_none(), "nothing after the end");
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn progress_and_failed_attempts_are_whole() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream();
    let request = start(&mut events, &mut peer).await;
    assert!(!request.ext.restartable);
    let body = Progress {
        done: Some(Amount::Whole(3)),
        total: Some(Amount::Real(12.0)),
        text: Some("page 3 of 12".into()),
    };
    let id = request.route.id;
    peer.control(MessageType::Progress, Some(told_of(id, 1)), &body).await;
    peer.attempt_failed(id, 1).await;
    peer.echo(&request).await;
    let Some(Event::Progress(progress)) = limit(events.next()).await else { panic!("progress") };
    assert_eq!((progress.attempt, progress.fraction(), progress.skipped), (1, Some(0.25), 0));
    assert_eq!((progress.done, progress.total), (body.done, body.total));
    assert_eq!(progress.text, body.text);
    let Some(Event::AttemptFailed(attempt)) = limit(events.next()).await else { panic!("a failed attempt") };
    assert_eq!((attempt.number, attempt.end), (1, AttemptEndLabel::Crashed));
    assert_eq!(attempt.reason.expect("a reason").to_string(), "signal SIGSEGV, core dumped");
    assert_eq!(attempt.stderr_tail.as_deref(), Some("oh no"));
    assert_eq!(words(&mut events).await, ["done 1 after 1"]);
}

#[tokio::test]
async fn an_error_ends_a_stream_behind_what_was_told() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream();
    let id = start(&mut events, &mut peer).await.route.id;
    peer.partial(id, 1, &1).await;
    peer.error(id, 1, &ErrorBody::new(OutcomeLabel::Crashed, "resize")).await;
    all_read(&client, &mut peer).await;
    let crash = "error Worker crashed unexpectedly while processing 'resize'";
    assert_eq!(words(&mut events).await, ["partial 1 of 1", crash]);
}

#[tokio::test]
async fn partials_by_name_are_cbor_of_any_size() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let lens = [0, 1, 1000, 64 * 1024, 3 << 20];
    let mut events = client.request_raw("any", "").stream();
    let serve = async {
        let request = peer.request().await;
        assert_eq!((request.method.as_str(), request.body.as_slice()), ("any", &[0xf6][..]));
        for len in lens {
            peer.partial(request.route.id, 1, &"x".repeat(len)).await;
        }
        peer.answer(told_of(request.route.id, 1), &lens.len()).await;
    };
    let read = async {
        for len in lens {
            let Some(Event::Partial(partial)) = limit(events.next()).await else { panic!("a partial") };
            assert_eq!(partial.decode::<String>().expect("a text").len(), len);
            assert!(partial.decode::<u32>().is_err());
            assert_eq!(partial[..], encode_body(&"x".repeat(len)).expect("encoded"));
        }
        let Some(Event::Done(reply)) = limit(events.next()).await else { panic!("the end") };
        assert_eq!(reply.expect("answered").decode::<usize>().expect("a number"), lens.len());
        assert!(limit(events.next()).await.is_none());
    };
    tokio::join!(serve, read);
}

#[tokio::test]
async fn a_lost_connection_ends_a_stream_behind_what_was_told() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream();
    let id = start(&mut events, &mut peer).await.route.id;
    for part in 0..3 {
        peer.partial(id, 1, &part).await;
    }
    // Half a partial is none.
    peer.send(&[0, 0, 0, 40, 0x82, 7]).await;
    drop(peer);
    for part in 0..3 {
        let Some(Event::Partial(partial)) = limit(events.next()).await else { panic!("a partial") };
        assert_eq!(partial.deserialized::<u32>().expect("a number"), part);
    }
    let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("the end") };
    let CallError::Disconnected { may_have_executed: true, source } = &error else { panic!("{error:?}") };
    assert!(matches!(source, LostReason::Closed), "{source:?}");
    assert!(limit(events.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_not_written_goes_to_the_next_broker() {
    let mut broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    peer.request().await;
    let mut events = client.request(Resize { width: 2 }).stream();
    assert!(poll_once(&mut Box::pin(events.next())).await.is_pending());
    broker.stop_listening();
    std::fs::remove_file(broker.path()).expect("removed");
    drop(peer);
    limit(first).await.expect("no panic").expect_err("the broker died");
    broker.listen();
    let serve = async {
        let mut peer = broker.accept().await;
        let request = peer.request().await;
        assert!(request.ext.stream && request.width() == 2);
        peer.partial(request.route.id, 1, &5).await;
        peer.echo(&request).await;
    };
    let (words, ()) = tokio::join!(words(&mut events), serve);
    assert_eq!(words, ["partial 5 of 1", "done 2 after 1"]);
}

#[tokio::test]
async fn a_stream_that_is_never_read_is_never_sent() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    drop(client.request(Resize { width: 1 }).stream());
    all_read(&client, &mut peer).await;
    let mut unsendable = client.request_raw("", "").stream();
    let Some(Event::Done(Err(error))) = limit(unsendable.next()).await else { panic!("the end") };
    assert!(matches!(&error, CallError::Encode { source: RequestError::Method(_), .. }), "{error:?}");
    assert!(limit(unsendable.next()).await.is_none());
    drop((client, unsendable));
    peer.eof().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_stream_cancels_its_request() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let mut events = client.request(Resize { width: 1 }).stream();
    let request = start(&mut events, &mut peer).await;
    peer.partial(request.route.id, 1, &1).await;
    peer.partial(request.route.id, 1, &2).await;
    assert_eq!(word(limit(events.next()).await.expect("a partial")), "partial 1 of 1");
    drop(events);
    assert_eq!(peer.cancel().await, request.route.id);
    // These cross the cancel.
    peer.partial(request.route.id, 1, &3).await;
    peer.progress(request.route.id, 1, "x").await;
    peer.error(request.route.id, 1, &ErrorBody::new(OutcomeLabel::Cancelled, "resize")).await;
    // Its place in the window is free again.
    all_read(&client, &mut peer).await;
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn a_stream_that_was_read_to_its_end_is_not_cancelled() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).stream();
    let request = start(&mut events, &mut peer).await;
    peer.echo(&request).await;
    assert_eq!(words(&mut events).await, ["done 1 after 1"]);
    let mut unread = client.request(Resize { width: 2 }).stream();
    let request = start(&mut unread, &mut peer).await;
    peer.partial(request.route.id, 1, &1).await;
    peer.echo(&request).await;
    all_read(&client, &mut peer).await;
    // Ended, though nobody has read that.
    drop((events, unread, client));
    peer.eof().await;
}

#[tokio::test]
async fn a_stream_has_a_deadline_like_every_call() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let short = Duration::from_millis(50);
    let mut events = client.request(Resize { width: 1 }).timeout(short).stream();
    let id = start(&mut events, &mut peer).await.route.id;
    peer.partial(id, 1, &1).await;
    assert_eq!(word(limit(events.next()).await.expect("a partial")), "partial 1 of 1");
    let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("the end") };
    let CallError::TimedOut { which: TimeoutWhich::Deadline, unanswered: true, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(error.may_have_executed());
    assert_eq!(peer.cancel().await, id);
    // Told after the client has given up: no defect of the broker.
    peer.partial(id, 1, &2).await;
    all_read(&client, &mut peer).await;
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_share_a_connection() {
    const STREAMS: u32 = 200;
    const PARTS: u32 = 50;
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut readers = tokio::task::JoinSet::new();
    for width in 0..STREAMS {
        let mut events = client.request(Resize { width }).stream();
        readers.spawn(async move {
            for part in 0..PARTS {
                let Some(Event::Partial(partial)) = events.next().await else { panic!("a partial") };
                assert_eq!(partial.deserialized::<(u32, u32)>().expect("two numbers"), (width, part));
            }
            let Some(Event::Done(reply)) = events.next().await else { panic!("the end") };
            assert_eq!(*reply.expect("answered"), width);
        });
    }
    let serve = async {
        let mut requests = Vec::new();
        for _ in 0..STREAMS {
            requests.push(peer.request().await);
        }
        for part in 0..PARTS {
            for request in &requests {
                peer.partial(request.route.id, 1, &(request.width(), part)).await;
            }
        }
        for request in &requests {
            peer.echo(request).await;
        }
    };
    let collect = async {
        while let Some(reader) = readers.join_next().await {
            reader.expect("no panic");
        }
    };
    limit(async { tokio::join!(serve, collect) }).await;
}
