//! Posting one alert, with patience.
//!
//! It owns which failures are worth another try. It must never tell the address: it may hold a secret.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tracing::{debug, warn};
use url::Url;

use super::Alert;

/// The first wait between two tries; each further one is twice as long, spread by chance.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why an alert could not be delivered. None of them has the address in it.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The client cannot be made, or an alert cannot be written: a bug.
    #[error("alerts cannot be posted: {0}")]
    Client(String),
    /// The receiver cannot be reached, or does not answer.
    #[error("the receiver of alerts cannot be reached: {0}; see `alerts.webhook`")]
    Unreachable(String),
    /// The receiver does not want it.
    #[error("the receiver of alerts answered {0}; see `alerts.webhook`")]
    Refused(StatusCode),
    /// It was tried for as long as it may be.
    #[error("an alert is given up after {limit:?} (`alerts.give_up_after`); the last try: {last}")]
    GaveUp {
        /// For how long.
        limit: Duration,
        /// Why the last try failed that had an end.
        last: String,
    },
}

impl WebhookError {
    /// Whether another try may succeed: the receiver is away, busy, or broken for now.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::Client(_) | Self::GaveUp { .. } => false,
        }
    }
}

/// Where alerts are posted.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    address: String,
    give_up_after: Duration,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("give_up_after", &self.give_up_after).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A webhook at this address. `timeout` bounds one try, `give_up_after` all tries of one alert.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Client`] where the library cannot make a client at all.
    pub fn new(address: String, timeout: Duration, give_up_after: Duration) -> Result<Self, WebhookError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may have been faster: then theirs is there.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let builder = || {
            let agent = concat!("lifeboat/", env!("CARGO_PKG_VERSION"));
            Client::builder().timeout(timeout).redirect(Policy::none()).user_agent(agent)
        };
        let client = builder().build().or_else(|error| {
            // A system without certificates to trust. `http` needs none, and no alert is worth a broker that does not start.
            if !address.starts_with("http:") {
                let error = chain(error, &address);
                warn!(error, "no receiver of alerts can be trusted: they will not be delivered");
            }
            builder().tls_certs_only([]).build()
        });
        let client = client.map_err(|error| WebhookError::Client(chain(error, &address)))?;
        Ok(Self { client, address, give_up_after })
    }

    /// Posts an alert, again and again while that may help.
    ///
    /// # Errors
    ///
    /// Why the last try failed, or that time is up.
    pub(super) async fn deliver(&self, alert: &Alert) -> Result<(), WebhookError> {
        let body = serde_json::to_vec(alert).map_err(|error| WebhookError::Client(error.to_string()))?;
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times();
        let mut last = None;
        let tries = (|| self.post(body.clone())).retry(waits).when(WebhookError::is_passing).notify(
            |error: &WebhookError, wait| {
                debug!(%error, ?wait, "an alert is tried again");
                last = Some(error.to_string());
            },
        );
        if let Ok(result) = tokio::time::timeout(self.give_up_after, tries).await {
            return result;
        }
        let last = last.unwrap_or_else(|| "no answer".to_owned());
        Err(WebhookError::GaveUp { limit: self.give_up_after, last })
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), WebhookError> {
        let request = self.client.post(&self.address).header(CONTENT_TYPE, "application/json").body(body);
        let unreachable = |error| WebhookError::Unreachable(chain(error, &self.address));
        // The answer's body is nobody's concern, and is not read.
        let status = request.send().await.map_err(unreachable)?.status();
        if status.is_success() { Ok(()) } else { Err(WebhookError::Refused(status)) }
    }
}

/// What went wrong and what is behind it, without the address: the library names all of it, and an error of certificates the
/// host.
fn chain(error: reqwest::Error, address: &str) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    let url = Url::parse(address).ok();
    match url.as_ref().and_then(Url::host_str) {
        Some(host) if !host.is_empty() => text.replace(host, "(its host)"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AlertKind, AlertStatus, Subject};
    use super::*;

    #[tokio::test]
    async fn a_failure_says_why_and_not_where() {
        // A free port that nobody listens on any more.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let url = format!("http://{address}/hook/secret");
        let limit = Duration::from_millis(100);
        let webhook = Webhook::new(url, limit, limit).expect("a client");
        let alert = Alert {
            subject: Subject { alert: AlertKind::PoolTripped, pool: "images".to_owned(), worker: None },
            status: AlertStatus::Firing,
            timestamp: 1,
            text: String::new(),
            changes: 1,
        };
        let error = webhook.deliver(&alert).await.expect_err("nobody is there").to_string();
        assert!(error.contains("given up after 100ms") && error.contains("Connection refused"), "{error}");
        for hidden in ["secret", "127.0.0.1"] {
            assert!(
                !error.contains(hidden) && !format!("{webhook:?}").contains(hidden),
                "{error} {webhook:?}"
            );
        }
    }
}
