//! Posting one alert, with patience.
//!
//! It owns which failures are worth another try. It must never tell the address: it may hold a secret.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use thiserror::Error;
use tracing::debug;

use super::Alert;

/// The first wait between two tries; each further one is twice as long, spread by chance.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why an alert could not be delivered.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// The client cannot be made, or an alert cannot be written: a bug, or a system without certificates.
    #[error("alerts cannot be posted: {0}")]
    Client(String),
    /// The receiver cannot be reached, or does not answer.
    #[error("the receiver of alerts cannot be reached: {0}; see `alerts.webhook`")]
    Unreachable(reqwest::Error),
    /// The receiver does not want it.
    #[error("the receiver of alerts answered {0}; see `alerts.webhook`")]
    Refused(StatusCode),
    /// It was tried for as long as it may be.
    #[error("the receiver of alerts did not take it within {0:?} (`alerts.give_up_after`)")]
    GaveUp(Duration),
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
            Self::Client(_) | Self::GaveUp(_) => false,
        }
    }
}

/// Where alerts are posted.
#[derive(Clone, Debug)]
pub struct Webhook {
    client: Client,
    address: String,
    give_up_after: Duration,
}

impl Webhook {
    /// A webhook at this address. `timeout` bounds one try, `give_up_after` all tries of one alert.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Client`] where the system has no certificates to trust.
    pub fn new(address: String, timeout: Duration, give_up_after: Duration) -> Result<Self, WebhookError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may have been faster: then theirs is there.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let client = Client::builder()
            .timeout(timeout)
            .redirect(Policy::none())
            .user_agent(concat!("lifeboat/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WebhookError::Client(error.without_url().to_string()))?;
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
        let tries = (|| self.post(body.clone()))
            .retry(waits)
            .when(WebhookError::is_passing)
            .notify(|error, wait| debug!(%error, ?wait, "an alert is tried again"));
        match tokio::time::timeout(self.give_up_after, tries).await {
            Ok(result) => result,
            Err(_) => Err(WebhookError::GaveUp(self.give_up_after)),
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), WebhookError> {
        let request = self.client.post(&self.address).header(CONTENT_TYPE, "application/json").body(body);
        let unreachable = |error: reqwest::Error| WebhookError::Unreachable(error.without_url());
        // The answer's body is nobody's concern, and is not read.
        let status = request.send().await.map_err(unreachable)?.status();
        if status.is_success() { Ok(()) } else { Err(WebhookError::Refused(status)) }
    }
}
