//! The clients: their requests, and the responses.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::service::Address;

pub(crate) const CLIENTS: u64 = 64;

/// How long a client waits for a response.
const TIMEOUT: Duration = Duration::from_secs(4);

/// What a client knows after a request.
pub(crate) struct Sent {
    pub(crate) key: String,
    pub(crate) outcome: Outcome,
    /// The response's `Audit-Record-Id`.
    pub(crate) record_id: Option<String>,
    pub(crate) disconnected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Status(u16),
    /// A 503 with an unknown outcome: committed if and only if the record exists.
    Unknown,
    None,
}

/// Sends requests until `until`. The requests depend only on `seed`, `round` and `number`.
pub(crate) async fn client(
    address: Address,
    seed: u64,
    round: u64,
    number: u64,
    until: Instant,
    unaudited: bool,
) -> Vec<Sent> {
    let mut random = fastrand::Rng::with_seed(seed ^ round << 20 ^ number << 8);
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .build()
        .unwrap_or_default();
    let mut sent = Vec::new();
    for count in 0.. {
        if Instant::now() >= until {
            break;
        }
        let mode = match random.u32(0..100) {
            ..45 => "one",
            45..55 => "bulk",
            55..65 => "several",
            65..75 => "nested",
            75..80 => "slow",
            80..90 => "fail",
            90..95 => "panic",
            _ if unaudited => "unaudited",
            _ => "one",
        };
        let disconnects_after =
            (random.u32(0..100) < 8).then(|| Duration::from_micros(random.u64(0..20_000)));
        let key = format!("{round}-{number}-{count}");
        let now = address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let request = client
            .post(format!("http://{now}/work"))
            .header("x-user", "ada")
            .json(&json!({"key": key, "mode": mode}))
            .send();
        let response = match disconnects_after {
            Some(after) => tokio::time::timeout(after, request).await.ok(),
            None => Some(request.await),
        };
        let disconnected = response.is_none();
        let (mut outcome, mut record_id) = (Outcome::None, None);
        if let Some(Ok(response)) = response {
            let status = response.status().as_u16();
            record_id = response
                .headers()
                .get("audit-record-id")
                .and_then(|id| id.to_str().ok())
                .map(ToOwned::to_owned);
            outcome = if status != 503 {
                Outcome::Status(status)
            } else {
                match response.text().await {
                    Ok(text) if text.contains("if and only if") => Outcome::Unknown,
                    Ok(_) => Outcome::Status(status),
                    // Disconnected before the body, which tells the two kinds of 503 apart.
                    Err(_) => Outcome::None,
                }
            };
        } else {
            // The service may be down: do not busy-loop.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent.push(Sent {
            key,
            outcome,
            record_id,
            disconnected,
        });
    }
    sent
}
