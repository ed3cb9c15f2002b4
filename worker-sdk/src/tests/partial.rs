//! Parts of replies: order, back-pressure and cancels.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use lifeboat_protocol::MessageType;

use super::Number;
use super::broker::{Broker, LIMIT, cancel, drain, request, request_in};
use super::doors::doors;
use crate::prelude::*;
use crate::{Bytes, PartialError};

/// More than any socket holds.
const HUGE: usize = 15 << 20;

fn huge() -> String {
    "x".repeat(HUGE)
}

/// A worker whose handlers send what `parts` says before they answer, in both ways.
fn worker(parts: impl Fn(u64) -> String + Copy + Send + Sync + 'static, sent: Arc<AtomicUsize>) -> Worker {
    let for_async = Arc::clone(&sent);
    Worker::new()
        .handle_raw_blocking("blocking", move |body, context| {
            let count: u64 = lifeboat_protocol::decode_body(&body)?;
            for part in 0..count {
                context.partial_blocking(&parts(part))?;
                sent.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, HandlerError>(body)
        })
        .handle_raw("async", move |body: Bytes, context: Context| {
            let sent = Arc::clone(&for_async);
            async move {
                let count: u64 = lifeboat_protocol::decode_body(&body)?;
                for part in 0..count {
                    context.partial(&parts(part)).await?;
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, HandlerError>(body)
            }
        })
}

#[test]
fn parts_come_in_order_and_before_the_answer() {
    for (slots, method) in [(1, "blocking"), (1, "async"), (3, "blocking"), (3, "async")] {
        let mut broker = Broker::with_slots(slots, || worker(|part| part.to_string(), Arc::default()));
        for slot in 0..slots as u8 {
            let id = u64::from(slot) + 1;
            broker.send(&request_in(slot, id, method, &50));
            for part in 0..50 {
                assert_eq!(broker.next().expect::<String>(MessageType::Partial, id), part.to_string());
            }
            assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id), 50);
        }
    }
}

#[test]
fn a_handler_is_held_back_by_a_broker_that_does_not_read() {
    const PART: usize = 256 << 10;
    // What sockets may hold, and what the broker's side of the test does.
    const AHEAD: usize = 24 << 20;
    for method in ["blocking", "async"] {
        let sent = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&sent);
        let mut broker = Broker::start(|| worker(|_| "x".repeat(PART), counter));
        broker.send(&request(1, method, &300));
        for read in 0..300 {
            if read % 10 == 0 {
                // It goes on as far as it can.
                broker.wait_full();
            }
            let ahead = sent.load(Ordering::SeqCst).saturating_sub(read);
            assert!(ahead * PART <= AHEAD, "{ahead} parts ahead");
            assert_eq!(broker.next().expect::<String>(MessageType::Partial, 1).len(), PART);
            if read > 280 {
                break;
            }
        }
        let mut got = broker.next();
        while got.kind == MessageType::Partial {
            got = broker.next();
        }
        assert_eq!(got.expect::<u64>(MessageType::Answer, 1), 300);
        assert_eq!(sent.load(Ordering::SeqCst), 300);
    }
}

