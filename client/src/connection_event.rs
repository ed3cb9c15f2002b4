//! What becomes of a client's connection, for those who want to know.
//!
//! Owns the events and their bound. Must never hold up the connection, and never drop an event without saying so.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::LostReason;

/// Events that a reader may leave unread; of more, the oldest go.
const KEPT: usize = 64;

/// Something happened to the connection.
///
/// ```
/// use lifeboat_client::{ConnectionEvent, LostReason};
///
/// /// A line for a log; nothing where there is nothing to say.
/// fn line(event: &ConnectionEvent) -> Option<String> {
///     match event {
///         ConnectionEvent::Connected { software } => Some(format!("connected to {software}")),
///         ConnectionEvent::Draining => None,
///         // Planned: its successor comes.
///         ConnectionEvent::Lost { why: LostReason::Drained } => None,
///         ConnectionEvent::Lost { why } => Some(format!("no broker: {why}")),
///         ConnectionEvent::Missed { events } => Some(format!("{events} events were not read in time")),
///         _ => None,
///     }
/// }
///
/// let lost = ConnectionEvent::Lost { why: LostReason::Closed };
/// assert_eq!(line(&lost).as_deref(), Some("no broker: the broker closed the connection"));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// There is a connection, and both sides have said hello.
    Connected {
        /// What the broker calls itself, such as `lifeboat/0.1.0`.
        software: String,
    },
    /// The broker shuts down: calls under way end there, new ones wait for its successor. `Lost` follows.
    Draining,
    /// The connection is gone. The next one is made when somebody calls.
    Lost {
        /// Why.
        why: LostReason,
    },
    /// The reader was too slow: so many events before the next one were dropped. What holds now is
    /// [`Client::is_connected`](crate::Client::is_connected)'s answer.
    Missed {
        /// How many.
        events: u64,
    },
}

/// The events of a client's connection, from when it was asked for; made by [`Client::events`](crate::Client::events).
/// Does not count as a clone of the client. The newest 64 that are unread are kept.
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client) {
/// use lifeboat_client::ConnectionEvent;
///
/// // First the events, then how it is now: nothing falls between the two.
/// let mut events = boat.events();
/// let mut up = boat.is_connected();
/// tokio::spawn(async move {
///     println!("the broker is there: {up}");
///     while let Some(event) = events.next().await {
///         match event {
///             ConnectionEvent::Connected { .. } => up = true,
///             ConnectionEvent::Lost { .. } => up = false,
///             _ => continue,
///         }
///         println!("the broker is there: {up}");
///     }
/// });
/// # }
/// ```
#[derive(Debug)]
pub struct ConnectionEvents {
    receiver: Receiver<ConnectionEvent>,
}

impl ConnectionEvents {
    /// The next event; `None` when the client's last clone, or its runtime, is gone and everything has been read. May
    /// be dropped at any time without losing an event, in `select!` for example. With the crate `futures`,
    /// `stream::unfold(events, |mut events| async move { Some((events.next().await?, events)) })` is a stream of them.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        read(self.receiver.recv().await)
    }

    /// [`next`](Self::next) that blocks the thread.
    ///
    /// ```no_run
    /// # fn example(boat: lifeboat_client::blocking::Client) {
    /// let mut events = boat.events();
    /// std::thread::spawn(move || {
    ///     while let Some(event) = events.next_blocking() {
    ///         println!("{event:?}");
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[cfg(feature = "blocking")]
    pub fn next_blocking(&mut self) -> Option<ConnectionEvent> {
        read(self.receiver.blocking_recv())
    }
}

fn read(received: Result<ConnectionEvent, RecvError>) -> Option<ConnectionEvent> {
    match received {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(events)) => Some(ConnectionEvent::Missed { events }),
        Err(RecvError::Closed) => None,
    }
}

/// The side of the one who tells.
#[derive(Debug, Clone)]
pub(crate) struct Teller(Sender<ConnectionEvent>);

impl Teller {
    pub(crate) fn new() -> Self {
        Self(channel(KEPT).0)
    }

    /// Nobody may be listening.
    pub(crate) fn tell(&self, event: ConnectionEvent) {
        let _ = self.0.send(event);
    }

    pub(crate) fn listen(&self) -> ConnectionEvents {
        ConnectionEvents { receiver: self.0.subscribe() }
    }
}
