//! What Postgres' check at COMMIT costs, beside the same transaction with an audit record written
//! by hand and no check. Ratios within one run, in alternating order:
//!
//! `./test --exec cargo run --release -p platform-bench --bin guard_cost [-- --quick]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement prints, and what goes wrong ends it"
)]

use std::time::{Duration, Instant};

use platform_audit::{Actor, Audit, AuditTx, Auditable};
use platform_harness::database::TestDatabase;
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, SqlSafeStr};

const CLIENTS: usize = 16;
/// Of each client in one turn.
const TRANSACTIONS: usize = 60;
const ROWS: i64 = 300_000;

/// A way to have the record demanded: its service, and what is done to its table.
struct Variant {
    service: &'static str,
    name: &'static str,
    set_up: &'static str,
    /// Whether `Audit::transaction` begins, records and commits, rather than the client by hand.
    toolkit: bool,
}

/// The first is what the others are compared with.
const VARIANTS: [Variant; 4] = [
    Variant {
        service: "by_hand",
        name: "no check",
        // An index that only the check needs.
        set_up: "DROP INDEX by_hand_audit.record_xid",
        toolkit: false,
    },
    Variant {
        service: "guarded",
        name: "guard()",
        set_up: "SELECT guarded_audit.guard('guarded')",
        toolkit: false,
    },
    Variant {
        service: "toolkit",
        name: "guard(), through Audit::transaction",
        set_up: "SELECT toolkit_audit.guard('toolkit')",
        toolkit: true,
    },
    Variant {
        service: "plain_trigger",
        name: "row trigger that asks the whole log",
        set_up: "
            CREATE FUNCTION plain_trigger_audit.plain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                IF NOT EXISTS (SELECT FROM plain_trigger_audit.record WHERE xid = pg_current_xact_id() AND outcome = 'success' AND recorded_at >= transaction_timestamp()) THEN
                    RAISE 'unaudited';
                END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER plain AFTER INSERT OR UPDATE OR DELETE ON plain_trigger
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION plain_trigger_audit.plain();
            ALTER TABLE plain_trigger ENABLE ALWAYS TRIGGER plain",
        toolkit: false,
    },
];

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    // Many short turns: a busy neighbour that takes a second from us meets all variants alike.
    let (pairs, bulk_pairs) = if quick { (15, 3) } else { (151, 9) };
    let database = TestDatabase::postgres().await;
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect(database.url())
        .await
        .unwrap();
    for variant in &VARIANTS {
        set_up(&pool, variant).await;
    }
    let version: String = sqlx::query_scalar("SHOW server_version")
        .fetch_one(&pool)
        .await
        .unwrap();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "Postgres {version}, {cores} cores; each ratio is a median of {pairs} alternating pairs, with the lowest and the highest\n"
    );

    println!(
        "one-row transactions (BEGIN, change, record, COMMIT), {CLIENTS} clients: throughput against no check"
    );
    let mut clients = Vec::new();
    for variant in &VARIANTS {
        clients.push(if variant.toolkit {
            Clients::Toolkit(Toolkit::start(database.url(), variant).await)
        } else {
            Clients::ByHand(ByHand::connect(database.url(), variant).await)
        });
    }
    // Each as often as the others, so that their tables grow alike; in another order each time.
    let mut rates: [Vec<f64>; VARIANTS.len()] = Default::default();
    for round in 0..=pairs {
        for turn in 0..VARIANTS.len() {
            let at = (round + turn) % VARIANTS.len();
            let rate = clients[at].run().await;
            // The first warms up.
            if round > 0 {
                rates[at].push(rate);
            }
        }
    }
    for at in 1..VARIANTS.len() {
        let pairs = rates[at].iter().zip(&rates[0]);
        let mut ratios: Vec<f64> = pairs.map(|(checked, plain)| checked / plain).collect();
        println!("  {:<36} {}", VARIANTS[at].name, spread(&mut ratios));
    }
    println!("  ({:.0} a second without)", median(&mut rates[0]));

    println!(
        "\nUPDATE of {ROWS} rows with one record, {bulk_pairs} alternating pairs: time against no check, and what COMMIT takes longer"
    );
    for variant in &VARIANTS {
        fill(&pool, variant).await;
    }
    for variant in VARIANTS[1..].iter().filter(|variant| !variant.toolkit) {
        let mut ratios = Vec::new();
        let mut commits = Vec::new();
        for pair in 0..=bulk_pairs {
            let (plain, checked) = if pair % 2 == 0 {
                let plain = bulk(database.url(), &VARIANTS[0]).await;
                (plain, bulk(database.url(), variant).await)
            } else {
                let checked = bulk(database.url(), variant).await;
                (bulk(database.url(), &VARIANTS[0]).await, checked)
            };
            if pair > 0 {
                ratios.push(checked.0.as_secs_f64() / plain.0.as_secs_f64());
                commits.push((checked.1.as_secs_f64() - plain.1.as_secs_f64()) * 1e3);
            }
        }
        println!(
            "  {:<36} {}   COMMIT {:+.1} ms",
            variant.name,
            spread(&mut ratios),
            median(&mut commits)
        );
    }
}

async fn set_up(pool: &PgPool, variant: &Variant) {
    let service = variant.service;
    Audit::builder(pool.clone(), service)
        .migrate()
        .await
        .unwrap();
    run(pool, format!("CREATE TABLE {service} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount bigint NOT NULL, note text)")).await;
    run(pool, variant.set_up.to_owned()).await;
}

