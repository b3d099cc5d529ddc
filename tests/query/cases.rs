//! Query tests that run on both stores: the including module provides `Db`, `database()` and
//! `insert()`.

use std::collections::BTreeSet;

use platform_audit::query::{AuditQuery, AuditReader, Cursor, Direction, Page, Reading, SortBy};
use platform_audit::{Actor, ActorKind, Audit, AuditRecord, Error, Outcome};
use platform_harness::database::TestDatabase;
use serde_json::{Value, json};
use sqlx::Pool;
use uuid::Uuid;

use super::{Db, database, insert};

/// An audit log with test records.
pub(super) struct Log {
    pub(super) pool: Pool<Db>,
    pub(super) reading: Reading<Db>,
    #[allow(dead_code, reason = "keeps the database until the end of the test")]
    pub(super) database: TestDatabase,
}

impl Log {
    pub(super) async fn empty() -> Self {
        let database = database().await;
        let pool = Pool::<Db>::connect(database.url()).await.unwrap();
        Audit::builder(pool.clone(), "ledger")
            .migrate()
            .await
            .unwrap();
        let reader = AuditReader::new(pool.clone(), "ledger").unwrap();
        Self {
            pool,
            reading: reader.read_as(Actor::user("grace")).with_reason("a test"),
            database,
        }
    }

    pub(super) async fn with(records: &[Value]) -> Self {
        let log = Self::empty().await;
        for record in records {
            insert(&log.pool, record).await;
        }
        log
    }

    async fn page(&self, query: &AuditQuery) -> Vec<AuditRecord> {
        let mut query = query.clone();
        // Excludes the records of the reads themselves, which are from today.
        query
            .until
            .get_or_insert("2026-01-01T00:00:00Z".parse().unwrap());
        self.reading.page(&query, None).await.unwrap().records
    }

    /// The ids of the records that match `query`, as test numbers.
    async fn found(&self, query: &AuditQuery) -> Vec<u128> {
        self.page(query).await.iter().map(number).collect()
    }
}

fn number(record: &AuditRecord) -> u128 {
    record.id.as_u128()
}

/// Record number `n`, written in the `n`th second of 2025.
pub(super) fn record(n: u32) -> Value {
    let at = jiff::Timestamp::from_second(1_735_689_600 + i64::from(n)).unwrap();
    json!({
        "id": Uuid::from_u128(u128::from(n)).to_string(), "xid": n.to_string(),
        "occurred_at": at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        "recorded_at": at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        "service": "ledger", "actor_kind": "user", "actor_id": "ada", "action": "entry.create",
        "outcome": "success", "changes": {}, "details": {}, "cut": [],
    })
}

pub(super) fn record_with(n: u32, field: &str, value: impl Into<Value>) -> Value {
    let mut record = record(n);
    record[field] = value.into();
    record
}

#[tokio::test]
async fn an_empty_period_is_refused() {
    let log = Log::with(&[record(1)]).await;
    let begin: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    for end in [begin, "2026-10-01T00:00:00Z".parse().unwrap()] {
        let query = AuditQuery::new().since(begin).until(end);
        let page = log.reading.page(&query, None).await.unwrap_err();
        let count = log.reading.count(&query).await.unwrap_err();
        for error in [page, count] {
            assert!(matches!(error, Error::InvalidQuery(_)), "{error}");
            assert!(error.to_string().contains("2026-11-01"), "{error}");
        }
    }
}

