//! A receiver of webhooks on a free port of this machine: keeps what it is sent, and answers as the test wants.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a receiver answers a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// Not at all: the connection stays open.
    Silence,
}

#[derive(Debug, Default)]
struct Desk {
    /// What is answered next; afterwards everything is taken.
    script: VecDeque<Answer>,
    /// What came, whatever was answered.
    posts: Vec<Value>,
}

/// A receiver; it ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// One that answers like this, and takes everything afterwards.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    pub async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let desk = Arc::new(Mutex::new(Desk { script: script.into_iter().collect(), posts: Vec::new() }));
        let serving = tokio::spawn(serve(listener, Arc::clone(&desk)));
        Self { address, desk, serving }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook?token=secret-of-the-hook", self.address)
    }

    /// What was posted so far, in order.
    #[must_use]
    pub fn posts(&self) -> Vec<Value> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).posts.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, desk: Arc<Mutex<Desk>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let desk = Arc::clone(&desk);
        let service = service_fn(move |request| answer(request, Arc::clone(&desk)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    desk: Arc<Mutex<Desk>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_json = request.headers().get("content-type").is_some_and(|value| value == "application/json");
    assert!(request.method() == Method::POST && is_json, "{request:?}");
    let body = request.into_body().collect().await.expect("a whole body").to_bytes();
    let post = serde_json::from_slice(&body).expect("JSON");
    let answer = {
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.posts.push(post);
        desk.script.pop_front().unwrap_or(Answer::Status(204))
    };
    match answer {
        Answer::Status(status) => {
            let response = Response::builder().status(status);
            Ok(response.body(Full::default()).expect("a status of HTTP"))
        }
        Answer::Silence => std::future::pending().await,
    }
}
