//! Declarations that are refused at start.

use std::os::unix::net::UnixStream;

use super::{Number, Text, double};
use crate::WorkerError;
use crate::prelude::*;

fn refused(worker: Worker) -> WorkerError {
    let (_broker, socket) = UnixStream::pair().unwrap();
    let error = worker.serve(socket).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    error
}

async fn needy(request: Text, _: State<String>) -> Result<Text, HandlerError> {
    Ok(request)
}

#[test]
fn wrong_declarations_are_told_before_anything_is_served() {
    assert!(matches!(refused(Worker::new()), WorkerError::NoHandlers));
    assert!(matches!(
        refused(Worker::new().handle::<Number>(double).handle::<Number>(double)),
        WorkerError::DuplicateHandler { method } if method == "number"
    ));
    assert!(matches!(
        refused(Worker::new().state(7_u8).handle::<Text>(needy)),
        WorkerError::MissingState { method, type_name } if method == "text" && type_name.ends_with("String")
    ));
    assert!(matches!(
        refused(Worker::new().handle::<Number>(double).state(1_u8).state(2_u8)),
        WorkerError::DuplicateState { type_name: "u8" }
    ));
    let unnamed = Worker::new().handle_raw("", |body, _| async { Ok::<_, HandlerError>(body) });
    assert!(matches!(refused(unnamed), WorkerError::BadMethod { len: 0, .. }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inside = runtime.block_on(async { refused(Worker::new().handle::<Number>(double)) });
    assert!(matches!(inside, WorkerError::InsideRuntime));
}

#[test]
fn without_a_broker_the_exit_says_so() {
    let exit = Worker::new().handle::<Number>(double).run().unwrap();
    assert!(matches!(exit.error(), Some(WorkerError::StartedByHand)));
    assert_eq!(exit.code(), 64);
    assert!(exit.into_result().unwrap_err().to_string().contains("start it through a pool's `command`"));
}