#[tokio::test]
async fn each_filter_finds_matching_records_only() {
    let at = |second: u32| -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_735_689_600 + i64::from(second)).unwrap()
    };
    let all = AuditQuery::new;
    let cases: [(Value, Value, AuditQuery); 24] = [
        (
            record_with(1, "actor_id", "bob"),
            record_with(2, "actor_id", "Ada"),
            all().actor("ada").actor("bob"),
        ),
        (
            record_with(1, "action", "patient.read"),
            record_with(2, "action", "patient.reads"),
            all().action("entry.update").action("patient.read"),
        ),
        (
            record_with(1, "action", "entry.update"),
            record_with(2, "action", "patient.reads"),
            all().action("entry.*").action("patient.read"),
        ),
        (
            record_with(1, "changes", json!({"amount": {"after": 5}})),
            record_with(2, "changes", json!({"note": {"after": "amount"}})),
            all().changed("iban").changed("amount"),
        ),
        (
            record_with(1, "actor_kind", "system"),
            record(2),
            all()
                .actor_kind(ActorKind::Service)
                .actor_kind(ActorKind::System),
        ),
        (record(2), record(1), all().since(at(2))),
        (record(1), record(2), all().until(at(2))),
        (
            record(1),
            record_with(2, "actor_id", "Ada"),
            all().actor("ada"),
        ),
        (
            record_with(1, "actor_kind", "service"),
            record(2),
            all().actor_kind(ActorKind::Service),
        ),
        (
            record(1),
            record_with(2, "action", "entry.created"),
            all().action("entry.create"),
        ),
        (
            record(1),
            record_with(2, "action", "entries.create"),
            all().action("entry.*"),
        ),
        (
            {
                let mut it = record_with(1, "resource_type", "entry");
                it["resource_id"] = "7".into();
                it
            },
            {
                let mut it = record_with(2, "resource_type", "entry");
                it["resource_id"] = "70".into();
                it
            },
            all().resource("entry", "7"),
        ),
        (
            record_with(1, "resource_type", "entry"),
            record(2),
            all().resource_type("entry"),
        ),
        (
            record_with(1, "outcome", "denied"),
            record_with(2, "outcome", "failed"),
            all().outcome(Outcome::Denied),
        ),
        (
            record_with(1, "outcome", "timed_out"),
            record(2),
            all().outcome(Outcome::Denied).outcome(Outcome::TimedOut),
        ),
        (
            record_with(1, "actor_tenant", "a"),
            record(2),
            all().tenant("a"),
        ),
        (
            record_with(1, "service", "other"),
            record(2),
            all().service("other"),
        ),
        (
            record_with(1, "client_address", "10.0.0.1"),
            record_with(2, "client_address", "10.0.0.11"),
            all().client_address("10.0.0.1"),
        ),
        (
            record_with(1, "method", "PUT"),
            record(2),
            all().method("PUT"),
        ),
        (
            record_with(1, "route", "/entries/{id}"),
            record_with(2, "route", "/entries"),
            all().route("/entries/{id}"),
        ),
        (
            record_with(1, "request_id", "r-1"),
            record_with(2, "request_id", "r-2"),
            all().request_id("r-1"),
        ),
        (
            record_with(1, "trace_id", "0af7651916cd43dd8448eb211c80319c"),
            record(2),
            all().trace_id("0af7651916cd43dd8448eb211c80319c"),
        ),
        (
            record_with(1, "changes", json!({"amount": {"after": 5}})),
            record_with(2, "changes", json!({"note": {"after": "amount"}})),
            all().changed("amount"),
        ),
        (
            record_with(1, "reason", "Ticket 1234, as asked"),
            record_with(2, "reason", "ticket 123"),
            all().reason("TICKET 1234"),
        ),
    ];
    for (matching, other, query) in cases {
        let log = Log::with(&[matching.clone(), other]).await;
        let found = log.page(&query).await;
        assert_eq!(found.len(), 1, "{query:?} found {found:#?}");
        assert_eq!(found[0].id.to_string(), matching["id"], "{query:?}");
    }
    let log = Log::with(&[record(1), record(2)]).await;
    assert_eq!(log.found(&all().record_id(Uuid::from_u128(2))).await, [2]);
    assert_eq!(log.found(&all()).await, [2, 1], "newest first");
}

