use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer, TracerProvider};

use super::Database;
use super::sanitize::{DoubleQuotes, sanitized};
use super::summary::{Summary, summary};
use crate::testing::Capture;

/// Emits a statement's event as sqlx-core 0.9 does.
fn emit(sql: &str, elapsed: Duration) {
    let mut summary = sql.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    let sql = if summary == sql {
        String::new()
    } else {
        summary.push_str(" …");
        format!("\n\n{sql}\n")
    };
    tracing::debug!(
        target: "sqlx::query",
        summary,
        db.statement = sql,
        rows_affected = 0_u64,
        rows_returned = 1_u64,
        ?elapsed,
        elapsed_secs = elapsed.as_secs_f64(),
    );
}

#[test]
fn the_summary_of_a_statement_has_its_operations_and_tables() {
    for (sql, expected, operation, table) in [
        ("SELECT 1", "SELECT", Some("SELECT"), None),
        (
            "select * from entry where id = $1",
            "SELECT entry",
            Some("SELECT"),
            Some("entry"),
        ),
        (
            "SELECT * FROM \"accounting\".\"entry\" e",
            "SELECT accounting.entry",
            Some("SELECT"),
            Some("accounting.entry"),
        ),
        (
            "SELECT * FROM accounting.entry AS e, draft d WHERE e.id = d.id",
            "SELECT accounting.entry draft",
            Some("SELECT"),
            None,
        ),
        (
            "SELECT * FROM entry e JOIN line l USING (id) LEFT JOIN entry p ON p.id = e.id",
            "SELECT entry line entry",
            Some("SELECT"),
            None,
        ),
        (
            "INSERT INTO entry (id, amount) VALUES ($1, 'x') ON CONFLICT DO UPDATE SET a = 1 RETURNING id",
            "INSERT entry",
            Some("INSERT"),
            Some("entry"),
        ),
        (
            "INSERT INTO entry SELECT * FROM draft",
            "INSERT entry SELECT draft",
            None,
            None,
        ),
        (
            "UPDATE ONLY entry SET a = 'FROM secret'",
            "UPDATE entry",
            Some("UPDATE"),
            Some("entry"),
        ),
        (
            "DELETE FROM entry WHERE id IN (SELECT id FROM old)",
            "DELETE entry SELECT old",
            None,
            None,
        ),
        (
            "DELETE FROM entry USING old WHERE true",
            "DELETE entry old",
            Some("DELETE"),
            None,
        ),
        (
            "SELECT * FROM entry WHERE id = 7 FOR UPDATE",
            "SELECT entry",
            Some("SELECT"),
            Some("entry"),
        ),
        (
            "SELECT EXTRACT(year FROM at), trim(both from name), a IS DISTINCT FROM b FROM entry",
            "SELECT entry",
            Some("SELECT"),
            Some("entry"),
        ),
        (
            "SELECT * FROM generate_series(1, 7) g",
            "SELECT",
            Some("SELECT"),
            None,
        ),
        (
            "WITH a AS (SELECT * FROM b) INSERT INTO c (d) SELECT * FROM a",
            "SELECT b INSERT c SELECT a",
            None,
            None,
        ),
        ("BEGIN; SET LOCAL x.y = 'secret'", "BEGIN SET", None, None),
        ("COMMIT", "COMMIT", Some("COMMIT"), None),
        (
            "CREATE TABLE IF NOT EXISTS a.entry (id int)",
            "CREATE a.entry",
            Some("CREATE"),
            Some("a.entry"),
        ),
        (
            "CREATE INDEX entry_by_id ON entry (id)",
            "CREATE",
            Some("CREATE"),
            None,
        ),
        (
            "TRUNCATE TABLE entry",
            "TRUNCATE entry",
            Some("TRUNCATE"),
            Some("entry"),
        ),
        (
            "/* a comment */ SELECT 1 -- FROM secret",
            "SELECT",
            Some("SELECT"),
            None,
        ),
        (
            "GRANT SELECT ON entry TO alice",
            "GRANT",
            Some("GRANT"),
            None,
        ),
        (
            "REVOKE SELECT ON entry FROM alice",
            "REVOKE",
            Some("REVOKE"),
            None,
        ),
        ("COPY entry FROM 'secret'", "COPY", Some("COPY"), None),
        ("NOTIFY alice", "NOTIFY", Some("NOTIFY"), None),
        ("SET ROLE alice", "SET", Some("SET"), None),
        ("alice", "", None, None),
        (
            "SELECT * FROM entry WHERE name = 'unterminated",
            "SELECT entry",
            None,
            None,
        ),
        ("", "", None, None),
    ] {
        let expected = Summary {
            text: expected.to_owned(),
            operation,
            table: table.map(str::to_owned),
        };
        assert_eq!(summary(sql), expected, "{sql}");
    }
    let long = format!(
        "SELECT * FROM {}",
        (0..500)
            .map(|n| format!("t{n}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let summary = summary(&long).text;
    assert!(
        summary.len() <= 255 && summary.starts_with("SELECT t0 t1"),
        "{summary}"
    );
}

#[test]
fn literals_are_replaced_in_the_statements_text() {
    for (sql, expected) in [
        (
            "SELECT * FROM a WHERE b = 'secret' AND c = $1",
            "SELECT * FROM a WHERE b = ? AND c = $1",
        ),
        (
            "SELECT 'it''s secret', E'a\\'secret', 12.5e-3, .5, 0xFF, -7",
            "SELECT ?, ?, ?, ?, ?, - ?",
        ),
        (
            "SELECT B'01', X'ff', N'secret', _utf8'secret', DATE '2026-11-23'",
            "SELECT ?, ?, ?, ?, DATE ?",
        ),
        (
            "SELECT $$secret$$, $a$ secret $$ secret $a$, $1",
            "SELECT ?, ?, $1",
        ),
        (
            "SELECT 1 -- secret\n, 2 /* secret ' */ , 3",
            "SELECT ?, ?, ?",
        ),
        (
            "SELECT \"a\".\"b\", \"secret of @ somebody\"",
            "SELECT \"a\".\"b\", ?",
        ),
        (
            "SELECT a[1]::text, ?1, :name, @name",
            "SELECT a[?]::text, ?1, :name, @name",
        ),
        ("BEGIN; COMMIT;", "BEGIN; COMMIT;"),
        ("SELECT '\u{202e}secret\0'", "SELECT ?"),
        ("SELECT 'a' 'secret'\n'secret'", "SELECT ? ? ?"),
    ] {
        assert_eq!(
            sanitized(sql, DoubleQuotes::Names).as_deref(),
            Some(expected),
            "{sql}"
        );
    }
    assert_eq!(
        sanitized("SELECT \"secret\"", DoubleQuotes::NamesOrStrings).as_deref(),
        Some("SELECT ?")
    );
    assert_eq!(
        sanitized("SELECT `secret`", DoubleQuotes::NamesOrStrings).as_deref(),
        Some("SELECT ?")
    );
}

#[test]
fn an_ambiguous_statement_has_no_text() {
    for sql in [
        "SELECT 'unterminated secret",
        "SELECT \"unterminated secret",
        "SELECT $$unterminated secret",
        "SELECT /* unterminated secret",
        // The string ends at the first quote in one database, at the last in another.
        r"SELECT 'a\' secret ', 'b'",
        r"SELECT 'a\\' , ' secret '",
        "SELECT /* /* */ ' */ secret ' x '",
        "SELECT /* /* */ ' */ 'secret' /* ' */",
        "SELECT /*! secret */ 1",
        "SELECT 5--'\nsecret '\n",
        "SELECT 5--'\nsecret\n-- '",
        r"SELECT 'a\' , secret , ' -- '",
        "SELECT 1 # ' \n secret '",
        "SELECT \"a\"\" secret\"",
        "SELECT U&'secret' UESCAPE '!'",
        "SELECT `a``secret`",
        "SET LOCAL a.b = secret",
        "NOTIFY secret",
        "COPY a FROM 'secret'",
        "ALTER ROLE a PASSWORD 'secret'",
        "BEGIN; SET LOCAL a.b = secret",
        "(SELECT 'secret')",
        "SELECT \u{0} secret",
        "secret",
        "",
    ] {
        assert_eq!(sanitized(sql, DoubleQuotes::Names), None, "{sql}");
    }
    assert_eq!(
        sanitized(&"SELECT 1; ".repeat(10_000), DoubleQuotes::Names),
        None
    );
}

proptest::proptest! {
    /// The contents of a standard SQL string are never recorded, for any surrounding text, and no
    /// text makes the lexer panic.
    #[test]
    fn the_contents_of_strings_are_never_recorded(before in ".{0,40}", data in "[a-z' \"\\\\$/*-]{0,20}", after in ".{0,40}") {
        let quoted = format!("'zqx{}zqx'", data.replace('\'', "''"));
        for sql in [format!("SELECT {quoted} {after}"), format!("SELECT a, {quoted}, {quoted}"), format!("{before}{quoted}{after}")] {
            summary(&sql);
            sanitized(&sql, DoubleQuotes::NamesOrStrings);
        }
        for sql in [format!("SELECT {quoted} FROM a"), format!("SELECT {quoted} {after}"), format!("SELECT a, {quoted}, {quoted}")] {
            let text = sanitized(&sql, DoubleQuotes::Names).unwrap_or_default();
            proptest::prop_assert!(!text.contains("zqx"), "{} became {}", sql, text);
            proptest::prop_assert!(!summary(&sql).text.contains("zqx"));
        }
    }
}

#[test]
fn a_statement_has_a_span_below_its_caller_and_a_duration() {
    let database = Database::postgresql()
        .server("db.internal", 5432)
        .namespace("ledger");
    let capture = Capture::with_database(&database);
    let elapsed = Duration::from_millis(250);
    tracing::info_span!("caller").in_scope(|| {
        emit(
            "INSERT INTO entry (iban) VALUES ('DE02120300000000202051')",
            elapsed,
        );
    });
    let span = capture.span("INSERT entry");
    span.has("db.system.name", "postgresql")
        .has("db.operation.name", "INSERT")
        .has("db.collection.name", "entry")
        .has("db.query.summary", "INSERT entry")
        .has("db.namespace", "ledger")
        .has("server.address", "db.internal")
        .has("server.port", 5432)
        .lacks("db.query.text");
    assert_eq!(span.0.span_kind, SpanKind::Client);
    assert_eq!(
        span.0.parent_span_id,
        capture.span("caller").0.span_context.span_id()
    );
    assert_eq!(
        span.0.end_time.duration_since(span.0.start_time).unwrap(),
        elapsed
    );
    let point = capture.point("db.client.operation.duration");
    point
        .has("db.operation.name", "INSERT")
        .has("db.collection.name", "entry")
        .lacks("db.query.text");
    assert_eq!((point.count, point.sum), (1, 0.25));
    assert_eq!(point.bounds.len(), 9);
    assert!(!format!("{:?}", capture.spans()).contains("DE02"));
    assert_eq!(capture.logs().len(), 0, "the statement is not logged");
}

#[test]
fn the_statements_text_is_recorded_only_if_enabled() {
    let capture = Capture::with_database(&Database::postgresql().record_query_text());
    let caller = tracing::info_span!("caller").entered();
    emit("SELECT * FROM entry WHERE iban = 'DE02'", Duration::ZERO);
    emit("BEGIN", Duration::ZERO);
    emit("SET LOCAL a.b = 'DE02'", Duration::ZERO);
    drop(caller);
    capture
        .span("SELECT entry")
        .has("db.query.text", "SELECT * FROM entry WHERE iban = ?");
    capture.span("BEGIN").has("db.query.text", "BEGIN");
    capture.span("SET").lacks("db.query.text");
}

#[test]
fn a_statement_outside_a_trace_is_only_measured() {
    let capture = Capture::with_database(&Database::sqlite());
    emit("SELECT 1", Duration::ZERO);
    assert_eq!(capture.spans().len(), 0);
    capture
        .point("db.client.operation.duration")
        .has("db.system.name", "sqlite");
}

#[test]
fn statements_of_an_export_are_not_recorded() {
    let capture = Capture::with_database(&Database::sqlite());
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let span = provider.tracer("test").start("sampled");
    let _caller = Context::new().with_span(span).attach();
    let suppressed = Context::enter_telemetry_suppressed_scope();
    emit("SELECT 1", Duration::ZERO);
    drop(suppressed);
    assert_eq!(capture.points("db.client.operation.duration").len(), 0);
    assert_eq!(capture.spans().len(), 0);
    emit("SELECT 1", Duration::ZERO);
    assert_eq!(capture.spans().len(), 1);
}
