//! One body for both stores: `Db`, `database()` and `insert()` come from the module around.

use std::collections::BTreeSet;

use platform_audit::query::{
    AuditQuery, AuditReader, Cursor, Direction, GroupBy, Page, Reading, SortBy,
};
use platform_audit::{Actor, ActorKind, Audit, AuditRecord, Error, Outcome};
use platform_tests::database::TestDatabase;
use serde_json::{Value, json};
use sqlx::Pool;
use uuid::Uuid;

use super::{Db, database, insert};

/// A log with the records of a test.
pub(super) struct Log {
    pub(super) pool: Pool<Db>,
    reading: Reading<Db>,
    #[allow(
        dead_code,
        reason = "it is dropped with the test, which need not ask it"
    )]
    pub(super) database: TestDatabase,
}

impl Log {
    pub(super) async fn empty() -> Self {
        let database = database().await;
        let pool = Pool::<Db>::connect(database.url()).await.unwrap();
        Audit::new(pool.clone(), "ledger").migrate().await.unwrap();
        let reader = AuditReader::new(pool.clone(), "ledger").unwrap();
        Self {
            pool,
            reading: reader.asked_by(Actor::user("grace")).because("a test"),
            database,
        }
    }

    async fn with(records: &[Value]) -> Self {
        let log = Self::empty().await;
        for record in records {
            insert(&log.pool, record).await;
        }
        log
    }

    async fn page(&self, query: &AuditQuery) -> Vec<AuditRecord> {
        let mut query = query.clone();
        // The readings themselves are of today.
        query
            .until
            .get_or_insert("2026-01-01T00:00:00Z".parse().unwrap());
        self.reading.page(&query, None).await.unwrap().records
    }

    /// The ids of what `query` asks for, as numbers of the test.
    async fn found(&self, query: &AuditQuery) -> Vec<u128> {
        self.page(query).await.iter().map(number).collect()
    }
}

fn number(record: &AuditRecord) -> u128 {
    record.id.as_u128()
}

/// The `n`th record of a test, of the `n`th second of 2025.
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

fn but(n: u32, field: &str, value: impl Into<Value>) -> Value {
    let mut record = record(n);
    record[field] = value.into();
    record
}