#[tokio::test]
async fn every_column_sorts_both_ways_and_pagination_returns_each_record_once() {
    use SortBy as By;
    let fields = [
        (By::RecordedAt, None),
        (By::OccurredAt, None),
        (By::Actor, Some("actor_id")),
        (By::Action, Some("action")),
        (By::ResourceType, Some("resource_type")),
        (By::ResourceId, Some("resource_id")),
        (By::Outcome, Some("outcome")),
        (By::Status, Some("status")),
        (By::Tenant, Some("actor_tenant")),
        (By::Service, Some("service")),
        (By::ClientAddress, Some("client_address")),
        (By::Method, Some("method")),
        (By::Route, Some("route")),
        (By::RequestId, Some("request_id")),
        (By::TraceId, Some("trace_id")),
        (By::Reason, Some("reason")),
    ];
    for (by, field) in fields {
        let records: Vec<Value> = (1..=11_u32)
            .map(|n| {
                let word = ["a", "b", "c"][n as usize % 3];
                match field {
                    None => record(n),
                    // Some have no value.
                    Some(field)
                        if n % 4 == 0
                            && !matches!(field, "actor_id" | "action" | "outcome" | "service") =>
                    {
                        record_with(n, field, Value::Null)
                    }
                    Some("outcome") => record_with(
                        n,
                        "outcome",
                        ["denied", "failed", "invalid"][n as usize % 3],
                    ),
                    Some("action") => record_with(n, "action", format!("entry.{word}")),
                    Some("status") => {
                        let mut record = record_with(n, "status", 400 + n % 3);
                        record["outcome"] = "invalid".into();
                        record
                    }
                    Some("trace_id") => record_with(n, "trace_id", word.repeat(32)),
                    Some(field) => record_with(n, field, word),
                }
            })
            .collect();
        let log = Log::with(&records).await;
        let mut orders = Vec::new();
        for direction in [Direction::Ascending, Direction::Descending] {
            let query = AuditQuery::new()
                .until("2026-01-01T00:00:00Z".parse().unwrap())
                .sort(by, direction);
            let whole: Vec<u128> = log.found(&query).await;
            assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), 11, "{by:?}");
            let (forward, back) = walk(&log, &query.limit(4)).await;
            assert_eq!(forward, whole, "{by:?} {direction:?}");
            assert_eq!(back, whole, "{by:?} {direction:?}");
            orders.push(whole);
        }
        orders[1].reverse();
        assert_eq!(orders[0], orders[1], "{by:?}");
        if let Some(field) = field {
            let keys: Vec<String> = orders[0]
                .iter()
                .map(
                    |n| match &records[usize::try_from(*n).unwrap() - 1][field] {
                        Value::String(text) => text.clone(),
                        Value::Null => String::new(),
                        other => other.to_string(),
                    },
                )
                .collect();
            assert!(keys.is_sorted(), "{by:?}: {keys:?}");
        }
    }
}

/// Request and trace have indexes of their own, in time order.
#[tokio::test]
async fn pagination_of_one_request_or_trace_works_both_ways() {
    let records: Vec<Value> = (1..=23_u32)
        .map(|n| {
            let mut record = record_with(n, "request_id", ["r1", "r2", "r"][n as usize % 3]);
            record["trace_id"] = ["a", "b"][n as usize % 2].repeat(32).into();
            record
        })
        .collect();
    let log = Log::with(&records).await;
    let requests = |n: u128| n % 3 == 1;
    let traces = |n: u128| n % 2 == 1;
    let (request, trace) = ("r2", "b".repeat(32));
    let all = || AuditQuery::new().limit(3);
    for (query, is_in) in [
        (
            all().request_id("r1").request_id("r").request_id("r-9"),
            Box::new(|n: u128| n % 3 != 1) as Box<dyn Fn(u128) -> bool>,
        ),
        (
            all().request_id("r1").request_id("r").trace_id(&trace),
            Box::new(move |n| n % 3 != 1 && traces(n)),
        ),
        (
            all().request_id(request),
            Box::new(requests) as Box<dyn Fn(u128) -> bool>,
        ),
        (all().trace_id(&trace), Box::new(traces)),
        (
            all().request_id(request).trace_id(&trace),
            Box::new(move |n| requests(n) && traces(n)),
        ),
    ] {
        let expected: Vec<u128> = (1..=23).filter(|n| is_in(*n)).collect();
        for direction in [Direction::Ascending, Direction::Descending] {
            let query = query.clone().sort(SortBy::RecordedAt, direction);
            let (mut forward, mut back) = walk(&log, &query).await;
            if direction == Direction::Descending {
                forward.reverse();
                back.reverse();
            }
            assert_eq!(forward, expected, "{query:?}");
            assert_eq!(back, expected, "{query:?}");
            let count = log.reading.count(&query).await.unwrap();
            assert_eq!(count, expected.len() as u64);
        }
    }
}

