//! What may be said about a request: the options of both kinds of builder.
//!
//! Owns their words and documentation, once. Must never say one to the broker in another way for another builder.

/// The same setters for both builders.
macro_rules! setters {
    () => {
        /// The timeout of the whole call: from when it is first polled to its end; waiting for a connection, queueing,
        /// all attempts and pauses included. The broker ends the work at this time and says how it ended; see the
        /// [crate's documentation](crate#time). It can only tighten the configured `deadline`. Default: the client's
        /// [`timeout`](crate::ClientBuilder::timeout).
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.options.timeout = Some(timeout);
            self
        }

        /// How long one attempt may take, from dispatch to answer. It can only tighten the configured one.
        pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
            self.options.ext.limits.attempt_timeout_ms = Some(millis(timeout));
            self
        }

        /// How long the request may wait for its first attempt. It can only tighten the configured one.
        pub fn queue_timeout(mut self, timeout: Duration) -> Self {
            self.options.ext.limits.queue_timeout_ms = Some(millis(timeout));
            self
        }

        /// How long the handler may go without reporting progress. It can only tighten the configured one.
        pub fn progress_timeout(mut self, timeout: Duration) -> Self {
            self.options.ext.limits.progress_timeout_ms = Some(millis(timeout));
            self
        }

        /// How long the process may go without writing any output. It can only tighten the configured one.
        pub fn output_timeout(mut self, timeout: Duration) -> Self {
            self.options.ext.limits.output_timeout_ms = Some(millis(timeout));
            self
        }

        /// Allows up to `max_attempts` attempts, the first included. Only for a request that may safely be done more
        /// than once: an attempt that crashed may have done its work, or half of it. What is retried is as configured,
        /// or as [`retry_on`](Self::retry_on) says. There is always a first attempt: 0 is taken as 1.
        pub fn retry(mut self, max_attempts: u16) -> Self {
            self.options.retry().max_attempts = Some(max_attempts.max(1));
            self
        }

        /// What is retried; see [`retry`](Self::retry).
        pub fn retry_on(mut self, on: impl IntoIterator<Item = RetryOn>) -> Self {
            self.options.retry().on = on.into_iter().map(|on| on.as_str().to_owned()).collect();
            self
        }

        /// A pair that the handler can read beside the request. Said twice, the later value counts.
        pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            let (name, metadata) = (name.into(), &mut self.options.ext.metadata);
            metadata.retain(|(other, _)| *other != name);
            metadata.push((name, value.into()));
            self
        }

        /// Makes the request on nobody's behalf. One that is made by the handler of a worker is otherwise made on
        /// behalf of the handler's own request: it ends when that must have ended, whatever [`timeout`](Self::timeout)
        /// says, and belongs to its trace. Elsewhere it changes nothing but a [`trace_context`](Self::trace_context)
        /// that was given before.
        ///
        /// ```no_run
        /// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
        /// use lifeboat_client::encode_body;
        ///
        /// // Within a handler: this may take longer than the handler's own request.
        /// tokio::spawn(boat.request_raw("refresh", encode_body(&"fonts")?).detached().into_future());
        /// # Ok(())
        /// # }
        /// ```
        pub fn detached(mut self) -> Self {
            self.options.detach();
            self
        }

        /// The caller's span, as W3C's `traceparent` and `tracestate` (may be empty).
        pub fn trace_context(
            mut self,
            traceparent: impl Into<String>,
            tracestate: impl Into<String>,
        ) -> Self {
            self.options.trace(traceparent, tracestate);
            self
        }

        /// Whether the request may be retried even after a partial of it has come. Without it, it is not: the reader of
        /// the stream has used a part of a reply that the next attempt would give again. With it the reader must drop
        /// the partials of an attempt when it reads [`AttemptFailed`](crate::Event::AttemptFailed). It matters only to
        /// a [stream](Self::stream), and only if the request is retried at all. Default: false.
        pub fn restartable(mut self, restartable: bool) -> Self {
            self.options.ext.restartable = restartable;
            self
        }

        /// How much of the [stream](Self::stream) may be unread: so many events, and so many bytes of their bodies
        /// (one event alone may be larger). Progress does not count; of that, the newest 64 are kept. With more the
        /// request is cancelled, and the stream ends with [`BacklogFull`](crate::CallError::BacklogFull) behind what is
        /// unread. Default: 1024 events and 16 MiB.
        pub fn stream_backlog(mut self, events: usize, bytes: usize) -> Self {
            self.options.room = Room { events, bytes };
            self
        }

        /// Says that the request may be executed more than once under this key, and has it repeated when it is lost
        /// with its connection: instead of ending as [`Disconnected`](crate::CallError::Disconnected) with
        /// `may_have_executed`, it is sent again on the next connection, within its deadline and the client's
        /// `connect_timeout`. The handler sees the key (`Context::idempotency_key`) and can recognise the repetition;
        /// the broker only hands it on. The first execution may still go on when the second begins.
        ///
        /// * It is not repeated when the broker refused the connection's requests or broke the protocol, since one
        ///   of the requests may be why, and at most three times in all.
        /// * Whatever else ends it after that, the error's `may_have_executed` is true.
        /// * A [stream](Self::stream) is repeated only while nothing of it was read but its acceptance: what its reader
        ///   was told would be void, with nobody to say so. What is unread then is forgotten. One that was read ends as
        ///   `Disconnected`.
        /// * Retries within the broker do not depend on it: they are [`retry`](Self::retry).
        ///
        /// The key is any text; a header has room for about 60 KiB of it and all metadata. The body is kept in memory
        /// until the request ends. Default: none, nothing that was written is repeated.
        ///
        /// ```no_run
        /// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
        /// use lifeboat_client::encode_body;
        ///
        /// boat.request_raw("ship", encode_body(&17)?).idempotency_key("order-17").await?;
        /// # Ok(())
        /// # }
        /// ```
        pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
            self.options.ext.idempotency_key = Some(key.into());
            self
        }

        /// Only this pool may serve the request: for work that must not run with another pool's limits or rights,
        /// wherever the configuration moves its method. If that pool does not have the method, or there is no such
        /// pool, the request is [`Rejected`](crate::CallError::Rejected) as
        /// [`UnknownMethod`](crate::RejectWhy::UnknownMethod). So is one to a broker that is older than this option,
        /// without being sent: that broker would have any pool serve it. A pool that takes any method serves it, unless
        /// another pool names the method. Default: the method's own pool.
        ///
        /// ```no_run
        /// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
        /// use lifeboat_client::encode_body;
        ///
        /// boat.request_raw("unpack", encode_body(&"upload.zip")?).pool("sandbox").await?;
        /// # Ok(())
        /// # }
        /// ```
        pub fn pool(mut self, pool: impl Into<String>) -> Self {
            self.options.ext.pool = Some(pool.into());
            self
        }

        /// Dropping the call's future does not cancel it: the request goes on, and its outcome is thrown away. For work
        /// that is begun and then left alone, and for callers whose own time runs out before the work's. Its deadline
        /// and all other limits hold on.
        ///
        /// * A future that was never polled has sent nothing, and sends nothing when it is dropped.
        /// * Polled but not written yet (no connection, or the window is full): it is sent all the same, in its turn,
        ///   as long as a clone of the client or another call lives.
        /// * When the connection is lost, one that was not written is sent on the next, and so is one that has an
        ///   [`idempotency_key`](Self::idempotency_key). Any other one is the broker's to cancel or to finish, as its
        ///   pool's `on_disconnect` says (by default it is cancelled).
        /// * It does not count as a clone of the client. The last clone takes leave at once: what still waits is
        ///   written as far as the socket and the window take it at that moment, the rest never is, and for what was
        ///   written the pool's `on_disconnect` decides.
        /// * A [stream](Self::stream) too: what is told after it was dropped is thrown away. The broker knows nothing
        ///   of that: once a partial was sent here the request is not retried, unless it is
        ///   [`restartable`](Self::restartable). A stream that is held, but read too slowly, is cancelled as ever
        ///   ([`stream_backlog`](Self::stream_backlog)), and so is one that ends because what was told cannot be read.
        ///
        /// Default: dropping cancels.
        ///
        /// ```no_run
        /// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
        /// # use std::time::Duration;
        /// use lifeboat_client::encode_body;
        ///
        /// let index = boat.request_raw("index", encode_body(&"photos")?).no_cancel_on_drop();
        /// // Waits for a second; the work takes as long as it takes.
        /// if tokio::time::timeout(Duration::from_secs(1), index).await.is_err() {
        ///     println!("the index is still being built");
        /// }
        /// # Ok(())
        /// # }
        /// ```
        pub fn no_cancel_on_drop(mut self) -> Self {
            self.options.goes_on = true;
            self
        }

        pub(crate) fn into_exchange(self) -> Exchange {
            self.options.into_exchange()
        }
    };
}

pub(super) use setters;