#[tokio::test]
async fn a_period_that_nothing_can_be_in_is_refused() {
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
async fn each_condition_finds_what_matches_and_nothing_else() {
    let at = |second: u32| -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_735_689_600 + i64::from(second)).unwrap()
    };
    let all = AuditQuery::new;
    let cases: [(Value, Value, AuditQuery); 19] = [
        (record(2), record(1), all().since(at(2))),
        (record(1), record(2), all().until(at(2))),
        (record(1), but(2, "actor_id", "Ada"), all().actor("ada")),
        (
            but(1, "actor_kind", "service"),
            record(2),
            all().actor_kind(ActorKind::Service),
        ),
        (
            record(1),
            but(2, "action", "entry.created"),
            all().action("entry.create"),
        ),
        (
            record(1),
            but(2, "action", "entries.create"),
            all().action("entry.*"),
        ),
        (
            {
                let mut it = but(1, "resource_type", "entry");
                it["resource_id"] = "7".into();
                it
            },
            {
                let mut it = but(2, "resource_type", "entry");
                it["resource_id"] = "70".into();
                it
            },
            all().resource("entry", "7"),
        ),
        (
            but(1, "resource_type", "entry"),
            record(2),
            all().resource_type("entry"),
        ),
        (
            but(1, "outcome", "denied"),
            but(2, "outcome", "failed"),
            all().outcome(Outcome::Denied),
        ),
        (
            but(1, "outcome", "timed_out"),
            record(2),
            all().outcome(Outcome::Denied).outcome(Outcome::TimedOut),
        ),
        (but(1, "actor_tenant", "a"), record(2), all().tenant("a")),
        (
            but(1, "service", "other"),
            record(2),
            all().service("other"),
        ),
        (
            but(1, "client_address", "10.0.0.1"),
            but(2, "client_address", "10.0.0.11"),
            all().client_address("10.0.0.1"),
        ),
        (but(1, "method", "PUT"), record(2), all().method("PUT")),
        (
            but(1, "route", "/entries/{id}"),
            but(2, "route", "/entries"),
            all().route("/entries/{id}"),
        ),
        (
            but(1, "request_id", "r-1"),
            but(2, "request_id", "r-2"),
            all().request_id("r-1"),
        ),
        (
            but(1, "trace_id", "0af7651916cd43dd8448eb211c80319c"),
            record(2),
            all().trace_id("0af7651916cd43dd8448eb211c80319c"),
        ),
        (
            but(1, "changes", json!({"amount": {"after": 5}})),
            but(2, "changes", json!({"note": {"after": "amount"}})),
            all().changed("amount"),
        ),
        (
            but(1, "reason", "Ticket 1234, as asked"),
            but(2, "reason", "ticket 123"),
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
async fn every_element_sorts_both_ways_and_pages_hold_each_record_once() {
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
                    // Some have none.
                    Some(field)
                        if n % 4 == 0
                            && !matches!(field, "actor_id" | "action" | "outcome" | "service") =>
                    {
                        but(n, field, Value::Null)
                    }
                    Some("outcome") => but(
                        n,
                        "outcome",
                        ["denied", "failed", "invalid"][n as usize % 3],
                    ),
                    Some("action") => but(n, "action", format!("entry.{word}")),
                    Some("status") => {
                        let mut record = but(n, "status", 400 + n % 3);
                        record["outcome"] = "invalid".into();
                        record
                    }
                    Some("trace_id") => but(n, "trace_id", word.repeat(32)),
                    Some(field) => but(n, field, word),
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

/// What has many records is read by its own index, in the order of time.
#[tokio::test]
async fn the_records_of_a_request_or_a_trace_are_paged_through_both_ways() {
    let records: Vec<Value> = (1..=23_u32)
        .map(|n| {
            let mut record = but(n, "request_id", ["r1", "r2", "r"][n as usize % 3]);
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

/// Long enough for anything that should happen.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// All pages to the last, and then back to the first.
async fn walk(log: &Log, query: &AuditQuery) -> (Vec<u128>, Vec<u128>) {
    let mut forward = Vec::new();
    let mut page = log.reading.page(query, None).await.unwrap();
    assert!(page.previous.is_none(), "nothing is before the first page");
    loop {
        forward.extend(page.records.iter().map(number));
        assert!(forward.len() < 1000, "the pages have no end");
        let Some(next) = &page.next else { break };
        // As a URL carries it.
        let next: Cursor = next.to_string().parse().unwrap();
        page = log.reading.page(query, Some(&next)).await.unwrap();
    }
    let mut back: Vec<Vec<u128>> = Vec::new();
    loop {
        back.push(page.records.iter().map(number).collect());
        assert!(back.len() < 1000, "the pages have no beginning");
        let Some(previous) = &page.previous else {
            break;
        };
        page = log.reading.page(query, Some(previous)).await.unwrap();
    }
    (forward, back.into_iter().rev().flatten().collect())
}

#[tokio::test]
async fn what_is_written_meanwhile_moves_no_page() {
    let records: Vec<Value> = (1..=1000).map(record).collect();
    let log = Log::with(&records).await;
    let query = AuditQuery::new()
        .until("2026-01-01T00:00:00Z".parse().unwrap())
        .limit(90);
    let mut seen = Vec::new();
    let mut cursor = None;
    for round in 1.. {
        // One is newer than all, which the pages have passed, and one older than all, which comes.
        insert(&log.pool, &record(2000 + round)).await;
        let page: Page = log.reading.page(&query, cursor.as_ref()).await.unwrap();
        seen.extend(page.records.iter().map(number));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "no record is there twice");
    let old = seen.iter().filter(|n| **n <= 1000).count();
    assert_eq!(old, 1000, "and none that was there is missed");
}

#[tokio::test]
async fn what_comes_from_outside_stays_a_value() {
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
        let log = Log::with(&[but(1, "actor_id", text), record(2)]).await;
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
        let all = text == "*";
        assert_eq!(prefixed.is_empty(), !all || text == "*", "{text}");
    }
}

#[tokio::test]
async fn a_cursor_that_is_not_of_the_query_is_refused() {
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

#[tokio::test]
async fn each_reading_leaves_a_record_of_who_asked_what_and_how_many_came_back() {
    let log = Log::with(&[record(1), record(2)]).await;
    let query = AuditQuery::new().actor("ada");
    log.reading.page(&query, None).await.unwrap();
    log.reading.find(Uuid::from_u128(1)).await.unwrap().unwrap();
    log.reading.history("entry", "7", None).await.unwrap();
    log.reading.count(&query).await.unwrap();
    log.reading.summary(&query, GroupBy::Actor).await.unwrap();
    let mut taken = 0;
    let exported = log
        .reading
        .each(&query, |_| {
            taken += 1;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!((exported, taken), (2, 2));
    let readings = AuditQuery::new()
        .action("audit.read")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let told: Vec<_> = readings
        .iter()
        .map(|it| {
            (
                it.details["answer"].as_str().unwrap(),
                it.details["records"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            &("page", 2),
            &("page", 1),
            &("page", 0),
            &("count", 2),
            &("summary", 1),
            &("export", 0),
            &("exported", 2)
        ])
    );
    for reading in &readings {
        assert_eq!(reading.actor.id, "grace");
        assert_eq!(reading.reason.as_deref(), Some("a test"));
        assert_eq!(reading.outcome, Outcome::Success);
    }
    let asked = readings
        .iter()
        .filter(|it| it.details["query"]["actor"] == "ada");
    assert_eq!(asked.count(), 5);
}

#[tokio::test]
async fn however_long_a_query_is_its_record_says_what_came_of_it() {
    let log = Log::with(&[record(1), record(2)]).await;
    let mut query = AuditQuery::new().actor("ada");
    for _ in 0..2_500 {
        query = query.outcome(Outcome::Success);
    }
    assert_eq!(
        log.reading.page(&query, None).await.unwrap().records.len(),
        2
    );
    let exported = log.reading.each(&query, |_| Ok::<_, Error>(())).await;
    assert_eq!(exported.unwrap(), 2);
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let told: Vec<_> = readings
        .iter()
        .map(|it| {
            assert!(!it.cut.is_empty(), "its query was too long: {:?}", it.cut);
            (&it.details["answer"], &it.details["records"])
        })
        .collect();
    let [export, exported, page] = ["export", "exported", "page"].map(Value::from);
    let [none, two] = [0, 2].map(Value::from);
    assert_eq!(told, [(&exported, &two), (&export, &none), (&page, &two)]);
    assert_eq!(readings[0].details["complete"], true);
}

/// What the records of exports say, oldest first: kind, records, `complete` and `continued`.
async fn exports(log: &Log) -> Vec<(String, u64, Option<bool>, bool)> {
    let query = AuditQuery::new()
        .action("audit.read")
        .sort(SortBy::RecordedAt, Direction::Ascending);
    let readings = log.reading.page(&query, None).await.unwrap().records;
    readings
        .iter()
        .map(|it| &it.details)
        .filter(|it| it.contains_key("continued"))
        .map(|it| {
            (
                it["answer"].as_str().unwrap().to_owned(),
                it["records"].as_u64().unwrap(),
                it.get("complete").and_then(Value::as_bool),
                it["continued"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn an_export_that_breaks_off_leaves_a_record_of_how_far_it_came() {
    let records: Vec<Value> = (1..=1_500).map(record).collect();
    let log = Log::with(&records).await;
    let query = AuditQuery::new().actor("ada");
    let mut taken = 0;
    let broken = log.reading.each(&query, |_| {
        taken += 1;
        if taken == 1_200 {
            return Err(Error::TransactionEnded);
        }
        Ok(())
    });
    assert!(matches!(broken.await, Err(Error::TransactionEnded)));
    let refused = |_| Err(Error::TransactionEnded);
    log.reading.each(&query, refused).await.unwrap_err();

    // Whoever ends it before the last page has not all of it, whatever they say.
    let mut export = log.reading.export(&query, None).await.unwrap();
    let first = export.next_page().await.unwrap().unwrap();
    assert_eq!(first.len(), 1_000);
    assert_eq!(export.end(true).await.unwrap(), 1_000);

    let first = query.clone().limit(1_000);
    let cursor = log.reading.page(&first, None).await.unwrap().next;
    let mut export = log.reading.export(&query, cursor).await.unwrap();
    assert_eq!(export.next_page().await.unwrap().unwrap().len(), 500);
    assert!(export.next_page().await.unwrap().is_none());
    assert_eq!(export.end(true).await.unwrap(), 500);

    let began = |continued| ("export".to_owned(), 0, None, continued);
    let ended =
        |records, complete, continued| ("exported".to_owned(), records, Some(complete), continued);
    assert_eq!(
        exports(&log).await,
        [
            began(false),
            ended(1_500, false, false),
            began(false),
            ended(1_000, false, false),
            began(false),
            ended(1_000, false, false),
            began(true),
            ended(500, true, true),
        ]
    );
}

#[tokio::test]
async fn what_is_counted_can_be_asked_for() {
    let log = Log::with(&[
        record(1),
        but(2, "actor_id", "bob"),
        but(3, "outcome", "denied"),
        but(4, "resource_type", "entry"),
        record(86_400 * 4),
        record(86_400 * 5),
        record(86_400 * 5 + 7_200),
    ])
    .await;
    // The first and the last lie in the same periods as others, and not in the query's.
    let query = AuditQuery::new()
        .since("2025-01-01T00:00:02Z".parse().unwrap())
        .until("2025-01-06T01:00:00Z".parse().unwrap());
    for group in [
        GroupBy::Action,
        GroupBy::Actor,
        GroupBy::Outcome,
        GroupBy::ResourceType,
        GroupBy::Month,
        GroupBy::Week,
        GroupBy::Day,
        GroupBy::Hour,
    ] {
        let counts = log.reading.summary(&query, group).await.unwrap();
        let all: u64 = counts.iter().map(|it| it.records).sum();
        assert_eq!(all, 5, "{group:?}");
        for count in counts {
            let Some(only) = group.only(&query, &count.value) else {
                assert_eq!(count.value, "", "{group:?}");
                continue;
            };
            let found = log.reading.count(&only).await.unwrap();
            assert_eq!(found, count.records, "{group:?} {}", count.value);
        }
    }
    for (group, wrong) in [
        (GroupBy::Month, "2025"),
        (GroupBy::Week, "x"),
        (GroupBy::Day, "2025-02-30"),
        (GroupBy::Hour, "2025-01-01"),
        (GroupBy::Outcome, "fine"),
        (GroupBy::Actor, ""),
    ] {
        assert_eq!(group.only(&query, wrong), None, "{group:?}");
    }
}

#[tokio::test]
async fn records_are_counted_by_what_they_have_in_common() {
    let log = Log::with(&[
        record(1),
        but(2, "actor_id", "bob"),
        but(3, "outcome", "denied"),
        but(86_400, "action", "entry.delete"),
    ])
    .await;
    let query = AuditQuery::new().until("2026-01-01T00:00:00Z".parse().unwrap());
    let by = async |group| -> Vec<(String, u64)> {
        let counts = log.reading.summary(&query, group).await.unwrap();
        counts
            .into_iter()
            .map(|it| (it.value, it.records))
            .collect()
    };
    let pairs = |of: &[(&str, u64)]| -> Vec<(String, u64)> {
        of.iter()
            .map(|(value, n)| ((*value).to_owned(), *n))
            .collect()
    };
    assert_eq!(by(GroupBy::Actor).await, pairs(&[("ada", 3), ("bob", 1)]));
    assert_eq!(
        by(GroupBy::Action).await,
        pairs(&[("entry.create", 3), ("entry.delete", 1)])
    );
    assert_eq!(
        by(GroupBy::Outcome).await,
        pairs(&[("success", 3), ("denied", 1)])
    );
    assert_eq!(by(GroupBy::ResourceType).await, pairs(&[("", 4)]));
    assert_eq!(
        by(GroupBy::Day).await,
        pairs(&[("2025-01-01", 3), ("2025-01-02", 1)])
    );
    assert_eq!(by(GroupBy::Month).await, pairs(&[("2025-01", 4)]));
    // The Monday of the first of January, a Wednesday.
    assert_eq!(by(GroupBy::Week).await, pairs(&[("2024-12-30", 4)]));
    assert_eq!(
        by(GroupBy::Hour).await,
        pairs(&[("2025-01-01T00", 3), ("2025-01-02T00", 1)])
    );
    assert_eq!(log.reading.count(&query).await.unwrap(), 4);
}

#[tokio::test]
async fn a_tail_tells_each_new_record_once() {
    let log = Log::with(&[record(1)]).await;
    let mut tail = log
        .reading
        .tail(&AuditQuery::new().actor("ada"))
        .await
        .unwrap();
    let audit = Audit::new(log.pool.clone(), "ledger")
        .development(true)
        .start()
        .await
        .unwrap();
    assert!(tail.look().await.unwrap().records.is_empty());
    let mut seen = Vec::new();
    for round in 0..3 {
        for actor in ["ada", "bob"] {
            audit
                .transaction(Actor::user(actor), "entry.create", async |tx| {
                    tx.record("entry", round);
                    Ok::<_, sqlx::Error>(())
                })
                .await
                .unwrap();
        }
        // Later ones wait for whoever has a transaction open on this server, another test perhaps.
        let began = std::time::Instant::now();
        while seen.len() <= round && began.elapsed() < PATIENCE {
            let told = tail.look().await.unwrap().records;
            seen.extend(told.into_iter().map(|it| it.resource_id.unwrap()));
        }
    }
    assert_eq!(seen, ["0", "1", "2"]);
    assert!(tail.look().await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_tail_takes_no_period_and_leaves_a_record_of_what_it_told() {
    let log = Log::empty().await;
    let now = jiff::Timestamp::now();
    for (query, name) in [
        (AuditQuery::new().since(now), "since"),
        (AuditQuery::new().until(now), "until"),
        (AuditQuery::new().limit(7), "limit"),
        (
            AuditQuery::new().sort(SortBy::Actor, Direction::Ascending),
            "sort",
        ),
    ] {
        let refused = log.reading.tail(&query).await.unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
    let audit = Audit::new(log.pool.clone(), "ledger")
        .development(true)
        .start()
        .await
        .unwrap();
    let nobody = AuditQuery::new().actor("nobody");
    let silent = log.reading.tail(&nobody).await.unwrap();
    let mut tails = Vec::new();
    for _ in 0..2 {
        tails.push(log.reading.tail(&AuditQuery::new()).await.unwrap());
    }
    let written = audit.transaction(Actor::user("ada"), "entry.create", async |tx| {
        tx.record("entry", 1);
        Ok::<_, sqlx::Error>(())
    });
    written.await.unwrap();
    // Each tells of the change, and the first of the other's beginning too.
    for (tail, expected) in tails.iter_mut().zip([2, 1]) {
        let began = std::time::Instant::now();
        let mut told = 0;
        while told < expected && began.elapsed() < PATIENCE {
            told += tail.look().await.unwrap().records.len();
        }
        assert_eq!(told, expected);
    }
    let [mut other, first] = <[_; 2]>::try_from(tails).unwrap();
    first.end().await.unwrap();
    // That a tail told something is told, and is no reading of its own.
    let began = std::time::Instant::now();
    let mut told = Vec::new();
    while told.is_empty() && began.elapsed() < PATIENCE {
        told = other.look().await.unwrap().records;
    }
    assert_eq!(told[0].details["answer"], "tailed");
    assert_eq!(told[0].details["records"], 1);
    other.end().await.unwrap();
    silent.end().await.unwrap();
    let readings = AuditQuery::new().action("audit.read");
    let readings = log.reading.page(&readings, None).await.unwrap().records;
    let told: Vec<_> = readings
        .iter()
        .filter(|it| it.details["answer"] == "tailed")
        .map(|it| it.details["records"].as_u64().unwrap())
        .collect();
    assert_eq!(
        told,
        [2, 1],
        "newest first, and none of a tail that told nothing"
    );
}
