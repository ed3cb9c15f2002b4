//! The extension map of a request: trace context, limits, metadata, retry, streaming, idempotency key, pool.
//!
//! Owns its keys and their forms. Must never be needed to forward a request: a broker may pass the map on as
//! the bytes it came in. Keys that this version does not know are passed over.

use thiserror::Error;

use crate::cbor::{Lengths, Malformed, Reader, put_array, put_bool, put_map, put_text, put_uint};

const TRACEPARENT: u64 = 1;
const TRACESTATE: u64 = 2;
const LIMITS: u64 = 3;
const METADATA: u64 = 4;
const RETRY: u64 = 5;
const STREAM: u64 = 6;
const RESTARTABLE: u64 = 7;
const IDEMPOTENCY_KEY: u64 = 8;
const POOL: u64 = 9;

/// Levels of nesting allowed in a value of an unknown key.
const MAX_UNKNOWN_DEPTH: u32 = 16;

/// What a request may carry beside its method and body. Everything may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ext {
    /// W3C trace context: the caller's span.
    pub traceparent: Option<String>,
    /// W3C trace context: vendors' state.
    pub tracestate: Option<String>,
    /// Limits that the client tightens.
    pub limits: Limits,
    /// The application's own pairs, in order; a name should not be repeated.
    pub metadata: Vec<(String, String)>,
    /// Another retry policy than the configured one.
    pub retry: Option<RetryExt>,
    /// The client wants to be told of progress, partials and failed attempts.
    pub stream: bool,
    /// The request may be retried even after a partial of it has gone to the client.
    pub restartable: bool,
    /// The caller allows the request to be executed more than once under this key, by which handlers know it again.
    pub idempotency_key: Option<String>,
    /// The one pool that may serve the request.
    pub pool: Option<String>,
}

/// Limits of one request, in milliseconds. A client may tighten what the broker's configuration says, never
/// loosen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// From dispatch to answer.
    pub attempt_timeout_ms: Option<u64>,
    /// From acceptance to the first dispatch.
    pub queue_timeout_ms: Option<u64>,
    /// From the last progress.
    pub progress_timeout_ms: Option<u64>,
    /// From the last byte that the process wrote.
    pub output_timeout_ms: Option<u64>,
}

impl Limits {
    /// Whether no limit is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    const fn pairs(&self) -> [(u64, Option<u64>); 4] {
        [
            (1, self.attempt_timeout_ms),
            (2, self.queue_timeout_ms),
            (3, self.progress_timeout_ms),
            (4, self.output_timeout_ms),
        ]
    }

    const fn len(&self) -> usize {
        self.attempt_timeout_ms.is_some() as usize
            + self.queue_timeout_ms.is_some() as usize
            + self.progress_timeout_ms.is_some() as usize
            + self.output_timeout_ms.is_some() as usize
    }
}

/// A retry policy asked for by the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryExt {
    /// Attempts allowed, the first included. Missing: the configuration's.
    pub max_attempts: Option<u16>,
    /// What is retried: `crash`, `stall`, `timeout`, `failed`. Empty: the configuration's.
    pub on: Vec<String>,
}

/// An extension map that this version does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExtError {
    /// Not a map of the fixed form.
    #[error("malformed extension map: {what}, at its byte {at}; see `ext` in lifeboat.cddl")]
    Malformed {
        /// Where in the map, in bytes.
        at: usize,
        /// What was found or missed there.
        what: &'static str,
    },
}

impl From<Malformed> for ExtError {
    fn from(Malformed { at, what }: Malformed) -> Self {
        Self::Malformed { at, what }
    }
}

impl Ext {
    /// Whether the map would have no entry. The header then has none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// The map's length on the wire, at most, in bytes; a little above the true one. With the method's name it
    /// must stay below [`FRAME_OVERHEAD`](crate::FRAME_OVERHEAD), or the peer refuses the header.
    #[must_use]
    pub fn max_encoded_len(&self) -> usize {
        // Nine bytes are the longest head of an item; each number is a head.
        const HEAD: usize = 9;
        let text = |text: &String| HEAD + text.len();
        let texts =
            self.traceparent.iter().chain(&self.tracestate).chain(&self.idempotency_key).chain(&self.pool);
        let texts = texts.map(|value| HEAD + text(value));
        let metadata = self.metadata.iter().map(|(name, value)| text(name) + text(value));
        let retry = self.retry.iter().map(|retry| 7 * HEAD + retry.on.iter().map(text).sum::<usize>());
        17 * HEAD + texts.sum::<usize>() + metadata.sum::<usize>() + retry.sum::<usize>()
    }

    fn entries(&self) -> usize {
        usize::from(self.traceparent.is_some())
            + usize::from(self.tracestate.is_some())
            + usize::from(!self.limits.is_empty())
            + usize::from(!self.metadata.is_empty())
            + usize::from(self.retry.is_some())
            + usize::from(self.stream)
            + usize::from(self.restartable)
            + usize::from(self.idempotency_key.is_some())
            + usize::from(self.pool.is_some())
    }