#[test]
fn a_cancel_ends_the_wait_for_room_and_the_stream_stays_whole() {
    let (tell, told) = channel();
    let mut broker = Broker::start(move || {
        let for_async = tell.clone();
        Worker::new()
            .handle_raw_blocking("blocking", move |_, context| {
                let result = context.partial_blocking(&huge());
                tell.send(result.clone())?;
                result?;
                Ok::<_, HandlerError>(Bytes::new())
            })
            .handle_raw("async", move |_, context| {
                /// Tells when its handler is dropped.
                struct Dropped(std::sync::mpsc::Sender<Result<(), PartialError>>);
                impl Drop for Dropped {
                    fn drop(&mut self) {
                        self.0.send(Err(crate::Cancelled.into())).unwrap();
                    }
                }
                let dropped = Dropped(for_async.clone());
                async move {
                    let _dropped = dropped;
                    context.partial(&huge()).await?;
                    Ok::<_, HandlerError>(Bytes::new())
                }
            })
    });
    for (id, method) in (1..).zip(["blocking", "async", "blocking"]) {
        broker.send(&request(id, method, &1));
        broker.wait_full();
        broker.send(&cancel(id));
        assert!(matches!(told.recv_timeout(LIMIT), Ok(Err(PartialError::Cancelled(_)))));
        assert_eq!(broker.next().expect::<String>(MessageType::Partial, id).len(), HUGE);
        broker.next().expect::<()>(MessageType::Cancelled, id);
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn the_end_of_the_broker_ends_the_wait_for_room() {
    let (tell, told) = channel();
    for method in ["blocking", "async"] {
        let tell = tell.clone();
        let mut broker = Broker::start(move || {
            let for_async = tell.clone();
            Worker::new()
                .handle_raw_blocking("blocking", move |_, context| {
                    tell.send(context.partial_blocking(&huge()))?;
                    Ok::<_, HandlerError>(Bytes::new())
                })
                .handle_raw("async", move |_, context| {
                    let tell = for_async.clone();
                    async move {
                        tell.send(context.partial(&huge()).await)?;
                        Ok::<_, HandlerError>(Bytes::new())
                    }
                })
        });
        broker.send(&request(1, method, &1));
        broker.wait_full();
        broker.socket.shutdown(Shutdown::Both).unwrap();
        assert!(matches!(told.recv_timeout(LIMIT), Ok(Err(PartialError::Cancelled(_)))));
        assert_eq!(broker.result().unwrap_err().exit_code(), 69);
    }
}

#[test]
fn waiting_for_room_blocks_neither_the_runtime_nor_other_slots() {
    let (doors, visitors) = doors();
    let (tell, told) = channel();
    let mut broker = Broker::with_slots(2, move || {
        let for_async = tell.clone();
        Worker::new()
            .handle_raw("async", move |body, context| {
                let tell = for_async.clone();
                async move {
                    let other = tokio::spawn(async move {
                        for _ in 0..5 {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        tell.send("same slot")
                    });
                    context.partial(&huge()).await?;
                    other.await??;
                    Ok::<_, HandlerError>(body)
                }
            })
            .handle_blocking::<Number>(
                move |number: Number, context: Context| -> Result<Number, HandlerError> {
                    tell.send("other slot")?;
                    visitors.start(number.0, &context);
                    Ok(number)
                },
            )
    });
    broker.send(&request_in(0, 1, "async", &1));
    broker.wait_full();
    assert_eq!(told.recv_timeout(LIMIT), Ok("same slot"));
    broker.send(&request_in(1, 2, "number", &2));
    assert_eq!(told.recv_timeout(LIMIT), Ok("other slot"));
    doors.wait_started([(1, 2)]);
    assert_eq!(broker.next().expect::<String>(MessageType::Partial, 1).len(), HUGE);
    let mut last = [broker.next(), broker.next()].map(|got| (got.route.unwrap().id, got.kind));
    last.sort_by_key(|(id, _)| *id);
    assert_eq!(last, [(1, MessageType::Answer), (2, MessageType::Answer)]);
}

#[test]
fn a_part_that_its_handler_gives_up_is_finished_without_it() {
    let (doors, visitors) = doors();
    let mut broker = Broker::start(move || {
        Worker::new().handle::<Number>(move |number: Number, context: Context| {
            let visitors = visitors.clone();
            async move {
                let part = huge();
                let waited = tokio::time::timeout(Duration::from_millis(20), context.partial(&part)).await;
                assert!(waited.is_err(), "nobody reads");
                // It blocks from here on, and writes nothing.
                visitors.enter(number.0, &context);
                Ok::<_, HandlerError>(number)
            }
        })
    });
    broker.send(&request(1, "number", &1));
    doors.wait_started([(0, 1)]);
    assert_eq!(broker.next().expect::<String>(MessageType::Partial, 1).len(), HUGE);
    doors.open(1);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
}

#[test]
fn a_part_that_was_cancelled_is_finished_while_its_handler_goes_on() {
    let (doors, visitors) = doors();
    let mut broker = Broker::start(move || {
        Worker::new().handle_blocking::<Number>(
            move |number: Number, context: Context| -> Result<Number, HandlerError> {
                assert!(context.partial_blocking(&huge()).is_err());
                visitors.enter(number.0, &context);
                Ok(number)
            },
        )
    });
    broker.send(&request(1, "number", &1));
    broker.wait_full();
    broker.send(&cancel(1));
    doors.wait_started([(0, 1)]);
    assert_eq!(broker.next().expect::<String>(MessageType::Partial, 1).len(), HUGE);
    doors.open(1);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
}

#[test]
fn parts_that_cannot_be_sent_are_refused_and_nothing_of_them_is_written() {
    /// A value that no format can hold.
    struct Unfit;
    impl serde::Serialize for Unfit {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("unfit"))
        }
    }
    /// A task that may move between threads can send parts too.
    const fn sendable<T: Send>(future: T) -> T {
        future
    }
    let (keep, kept) = channel();
    let mut broker = Broker::start(move || {
        Worker::new().handle::<Number>(move |number: Number, context: Context| {
            let keep = keep.clone();
            async move {
                let errors = [
                    sendable(context.partial(&Unfit)).await.unwrap_err(),
                    context.partial_blocking(&Unfit).unwrap_err(),
                    context.partial_raw(Bytes::new()).await.unwrap_err(),
                    context.partial_raw_blocking(vec![0; 40 << 20].into()).unwrap_err(),
                    context.partial(&"x".repeat(40 << 20)).await.unwrap_err(),
                ];
                let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
                assert!(
                    texts[..2]
                        .iter()
                        .all(|text| text.contains("cannot be encoded") && text.contains("unfit"))
                );
                assert!(matches!(errors[2], PartialError::Empty));
                let (len, limit) = (40 << 20, super::broker::MAX_BODY);
                assert_eq!(errors[3], PartialError::TooLarge { len, limit });
                assert_eq!(errors[4], PartialError::TooLarge { len: len + 5, limit });
                keep.send(context)?;
                Ok::<_, HandlerError>(number)
            }
        })
    });
    broker.send(&request(1, "number", &1));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    // A context that outlives its handler.
    let context: Context = kept.recv_timeout(LIMIT).unwrap();
    assert_eq!(context.partial_blocking(&1), Err(PartialError::Ended));
    broker.send(&drain());
    assert!(broker.end().is_ok());
}
