//! Invalid requests, and malformed records.

use platform_audit::AuditDatabase;
use platform_harness::database::TestDatabase;
use sqlx::{Connection, PgConnection, Postgres, SqliteConnection};

use super::Site;
use super::access::assert_security_headers;

async fn all_invalid_filters_are_reported_at_once_beside_their_fields<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    let asked = "?actor=ada+l&limit=99999&since=soon&outcome=fine&record_id=7&sort=amount&actr=x";
    let before = site.readings().await.len();
    for path in ["", "/export/csv"] {
        let page = site.get(&format!("{path}{asked}")).await;
        assert_eq!(page.status, 400, "{path}");
        assert_security_headers(&page.headers);
        for (name, label, text) in [
            (
                "limit",
                "Records a page",
                "1 to 1000: write one, such as 100",
            ),
            ("since", "From", "such as 7d"),
            ("outcome", "Outcome", "take one of success, denied"),
            ("record_id", "Record id", "such as 0198c0de"),
            ("sort", "Sort by", "take one of recorded at"),
        ] {
            let link = format!("<a href=\"#{name}\">{label}</a>");
            assert!(page.text.contains(&link), "{label}: {}", page.text);
            let beside = format!("id=\"{name}-refused\">");
            let (_, beside) = page.text.split_once(&beside).unwrap();
            let beside = beside.split("</p>").next().unwrap().replace("<wbr>", "");
            assert!(beside.contains(text), "{label}: {beside}");
        }
        // The input is kept for correction.
        for typed in ["ada l", "99999", "soon", "fine", "7", "amount"] {
            let kept = format!("value=\"{typed}\"");
            assert!(page.text.contains(&kept), "{typed}: {}", page.text);
        }
        assert!(page.text.contains("no filter of this name: actr"));
        for internal in ["unknown variant", "invalid type", "u16", "InvalidQuery"] {
            assert!(!page.text.contains(internal), "{internal}");
        }
    }
    assert_eq!(site.readings().await.len(), before, "nothing was read");
}

async fn a_period_that_ends_before_it_starts_is_reported_at_its_end<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    let page = site.get("?since=2026-11-02&until=2026-11-01").await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("id=\"until-refused\""), "{}", page.text);
}

async fn invalid_values_never_cause_a_server_error<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    let long = "x".repeat(60_000);
    let many = "a=b&".repeat(15_000);
    // A forged cursor.
    let forged_cursor = |sort: &str, key: &str| {
        let position = format!(
            r#"{{"sort":"{sort}","direction":"ascending","key":"{key}","recorded_at":"2026-11-28T00:00:00Z","id":"01a209e0-85d2-747e-8a80-c87fec65906e","before":false}}"#
        );
        let position: String = position.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("?sort={sort}&direction=ascending&cursor={position}")
    };
    for (path, status) in [
        ("?actor=%00", 400),
        ("?actor=a%00b&reason=%00", 400),
        ("?actor=%ff%fe", 200),
        ("?actor=%", 200),
        (&*format!("?actor={long}"), 400),
        (&*format!("?actr={long}"), 400),
        (&*format!("?{many}"), 400),
        ("?since=-999999999999y", 400),
        ("?since=99999-01-01", 400),
        ("?until=9999-12-30T22:00:00Z", 200),
        ("?since=9999-01-01&until=9999-12-30", 200),
        ("?cursor=7b7d", 400),
        (&*forged_cursor("actor", "ada"), 200),
        ("/history?resource_type=a&resource_id=b&resource_id=c", 400),
        ("/history?resource_type=a%00&resource_id=b", 400),
        (
            &*format!("/history?resource_type=a&resource_id={long}"),
            400,
        ),
        ("/records/%00", 400),
        ("/records/..%2f..%2fetc", 400),
        ("/export/..%2f..%2fetc%2fpasswd", 404),
        ("/export/csv%00", 404),
        ("/export/CSV", 404),
        ("/%2e%2e/%2e%2e", 404),
    ] {
        let page = site.get(path).await;
        let start: String = path.chars().take(60).collect();
        assert_eq!(page.status, status, "{start} {}", page.text);
        assert!(page.text.len() < 200_000, "{start}: {}", page.text.len());
        assert_security_headers(&page.headers);
    }
    // Postgres rejects these, SQLite compares them as text.
    for (sort, key) in [
        ("actor", r"\u0000"),
        ("occurred_at", "soon"),
        ("status", "many"),
        ("status", "99999999999999999999"),
    ] {
        let page = site.get(&forged_cursor(sort, key)).await;
        assert!(
            matches!(page.status.as_u16(), 200 | 400),
            "{sort}: {}",
            page.text
        );
    }
}