async fn fill(pool: &PgPool, variant: &Variant) {
    let service = variant.service;
    run(pool, format!("BEGIN; INSERT INTO {service} (amount) SELECT i FROM generate_series(1, {ROWS}) AS i; SELECT {service}_audit.write_record(actor => 'ada', action => 'entry.fill', reason => 'to be measured'); COMMIT")).await;
    run(pool, format!("VACUUM ANALYZE {service}")).await;
}

async fn run(pool: &PgPool, statements: String) {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(pool)
        .await
        .unwrap();
}

/// The record as a careful developer would write it.
const RECORD: &str = "INSERT INTO {}_audit.record (id, occurred_at, service, actor_kind, actor_id, action, resource_type, resource_id, outcome, status, request_id, method, route, path, client_address, user_agent, trace_id, span_id, changes)
    VALUES (gen_random_uuid(), now(), 'accounting', 'user', 'ada', 'entry.create', 'entry', $1::text, 'success', 201, 'a1b2c3', 'POST', '/entries', '/entries', '10.0.0.1', 'curl/8.5', '0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331', '{\"amount\": {\"after\": 5}}')";

/// The clients of a variant, which stay connected, so that no turn begins with cold sessions.
enum Clients {
    ByHand(ByHand),
    Toolkit(Toolkit),
}

impl Clients {
    /// One turn of them all: transactions a second.
    async fn run(&mut self) -> f64 {
        let began = Instant::now();
        match self {
            Self::ByHand(clients) => clients.run().await,
            Self::Toolkit(clients) => clients.run().await,
        }
        (CLIENTS * TRANSACTIONS) as f64 / began.elapsed().as_secs_f64()
    }
}

struct Toolkit {
    audit: Audit<sqlx::Postgres>,
    change: String,
}

#[derive(Auditable, Serialize)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: i64,
    amount: i64,
}

impl Toolkit {
    async fn start(url: &str, variant: &Variant) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(CLIENTS as u32)
            .connect(url)
            .await
            .unwrap();
        let service = variant.service;
        Self {
            audit: Audit::builder(pool, service)
                .development(true)
                .start()
                .await
                .unwrap(),
            change: format!("INSERT INTO {service} (amount, note) VALUES ($1, 'x')"),
        }
    }

    async fn run(&mut self) {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (audit, change) = (self.audit.clone(), self.change.clone());
                tokio::spawn(async move {
                    for n in 0..TRANSACTIONS {
                        Self::transact(&audit, &change, n as i64).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    }

    async fn transact(audit: &Audit<sqlx::Postgres>, change: &str, n: i64) {
        let work = async |tx: &mut AuditTx| {
            sqlx::query(AssertSqlSafe(change.to_owned()))
                .bind(n)
                .execute(&mut *tx)
                .await?;
            tx.created(&Entry { id: n, amount: 5 });
            // What the record by hand has of its request.
            tx.details(
                "request",
                [
                    "a1b2c3", "POST", "/entries", "/entries", "10.0.0.1", "curl/8.5",
                ],
            );
            tx.details(
                "trace",
                ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"],
            );
            Ok::<_, sqlx::Error>(())
        };
        audit
            .transaction(Actor::user("ada"), "entry.create", work)
            .await
            .unwrap();
    }
}

struct ByHand {
    connections: Vec<PgConnection>,
    change: String,
    record: String,
}

impl ByHand {
    async fn connect(url: &str, variant: &Variant) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CLIENTS {
            connections.push(PgConnection::connect(url).await.unwrap());
        }
        let service = variant.service;
        Self {
            connections,
            change: format!("INSERT INTO {service} (amount, note) VALUES ($1, 'x')"),
            record: RECORD.replacen("{}", service, 1),
        }
    }

    async fn run(&mut self) {
        let clients: Vec<_> = std::mem::take(&mut self.connections)
            .into_iter()
            .map(|mut connection| {
                let (change, record) = (self.change.clone(), self.record.clone());
                tokio::spawn(async move {
                    for n in 0..TRANSACTIONS {
                        transact(&mut connection, &change, &record, n as i64).await;
                    }
                    connection
                })
            })
            .collect();
        for client in clients {
            self.connections.push(client.await.unwrap());
        }
    }
}

async fn transact(connection: &mut PgConnection, change: &str, record: &str, n: i64) {
    let sql = |text: &str| AssertSqlSafe(text.to_owned()).into_sql_str();
    sqlx::raw_sql("BEGIN")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query(sql(change))
        .bind(n)
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query(sql(record))
        .bind(n.to_string())
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("COMMIT")
        .execute(&mut *connection)
        .await
        .unwrap();
}

/// How long the UPDATE took, and its COMMIT.
async fn bulk(url: &str, variant: &Variant) -> (Duration, Duration) {
    let service = variant.service;
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut timed = async |statement: String| {
        let began = Instant::now();
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        began.elapsed()
    };
    timed(format!("VACUUM {service}")).await;
    timed("CHECKPOINT".to_owned()).await;
    timed("BEGIN".to_owned()).await;
    let update = timed(format!(
        "UPDATE {service} SET amount = amount + 1 WHERE note IS NULL"
    ))
    .await;
    timed(format!("SELECT {service}_audit.write_record(actor => 'ada', action => 'entry.raise', reason => 'to be measured')")).await;
    let commit = timed("COMMIT".to_owned()).await;
    connection.close().await.unwrap();
    (update, commit)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &mut [f64]) -> String {
    let middle = median(values);
    format!(
        "{middle:.3}  [{:.3}, {:.3}]",
        values[0],
        values[values.len() - 1]
    )
}
