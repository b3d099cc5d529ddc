//! What compliance waits for: pages of a small log and of a large one, of each filter that has an
//! index.

use std::time::Instant;

use platform_audit::query::{AuditQuery, AuditReader, Cursor, Reading};
use platform_audit::{Actor, Outcome};
use platform_tests::database::TestDatabase;
use serde_json::{Map, Value};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};

use crate::{log, server};

/// Records of the small log.
const SMALL: i64 = 100_000;
/// How deep the deep page is, if there are so many.
const DEEP: usize = 10_000;
const REPEATS: usize = 40;

/// A log, and queries of things that are in it.
struct Log {
    records: i64,
    reading: Reading<Postgres>,
    queries: Vec<(&'static str, AuditQuery)>,
    _database: TestDatabase,
}

/// What a page took.
struct Took {
    /// Milliseconds.
    p50: f64,
    p95: f64,
    /// Rows that the database looked at.
    rows: u64,
}

pub(crate) fn run(quick: bool, records: Option<i64>) -> Map<String, Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let records = records.unwrap_or(if quick { 1_000_000 } else { 10_000_000 });
    runtime.block_on(measure(records))
}

async fn measure(records: i64) -> Map<String, Value> {
    println!("{}", server::describe().await);
    let logs = [Log::of(SMALL).await, Log::of(records).await];
    let mut figures = Map::new();
    let (mut worst, mut slowest) = (0.0_f64, 0.0_f64);
    println!(
        "pages of 100 records, each reading recorded; milliseconds of {REPEATS}, rows as EXPLAIN (ANALYZE) counts them\n{:<14} {:>6} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>7}",
        "filter",
        "depth",
        format!("p50 {}k", SMALL / 1000),
        "p95",
        "rows",
        format!("p50 {}k", records / 1000),
        "p95",
        "rows",
        "growth"
    );
    for at in 0..logs[0].queries.len() {
        for deep in [false, true] {
            // As deep in one as in the other, and a full page in both.
            let depth = if deep { logs[0].depth(at).await } else { 0 };
            if deep && depth == 0 {
                continue;
            }
            let small = logs[0].page(at, depth).await;
            let large = logs[1].page(at, depth).await;
            let name = logs[0].queries[at].0;
            let growth = large.p95 / small.p95;
            (worst, slowest) = (worst.max(growth), slowest.max(large.p95));
            println!(
                "{name:<14} {depth:>6} {:>9.2} {:>9.2} {:>7} {:>9.2} {:>9.2} {:>9} {growth:>7.2}",
                small.p50, small.p95, small.rows, large.p50, large.p95, large.rows
            );
            let key = format!("query.{name}.{}", if deep { "deep" } else { "first" });
            for (what, value) in [
                ("p95_ms", large.p95),
                ("p50_ms", large.p50),
                ("growth", growth),
            ] {
                figures.insert(
                    format!("{key}.{what}"),
                    ((value * 1000.0).round() / 1000.0).into(),
                );
            }
            figures.insert(format!("{key}.rows"), large.rows.into());
        }
    }
    println!("\nworst growth {worst:.2}, slowest p95 {slowest:.2} ms");
    figures.insert("query.records".to_owned(), logs[1].records.into());
    figures.insert(
        "query.growth_100k_to_10m".to_owned(),
        ((worst * 1000.0).round() / 1000.0).into(),
    );
    figures.insert(
        "query.p95_ms".to_owned(),
        ((slowest * 1000.0).round() / 1000.0).into(),
    );
    figures
}

impl Log {
    async fn of(records: i64) -> Self {
        let database = TestDatabase::postgres().await;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect(database.url())
            .await
            .expect("the server answers");
        log::write(&pool, records).await;
        let one = async |column: &str| -> String {
            let statement = format!(
                "SELECT {column} FROM ledger_audit.record WHERE recorded_at < now() - interval '100 days' LIMIT 1"
            );
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(&pool as &PgPool)
                .await
                .expect("there are records")
        };
        let now = jiff::Timestamp::now();
        let days = |days: i64| now - jiff::SignedDuration::from_hours(24 * days);
        let queries = vec![
            ("newest", AuditQuery::new()),
            (
                "period",
                AuditQuery::new().since(days(200)).until(days(100)),
            ),
            ("actor", AuditQuery::new().actor("actor-0")),
            ("resource", AuditQuery::new().resource("entry", "entry-0")),
            ("action", AuditQuery::new().action("export.run")),
            (
                "trace id",
                AuditQuery::new().trace_id(one("trace_id").await),
            ),
            (
                "request id",
                AuditQuery::new().request_id(one("request_id").await),
            ),
            (
                "record id",
                AuditQuery::new().record_id(one("id::text").await.parse().expect("a UUID")),
            ),
            ("denied", AuditQuery::new().outcome(Outcome::Denied)),
        ];
        let reading = AuditReader::new(pool, "ledger")
            .expect("a reader")
            .asked_by(Actor::system("bench"));
        Self {
            records,
            reading,
            queries,
            _database: database,
        }
    }

    /// How deep a full page can be, in thousands of records and at most [`DEEP`].
    async fn depth(&self, at: usize) -> usize {
        let records = self
            .reading
            .count(&self.queries[at].1)
            .await
            .expect("a count");
        let records = usize::try_from(records).unwrap_or(DEEP);
        (records.saturating_sub(100) / 1000 * 1000).min(DEEP)
    }

    async fn page(&self, at: usize, depth: usize) -> Took {
        let query = &self.queries[at].1;
        let mut cursor: Option<Cursor> = None;
        for _ in 0..depth / 1000 {
            let step = query.clone().limit(1000);
            let page = self
                .reading
                .page(&step, cursor.as_ref())
                .await
                .expect("a page");
            cursor = page.next;
        }
        let mut took = Vec::new();
        for turn in 0..=REPEATS {
            let began = Instant::now();
            self.reading
                .page(query, cursor.as_ref())
                .await
                .expect("a page");
            // The first warms up.
            if turn > 0 {
                took.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        took.sort_by(f64::total_cmp);
        let plan = self
            .reading
            .explain(query, cursor.as_ref())
            .await
            .expect("a plan");
        Took {
            p50: took[REPEATS / 2],
            p95: took[REPEATS * 95 / 100],
            rows: rows(&plan),
        }
    }
}

/// The rows that the scans of a plan returned or threw away.
fn rows(plan: &[String]) -> u64 {
    let number = |line: &str, before: &str| -> u64 {
        let after = line.rsplit_once(before).map_or("", |(_, after)| after);
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    plan.iter()
        .map(|line| {
            if line.contains("Scan") && !line.contains("Subquery Scan") && line.contains("actual") {
                number(line, "rows=") * number(line, "loops=").max(1)
            } else if line.contains("Rows Removed by") {
                number(line, ": ")
            } else {
                0
            }
        })
        .sum()
}