    /// Appends the map to `out`, keys in rising order, every length in its shortest form.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_map(out, self.entries());
        for (key, value) in [(TRACEPARENT, &self.traceparent), (TRACESTATE, &self.tracestate)] {
            if let Some(value) = value {
                put_uint(out, key);
                put_text(out, value);
            }
        }
        if !self.limits.is_empty() {
            put_uint(out, LIMITS);
            put_map(out, self.limits.len());
            for (key, value) in self.limits.pairs() {
                if let Some(value) = value {
                    put_uint(out, key);
                    put_uint(out, value);
                }
            }
        }
        if !self.metadata.is_empty() {
            put_uint(out, METADATA);
            put_map(out, self.metadata.len());
            for (name, value) in &self.metadata {
                put_text(out, name);
                put_text(out, value);
            }
        }
        if let Some(retry) = &self.retry {
            put_uint(out, RETRY);
            retry.encode_into(out);
        }
        for (key, value) in [(STREAM, self.stream), (RESTARTABLE, self.restartable)] {
            if value {
                put_uint(out, key);
                put_bool(out, value);
            }
        }
        for (key, value) in [(IDEMPOTENCY_KEY, &self.idempotency_key), (POOL, &self.pool)] {
            if let Some(value) = value {
                put_uint(out, key);
                put_text(out, value);
            }
        }
    }

    /// Reads the map that [`Header::Request`](crate::Header::Request) borrows.
    ///
    /// # Errors
    ///
    /// [`ExtError`] if it is no such map, says a known key twice, or is followed by anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, ExtError> {
        let mut ext = Self::default();
        let mut seen = Seen::default();
        let mut reader = Reader::new(bytes, 0);
        for _ in 0..reader.map("no map")? {
            let at = reader.at();
            let key = reader.uint("a key that is no unsigned integer")?;
            seen.once(key, at)?;
            match key {
                TRACEPARENT => {
                    ext.traceparent = Some(reader.text("a traceparent that is no text")?.to_owned())
                }
                TRACESTATE => ext.tracestate = Some(reader.text("a tracestate that is no text")?.to_owned()),
                LIMITS => ext.limits = Limits::decode(&mut reader)?,
                METADATA => ext.metadata = decode_metadata(&mut reader)?,
                RETRY => ext.retry = Some(RetryExt::decode(&mut reader)?),
                STREAM => ext.stream = reader.bool("a stream that is neither true nor false")?,
                RESTARTABLE => {
                    ext.restartable = reader.bool("a restartable that is neither true nor false")?
                }
                IDEMPOTENCY_KEY => {
                    let idempotency_key = reader.text("an idempotency key that is no text")?;
                    ext.idempotency_key = Some(idempotency_key.to_owned());
                }
                POOL => ext.pool = Some(reader.text("a pool that is no text")?.to_owned()),
                _ => reader.skip(MAX_UNKNOWN_DEPTH, Lengths::Definite)?,
            }
        }
        if reader.at() == bytes.len() {
            Ok(ext)
        } else {
            Err(ExtError::Malformed { at: reader.at(), what: "something after the map" })
        }
    }
}

impl Limits {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut limits = Self::default();
        let mut seen = Seen::default();
        for _ in 0..reader.map("limits that are no map")? {
            let at = reader.at();
            let key = reader.uint("a limit's key that is no unsigned integer")?;
            seen.once(key, at)?;
            let place = match key {
                1 => &mut limits.attempt_timeout_ms,
                2 => &mut limits.queue_timeout_ms,
                3 => &mut limits.progress_timeout_ms,
                4 => &mut limits.output_timeout_ms,
                _ => {
                    reader.skip(MAX_UNKNOWN_DEPTH, Lengths::Definite)?;
                    continue;
                }
            };
            *place = Some(reader.uint("a limit that is no number of milliseconds")?);
        }
        Ok(limits)
    }
}

impl RetryExt {
    fn encode_into(&self, out: &mut Vec<u8>) {
        put_map(out, usize::from(self.max_attempts.is_some()) + usize::from(!self.on.is_empty()));
        if let Some(max_attempts) = self.max_attempts {
            put_uint(out, 1);
            put_uint(out, max_attempts.into());
        }
        if !self.on.is_empty() {
            put_uint(out, 2);
            put_array(out, self.on.len());
            for on in &self.on {
                put_text(out, on);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut retry = Self::default();
        let mut seen = Seen::default();
        for _ in 0..reader.map("a retry policy that is no map")? {
            let at = reader.at();
            let key = reader.uint("a retry key that is no unsigned integer")?;
            seen.once(key, at)?;
            match key {
                1 => {
                    let at = reader.at();
                    let attempts = reader.uint("a max_attempts that is no number")?;
                    let attempts = u16::try_from(attempts);
                    let too_many = Malformed { at, what: "a max_attempts above 65535" };
                    retry.max_attempts = Some(attempts.map_err(|_| too_many)?);
                }
                2 => {
                    for _ in 0..reader.array("what to retry on that is no array")? {
                        retry.on.push(reader.text("what to retry on that is no text")?.to_owned());
                    }
                }
                _ => reader.skip(MAX_UNKNOWN_DEPTH, Lengths::Definite)?,
            }
        }
        Ok(retry)
    }
}

fn decode_metadata(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>, Malformed> {
    // Grown entry by entry: the count is a claim.
    let mut metadata = Vec::new();
    for _ in 0..reader.map("metadata that is no map")? {
        let name = reader.text("a metadata name that is no text")?;
        let value = reader.text("a metadata value that is no text")?;
        metadata.push((name.to_owned(), value.to_owned()));
    }
    Ok(metadata)
}

/// The small keys met so far in one map.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    fn once(&mut self, key: u64, at: usize) -> Result<(), Malformed> {
        // Every key this version knows is below 64; it need not care whether a key it does not know comes twice.
        let bit = u32::try_from(key).ok().and_then(|key| 1_u64.checked_shl(key)).unwrap_or(0);
        if self.0 & bit != 0 {
            return Err(Malformed { at, what: "a key said twice" });
        }
        self.0 |= bit;
        Ok(())
    }
}
