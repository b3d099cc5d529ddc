//! Measures the latency of queries for compliance: pages of a small and a large log, for each
//! filter that has an index.

use std::time::Instant;

use platform_audit::query::{AuditQuery, AuditReader, Cursor, Reading};
use platform_audit::{Actor, Audit, Outcome};
use platform_harness::database::TestDatabase;
use serde_json::{Map, Value};
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::{log, server};

/// The sizes of the logs, in records; those above `--records` are skipped.
pub(crate) const SIZES: [i64; 6] = [0, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
/// The size of the small log, in records.
const SMALL: i64 = 100_000;
/// The depth of the deep page, in records; less if there are fewer.
const DEEP: usize = 10_000;
const REPEATS: usize = 500;
/// The filters whose latency is measured for each size of the log.
pub(crate) const GROWING: [&str; 4] = ["newest", "actor", "resource", "denied"];
/// Periods in which a condition without an index is searched, in days.
pub(crate) const SCANS: [(&str, i64); 2] = [("30 days", 30), ("13 months", 396)];

/// A log, and queries that find records in it.
struct Log {
    records: i64,
    audit: Audit<Postgres>,
    reader: Reading<Postgres>,
    queries: Vec<(&'static str, AuditQuery)>,
    _database: TestDatabase,
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
    say!("{}", server::describe().await);
    let mut figures = Map::new();
    figures.insert("query.records".to_owned(), records.into());
    say!(
        "by size of the log: p50 of {REPEATS}, milliseconds\n{:<10} {:>8} {}",
        "records",
        "write",
        GROWING.map(|name| format!("{name:>10}")).concat()
    );
    let mut small = None;
    for size in SIZES.into_iter().filter(|size| *size < records) {
        let log = Log::of(size).await;
        measure_size(&log, &mut figures).await;
        if size == SMALL {
            small = Some(log);
        }
    }
    let large = Log::of(records).await;
    measure_size(&large, &mut figures).await;
    let small = match small {
        Some(log) => log,
        None => Log::of(SMALL).await,
    };
    pages(&small, &large, &mut figures).await;
    scans(&large, &mut figures).await;
    figures
}

/// Measures one size of the log: the latency of writing a record, and of deep pages.
async fn measure_size(log: &Log, figures: &mut Map<String, Value>) {
    let mut line = format!("{:<10}", log.records);
    let mut put = |name: &str, times: Vec<f64>| {
        let p50 = quantile(times, 50);
        line += &format!(" {p50:>9.2}");
        let key = format!("query.size.{}.{name}.p50_ms", log.records);
        figures.insert(key, rounded(p50));
    };
    let mut times = Vec::new();
    for _ in 0..=REPEATS {
        let began = Instant::now();
        let actor = Actor::user("actor-7");
        let written = log.audit.transaction(actor, "entry.note", async |tx| {
            tx.record("entry", "entry-7");
            Ok::<_, std::io::Error>(())
        });
        written.await.expect("a record");
        times.push(milliseconds(began));
    }
    put("write", times.split_off(1));
    for name in GROWING {
        let query = log.query(name);
        let cursor = log.cursor(query, log.depth(query).await).await;
        let mut times = Vec::new();
        for _ in 0..=REPEATS {
            times.push(log.page(query, cursor.as_ref()).await);
        }
        put(name, times.split_off(1));
    }
    say!("{line}");
}

/// Measures pages of both logs alternately, for each filter that has an index.
async fn pages(small: &Log, large: &Log, figures: &mut Map<String, Value>) {
    say!(
        "\npages of 100 records, each reading recorded; milliseconds of {REPEATS}, rows as EXPLAIN (ANALYZE) counts them\n{:<14} {:>6} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>7}",
        "filter",
        "depth",
        format!("p50 {}k", small.records / 1000),
        "p95",
        "rows",
        format!("p50 {}k", large.records / 1000),
        "p95",
        "rows",
        "growth"
    );
    let (mut worst, mut slowest) = (0.0_f64, 0.0_f64);
    let logs = [small, large];
    for (name, _) in &small.queries {
        let queries = logs.map(|log| log.query(name));
        for deep in [false, true] {
            // The same depth in both logs, and a full page in both.
            let depth = if deep {
                small.depth(queries[0]).await
            } else {
                0
            };
            if deep && depth == 0 {
                continue;
            }
            let cursors = [
                small.cursor(queries[0], depth).await,
                large.cursor(queries[1], depth).await,
            ];
            let mut times = [Vec::new(), Vec::new()];
            for turn in 0..=REPEATS {
                for at in [turn % 2, 1 - turn % 2] {
                    let took = logs[at].page(queries[at], cursors[at].as_ref()).await;
                    // The first one is a warm-up.
                    if turn > 0 {
                        times[at].push(took);
                    }
                }
            }
            let [p50, p95] = [50, 95].map(|percent| times.clone().map(|it| quantile(it, percent)));
            let rows = [
                small.rows(queries[0], cursors[0].as_ref()).await,
                large.rows(queries[1], cursors[1].as_ref()).await,
            ];
            let growth = p95[1] / p95[0];
            (worst, slowest) = (worst.max(growth), slowest.max(p95[1]));
            say!(
                "{name:<14} {depth:>6} {:>9.2} {:>9.2} {:>7} {:>9.2} {:>9.2} {:>9} {growth:>7.2}",
                p50[0],
                p95[0],
                rows[0],
                p50[1],
                p95[1],
                rows[1]
            );
            let key = format!("query.{name}.{}", if deep { "deep" } else { "first" });
            for (what, value) in [("p95_ms", p95[1]), ("p50_ms", p50[1]), ("growth", growth)] {
                figures.insert(format!("{key}.{what}"), rounded(value));
            }
            figures.insert(format!("{key}.rows"), rows[1].into());
        }
    }
    say!("\nworst growth {worst:.2}, slowest p95 {slowest:.2} ms");
    figures.insert("query.growth_100k_to_10m".to_owned(), rounded(worst));
    figures.insert("query.p95_ms".to_owned(), rounded(slowest));
}

/// Measures a search without an index, for a text that no reason contains.
async fn scans(log: &Log, figures: &mut Map<String, Value>) {
    for (name, days) in SCANS {
        let query = AuditQuery::new()
            .since(ago(days))
            .reason("a text that no record contains");
        let mut times = Vec::new();
        for _ in 0..3 {
            times.push(log.page(&query, None).await);
        }
        let p50 = quantile(times, 50);
        say!("a text in the reasons of {name}: {p50:.0} ms");
        figures.insert(format!("query.scan.{name}.p50_ms"), rounded(p50));
    }
}

impl Log {
    async fn of(records: i64) -> Self {
        let database = TestDatabase::postgres().await;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect(database.url())
            .await
            .expect("the server accepts connections");
        log::write(&pool, records).await;
        let id = sqlx::query_scalar(
            "SELECT id FROM ledger_audit.record WHERE recorded_at < now() - interval '100 days' LIMIT 1",
        );
        let id: Option<Uuid> = id.fetch_optional(&pool).await.expect("the query succeeds");
        let queries = vec![
            ("newest", AuditQuery::new()),
            ("period", AuditQuery::new().since(ago(200)).until(ago(100))),
            ("actor", AuditQuery::new().actor("actor-0")),
            (
                "two actors",
                AuditQuery::new().actor("actor-0").actor("actor-1"),
            ),
            ("resource", AuditQuery::new().resource("entry", "entry-0")),
            ("action", AuditQuery::new().action("entry.update")),
            (
                "two actions",
                AuditQuery::new()
                    .action("entry.update")
                    .action("entry.create"),
            ),
            ("trace id", AuditQuery::new().trace_id(log::IMPORTS_TRACE)),
            (
                "request id",
                AuditQuery::new().request_id(log::IMPORTS_REQUEST),
            ),
            (
                "record id",
                AuditQuery::new().record_id(id.unwrap_or_default()),
            ),
            ("denied", AuditQuery::new().outcome(Outcome::Denied)),
        ];
        let audit = Audit::builder(pool.clone(), "ledger").development(true);
        let audit = audit.start().await.expect("the audit starts");
        let reading = AuditReader::new(pool, "ledger")
            .expect("a reader")
            .read_as(Actor::system("bench"));
        Self {
            records,
            audit,
            reader: reading,
            queries,
            _database: database,
        }
    }

    fn query(&self, name: &str) -> &AuditQuery {
        let found = self.queries.iter().find(|(its, _)| *its == name);
        &found.expect("one of the queries").1
    }

    /// The largest depth of a full page, a multiple of 1,000 records and at most [`DEEP`].
    async fn depth(&self, query: &AuditQuery) -> usize {
        let records = self.reader.count(query).await.expect("a count");
        let records = usize::try_from(records).unwrap_or(DEEP);
        (records.saturating_sub(100) / 1000 * 1000).min(DEEP)
    }

    /// The cursor of the page at this depth.
    async fn cursor(&self, query: &AuditQuery, depth: usize) -> Option<Cursor> {
        let mut cursor: Option<Cursor> = None;
        for _ in 0..depth / 1000 {
            let step = query.clone().limit(1000);
            let page = self.reader.page(&step, cursor.as_ref()).await;
            cursor = page.expect("a page").next;
        }
        cursor
    }

    /// Reads a page; returns the milliseconds that it took.
    async fn page(&self, query: &AuditQuery, cursor: Option<&Cursor>) -> f64 {
        let began = Instant::now();
        self.reader.page(query, cursor).await.expect("a page");
        milliseconds(began)
    }

    /// The number of rows that the database reads.
    async fn rows(&self, query: &AuditQuery, cursor: Option<&Cursor>) -> u64 {
        let plan = self.reader.explain(query, cursor).await;
        rows(&plan.expect("a plan"))
    }
}

fn ago(days: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days)
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

fn quantile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() * percent / 100]
}

fn rounded(value: f64) -> Value {
    ((value * 1000.0).round() / 1000.0).into()
}

/// The number of rows that the scans of a plan returned or discarded.
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
