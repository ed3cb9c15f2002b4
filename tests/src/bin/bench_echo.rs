//! The worker of the measurements: echoes bodies as they are, says its pid, hangs once.

use std::fs;

use bytes::Bytes;
use lifeboat_worker::{Context, HandlerError, Worker};

fn main() -> lifeboat_worker::Result {
    Worker::new()
        .handle_raw_blocking("echo", |body: Bytes, _: Context| Ok::<_, HandlerError>(body))
        .handle_raw_blocking("pid", |_: Bytes, _: Context| encode(&std::process::id()))
        .handle_raw_blocking("hang_once", hang_once)
        .run()
}

/// The first attempt notes its pid in the file that the body names, and never comes back.
fn hang_once(body: Bytes, context: Context) -> Result<Bytes, HandlerError> {
    let path: String =
        lifeboat_protocol::decode_body(&body).map_err(|e| HandlerError::new("body", e.to_string()))?;
    if context.attempt() == 1 {
        fs::write(path, std::process::id().to_string())
            .map_err(|e| HandlerError::new("note", e.to_string()))?;
        loop {
            std::thread::park();
        }
    }
    encode(&std::process::id())
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Bytes, HandlerError> {
    lifeboat_protocol::encode_body(value)
        .map(Bytes::from)
        .map_err(|e| HandlerError::new("reply", e.to_string()))
}