/// Inserts a record with manual SQL, which the service's role may do.
async fn insert_by_hand(database: &TestDatabase, changes: &str) {
    let columns = "id, xid, occurred_at, service, actor_kind, actor_id, action, outcome, resource_type, resource_id, changes";
    let values =
        "'2026-11-28T00:00:00Z', 'ledger', 'user', 'eve', 'entry.note', 'success', 'entry', '7'";
    let id = "01a209e0-85d2-747e-8a80-c87fec65906e";
    if database.url().starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(database.url()).await.unwrap();
        let insert = format!(
            "INSERT INTO ledger_audit_record ({columns}) VALUES ('{id}', '1', {values}, $1)"
        );
        let insert = sqlx::query(sqlx::AssertSqlSafe(insert)).bind(changes);
        insert.execute(&mut connection).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        let columns = columns.replace("xid, ", "");
        let insert = format!(
            "INSERT INTO ledger_audit.record ({columns}) VALUES ('{id}', {values}, $1::jsonb)"
        );
        let insert = sqlx::query::<Postgres>(sqlx::AssertSqlSafe(insert)).bind(changes);
        insert.execute(&mut connection).await.unwrap();
    }
}

async fn malformed_changes_are_shown_as_stored<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    insert_by_hand(&database, r#"{"amount": "<b>1</b>"}"#).await;
    let id = site.only_id().await;
    for path in [
        format!("/records/{id}"),
        "/history?resource_type=entry&resource_id=7".to_owned(),
    ] {
        let page = site.get(&path).await;
        assert_eq!(page.status, 200);
        // The store may format JSON with different whitespace.
        let text = page.text.replace("<wbr>", "").replace(": ", ":");
        assert!(text.contains("Malformed changes"), "{path}: {text}");
        assert!(
            text.contains("{&quot;amount&quot;:&quot;&lt;b&gt;1&lt;/b&gt;&quot;}"),
            "{path}: {text}"
        );
        assert!(!text.contains("No field changed"), "{path}: {text}");
    }
    let list = site.get("").await.text;
    assert!(list.contains("Malformed record"), "{list}");
}

/// Postgres only: SQLite enforces that an id is unique.
#[tokio::test]
async fn a_duplicate_id_shows_a_warning_and_all_its_records() {
    let database = TestDatabase::postgres().await;
    let site = Site::<Postgres>::new(&database).await;
    insert_by_hand(&database, r#"{"amount": {"before": 1}}"#).await;
    let id = site.only_id().await;
    let page = site.get(&format!("/records/{id}")).await;
    assert!(!page.text.contains("have this id"), "{}", page.text);
    let again = "INSERT INTO ledger_audit.record (id, recorded_at, occurred_at, service, actor_kind, actor_id, action, outcome)
        SELECT id, '2025-01-02', occurred_at, service, actor_kind, 'mallory', action, outcome FROM ledger_audit.record WHERE actor_id = 'eve'";
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    sqlx::query(again).execute(&mut connection).await.unwrap();
    let page = site.get(&format!("/records/{id}")).await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("2 records have this id"),
        "{}",
        page.text
    );
    for actor in ["mallory", "eve"] {
        let shown = format!("<dt>Actor</dt><dd><bdi>{actor}</bdi></dd>");
        assert!(
            page.text.replace("<wbr>", "").contains(&shown),
            "{actor}: {}",
            page.text
        );
    }
}

on_both! {
    all_invalid_filters_are_reported_at_once_beside_their_fields
    a_period_that_ends_before_it_starts_is_reported_at_its_end
    invalid_values_never_cause_a_server_error
    malformed_changes_are_shown_as_stored
}