/// Pages forward to the last page, then back to the first.
async fn walk(log: &Log, query: &AuditQuery) -> (Vec<u128>, Vec<u128>) {
    let mut forward = Vec::new();
    let mut page = log.reading.page(query, None).await.unwrap();
    assert!(
        page.previous.is_none(),
        "the first page has no previous page"
    );
    loop {
        forward.extend(page.records.iter().map(number));
        assert!(forward.len() < 1000, "pagination does not end");
        let Some(next) = &page.next else { break };
        // Round trip through the URL form.
        let next: Cursor = next.to_string().parse().unwrap();
        page = log.reading.page(query, Some(&next)).await.unwrap();
    }
    let mut back: Vec<Vec<u128>> = Vec::new();
    loop {
        back.push(page.records.iter().map(number).collect());
        assert!(back.len() < 1000, "backward pagination does not end");
        let Some(previous) = &page.previous else {
            break;
        };
        page = log.reading.page(query, Some(previous)).await.unwrap();
    }
    (forward, back.into_iter().rev().flatten().collect())
}

#[tokio::test]
async fn concurrent_writes_do_not_shift_pages() {
    let records: Vec<Value> = (1..=1000).map(record).collect();
    let log = Log::with(&records).await;
    let query = AuditQuery::new()
        .until("2026-01-01T00:00:00Z".parse().unwrap())
        .limit(90);
    let mut seen = Vec::new();
    let mut cursor = None;
    for round in 1.. {
        // One new record is newer than all pages read so far, one is older than all of them.
        insert(&log.pool, &record(2000 + round)).await;
        let page: Page = log.reading.page(&query, cursor.as_ref()).await.unwrap();
        seen.extend(page.records.iter().map(number));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(
        seen.is_sorted_by(|a, b| a > b),
        "no record is returned twice"
    );
    let old = seen.iter().filter(|n| **n <= 1000).count();
    assert_eq!(old, 1000, "and no existing record is skipped");
}

#[tokio::test]
async fn sql_injection_in_a_filter_value_is_only_compared() {
    let hostile = [
        "'; DROP TABLE ledger_audit.record; --",
        "\\' OR true --",
        "$1",
        "%",
        "*",
        "{schema}",
        "\u{202e}gnp.exe",
        "🦀\"<script>",
    ];
    for text in hostile {
        let log = Log::with(&[record_with(1, "actor_id", text), record(2)]).await;
        assert_eq!(
            log.found(&AuditQuery::new().actor(text)).await,
            [1],
            "{text}"
        );
        for query in [
            AuditQuery::new().resource(text, text),
            AuditQuery::new().tenant(text).service(text).method(text),
            AuditQuery::new()
                .route(text)
                .request_id(text)
                .trace_id(text),
            AuditQuery::new().changed(text).client_address(text),
            AuditQuery::new().reason(text),
        ] {
            assert_eq!(log.found(&query).await, [0_u128; 0], "{query:?}");
        }
        let prefixed = log
            .found(&AuditQuery::new().action(format!("{text}*")))
            .await;
        assert!(prefixed.is_empty(), "{text}");
    }
    let log = Log::with(&[record(1), record(2)]).await;
    let all = AuditQuery::new().action("*");
    assert_eq!(
        log.found(&all).await.len(),
        2,
        "an empty prefix matches all"
    );
}

#[tokio::test]
async fn a_cursor_of_another_sort_order_or_a_malformed_one_is_refused() {
    let log = Log::with(&[record(1), record(2), record(3)]).await;
    let query = AuditQuery::new().limit(1);
    let cursor = log.reading.page(&query, None).await.unwrap().next.unwrap();
    let other = query.clone().sort(SortBy::Actor, Direction::Ascending);
    let refused = log.reading.page(&other, Some(&cursor)).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidQuery(_)), "{refused}");
    let text = cursor.to_string();
    for damaged in ["", "zz", "7b7d", &text[2..], &text[..text.len() - 2]] {
        assert!(damaged.parse::<Cursor>().is_err(), "{damaged}");
    }
    let refused = log
        .reading
        .page(&query.limit(1001), None)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("1001"), "{refused}");
}
