//! Compares the committed changes with the records, and with the responses.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::load::{Outcome, Sent};
use crate::subject::SEVERAL;

/// The result of one round, or of several.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    pub(crate) disconnected: u64,
    /// Transactions whose rows are stored.
    pub(crate) changes: u64,
    pub(crate) records: u64,
    pub(crate) attempts: u64,
    pub(crate) unknown_committed: u64,
    pub(crate) unknown_not_committed: u64,
    pub(crate) no_response_committed: u64,
    pub(crate) no_response_not_committed: u64,
    /// Stored changes whose transaction did not write exactly their success records.
    pub(crate) orphan_changes: u64,
    /// Transactions with success records and no change.
    pub(crate) orphan_records: u64,
    /// Descriptions of responses that contradict the tables.
    pub(crate) wrong_responses: Vec<String>,
}

impl Tally {
    pub(crate) fn broken(&self) -> bool {
        self.orphan_changes > 0 || self.orphan_records > 0 || !self.wrong_responses.is_empty()
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.disconnected += other.disconnected;
        self.changes += other.changes;
        self.records += other.records;
        self.attempts += other.attempts;
        self.unknown_committed += other.unknown_committed;
        self.unknown_not_committed += other.unknown_not_committed;
        self.no_response_committed += other.no_response_committed;
        self.no_response_not_committed += other.no_response_not_committed;
        self.orphan_changes += other.orphan_changes;
        self.orphan_records += other.orphan_records;
        self.wrong_responses.extend(other.wrong_responses);
    }
}

/// Waits until no transaction is open, and then compares the requests whose keys match the LIKE
/// pattern `keys`. `url` connects directly, not through the proxy.
pub(crate) async fn settle(url: &str, keys: &str, sent: Vec<Sent>) -> Result<Tally, String> {
    let failed = |error: sqlx::Error| format!("the tables could not be compared: {error}");
    let mut connection = PgConnection::connect(url).await.map_err(failed)?;
    wait_for_quiet(&mut connection).await?;

    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT DISTINCT key, xid::text FROM entry WHERE key LIKE $1")
            .bind(keys)
            .fetch_all(&mut connection)
            .await
            .map_err(failed)?;
    let records: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
        "SELECT id::text, xid::text, outcome, resource_id FROM ledger_audit.record WHERE action = 'entry.work' AND (resource_id LIKE $1 OR resource_id IS NULL)",
    )
    .bind(keys)
    .fetch_all(&mut connection)
    .await
    .map_err(failed)?;
    connection.close().await.map_err(failed)?;

    let successes: Vec<_> = records.iter().filter(|it| it.2 == "success").collect();
    let success_ids: HashSet<&str> = successes.iter().map(|it| it.0.as_str()).collect();
    let mut success_xids: HashMap<&str, Vec<&str>> = HashMap::new();
    for (_, xid, _, resource) in &successes {
        let resources = success_xids.entry(xid.as_str()).or_default();
        resources.push(resource.as_deref().unwrap_or_default());
    }
    let changed: HashMap<&str, &str> = rows
        .iter()
        .map(|(key, xid)| (key.as_str(), xid.as_str()))
        .collect();
    let changed_xids: HashSet<&str> = rows.iter().map(|(_, xid)| xid.as_str()).collect();

    let mut tally = Tally {
        changes: changed_xids.len() as u64,
        records: successes.len() as u64,
        attempts: (records.len() - successes.len()) as u64,
        orphan_changes: rows
            .iter()
            .filter(|(key, xid)| !is_recorded(key, success_xids.get(xid.as_str())))
            .count() as u64,
        orphan_records: success_xids
            .keys()
            .filter(|xid| !changed_xids.contains(**xid))
            .count() as u64,
        ..Tally::default()
    };
    for request in sent {
        let committed = changed.contains_key(request.key.as_str());
        *tally.outcomes.entry(request.outcome).or_default() += 1;
        tally.disconnected += u64::from(request.disconnected);
        let recorded = request
            .record_id
            .as_deref()
            .map(|id| success_ids.contains(id));
        match (request.outcome, committed) {
            (Outcome::Unknown, true) => tally.unknown_committed += 1,
            (Outcome::Unknown, false) => tally.unknown_not_committed += 1,
            (Outcome::None, true) => tally.no_response_committed += 1,
            (Outcome::None, false) => tally.no_response_not_committed += 1,
            (Outcome::Status(..400), false) => tally.wrong_responses.push(format!(
                "{}: responded with success, but not stored",
                request.key
            )),
            (Outcome::Status(400..), true) => tally.wrong_responses.push(format!(
                "{}: responded {:?}, but stored",
                request.key, request.outcome
            )),
            (Outcome::Status(_), _) => {}
        }
        // The record that a response names exists if and only if the change does.
        if recorded.is_some_and(|recorded| recorded != committed) {
            tally.wrong_responses.push(format!(
                "{}: responded {:?}; success record {recorded:?}, change stored: {committed}",
                request.key, request.outcome
            ));
        }
        if request.outcome == Outcome::Unknown && request.record_id.is_none() {
            tally.wrong_responses.push(format!(
                "{}: unknown outcome, but names no record",
                request.key
            ));
        }
    }
    Ok(tally)
}

/// Whether `resources`, those of a transaction's success records, are exactly what the request with
/// this key must record: one for itself, or one for each of [`SEVERAL`] lines.
fn is_recorded(key: &str, resources: Option<&Vec<&str>>) -> bool {
    let Some(resources) = resources else {
        return false;
    };
    let mut resources = resources.clone();
    resources.sort_unstable();
    let several: Vec<String> = (1..=SEVERAL).map(|line| format!("{key}/{line}")).collect();
    resources == [key] || resources == several
}

/// Waits until no session has an open transaction in three consecutive polls, 250 ms apart, as an
/// abandoned request may be about to begin one.
async fn wait_for_quiet(connection: &mut PgConnection) -> Result<(), String> {
    let mut quiet = 0;
    for _ in 0..600 {
        let busy: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| error.to_string())?;
        quiet = if busy == 0 { quiet + 1 } else { 0 };
        if quiet == 3 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err("the service still has open transactions after 150 s".to_owned())
}
