//! The explorer over HTTP, on both stores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {$(
            #[tokio::test]
            async fn $name() {
                super::$name::<sqlx::Sqlite>(platform_harness::database::TestDatabase::sqlite()).await;
            }
        )*}
        mod postgres {$(
            #[tokio::test]
            async fn $name() {
                super::$name::<sqlx::Postgres>(platform_harness::database::TestDatabase::postgres().await).await;
            }
        )*}
    };
}

mod browser;
mod invalid_input;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use platform_audit::explorer::{BearerToken, Explorer, Refusal, Visitor};
use platform_audit::query::{AuditQuery, AuditReader};
use platform_audit::{Actor, Audit, AuditDatabase, AuditRecord};
use platform_harness::database::TestDatabase;
use sqlx::Pool;
use tower::ServiceExt;

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

struct Site<DB: AuditDatabase> {
    router: Router,
    audit: Audit<DB>,
    reader: AuditReader<DB>,
}

impl<DB: AuditDatabase> Site<DB> {
    async fn new(database: &TestDatabase) -> Self {
        let pool = Pool::<DB>::connect(database.url()).await.unwrap();
        let audit = Audit::builder(pool.clone(), "ledger")
            .client_address_from(|request| {
                request.headers.get("x-client")?.to_str().ok()?.parse().ok()
            })
            .development(true);
        let audit = audit.start().await.unwrap();
        let reader = AuditReader::new(pool, "ledger").unwrap();
        let access = BearerToken::new("secret", Actor::user("officer"));
        let explorer = audit
            .explorer(access)
            .trace_url("https://t.example/{trace_id}");
        let router = Router::new().nest("/ops/audit", explorer.router());
        Self {
            router,
            audit,
            reader,
        }
    }

    async fn write(&self, actor: &str, id: &str, reason: &str) {
        let written = self
            .audit
            .transaction(Actor::user(actor), "entry.note", async |tx| {
                tx.record("entry", id);
                tx.reason(reason);
                Ok::<_, std::io::Error>(())
            });
        written.await.unwrap();
    }

    async fn ask(&self, method: &str, address: &str, token: &str) -> Page {
        request(&self.router, method, address, token).await
    }

    async fn get(&self, path: &str) -> Page {
        self.ask("GET", &format!("/ops/audit{path}"), "secret")
            .await
    }

    /// The records of reads by the visitor, oldest first.
    async fn readings(&self) -> Vec<AuditRecord> {
        let query = AuditQuery::new()
            .action("audit.read")
            .actor("officer")
            .limit(1000);
        let test = self.reader.read_as(Actor::system("test"));
        let mut records = test.page(&query, None).await.unwrap().records;
        records.reverse();
        records
    }

    async fn only_id(&self) -> String {
        let test = self.reader.read_as(Actor::system("test"));
        let page = test
            .page(&AuditQuery::new().action("entry.note"), None)
            .await
            .unwrap();
        page.records[0].id.to_string()
    }
}

async fn request(router: &Router, method: &str, address: &str, token: &str) -> Page {
    let request = Request::builder().method(method).uri(address);
    let request = request
        .header("authorization", format!("Bearer {token}"))
        .header("x-client", "203.0.113.9");
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Page {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// The `href` of the link that contains `mark`.
fn link(page: &str, mark: &str) -> Option<String> {
    let tag = page
        .split("<a ")
        .skip(1)
        .find(|tag| tag.split('>').next().is_some_and(|it| it.contains(mark)))?;
    let address = tag.split_once("href=\"")?.1.split('"').next()?;
    Some(address.replace("&amp;", "&"))
}

async fn every_page_has_security_headers_and_is_recorded<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    site.write("ada", "7", "first").await;
    site.write("ada", "7", "second").await;
    let id = site.only_id().await;
    for (path, status, text) in [
        ("", 200, "entry.note"),
        ("?actor=ada", 200, "This actor&#39;s actions"),
        ("?actor=ada&since=soon", 400, "value=\"ada\""),
        ("?cursor=beef", 400, "cursor is malformed"),
        (&format!("/records/{id}"), 200, "History of this resource"),
        ("/records/x", 400, "32 hexadecimal"),
        (
            "/records/00000000-0000-0000-0000-000000000000",
            404,
            "no record",
        ),
        ("/history?resource_type=entry&resource_id=7", 200, "first"),
        ("/history", 400, "resource_type"),
        ("/nothing", 404, "no such page"),
        ("/style.css", 200, "prefers-color-scheme"),
        ("/export/jsonl?actor=ada", 200, "\"reason\":\"second\""),
        ("/export/jsonl?actr=ada", 400, "actr"),
    ] {
        let page = site.get(path).await;
        assert_eq!(page.status, status, "{path} {}", page.text);
        let text = text.replace("&#39;", "'");
        assert!(page.text.contains(&text), "{path} {}", page.text);
        assert_security_headers(&page.headers);
    }
    let refused = site.ask("POST", "/ops/audit", "secret").await;
    assert_eq!(refused.status, 405);
    assert_security_headers(&refused.headers);

    let kinds: Vec<_> = site
        .readings()
        .await
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it.details["kind"].as_str().unwrap(),
                it.details["records"]
            )
        })
        .collect();
    for kind in [
        "page 2",
        "page 1",
        "page 0",
        "summary 1",
        "export 0",
        "exported 2",
    ] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    }
    let readings = site.readings().await;
    for reading in &readings {
        let address = reading.client_address.as_deref();
        assert_eq!(address, Some("203.0.113.9"), "from client_address_from");
    }
    let paths: BTreeSet<_> = readings.into_iter().filter_map(|it| it.path).collect();
    assert!(
        paths.contains(&format!("/ops/audit/records/{id}")),
        "{paths:?}"
    );
}

fn assert_security_headers(headers: &HeaderMap) {
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
    assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
}

async fn an_unauthenticated_request_is_refused_and_reads_nothing<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    site.write("ada", "7", "first").await;
    let id = site.only_id().await;
    for path in [
        "",
        "/history?resource_type=entry&resource_id=7",
        "/export/jsonl",
        &format!("/records/{id}"),
    ] {
        for token in ["", "secreT", "secret1"] {
            let page = site.ask("GET", &format!("/ops/audit{path}"), token).await;
            assert_eq!(page.status, 401, "{path}");
            assert!(!page.text.contains("ada") && !page.text.contains("first"));
            assert_security_headers(&page.headers);
        }
    }
    assert_eq!(site.readings().await.len(), 0);
}

async fn a_cross_site_subrequest_is_refused<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    site.write("ada", "7", "first").await;
    let none = ("x-nothing", "");
    let ahead = ("sec-purpose", "prefetch;prerender");
    for (path, from, into, more, expected) in [
        ("", "cross-site", "image", none, 403),
        ("", "Cross-Site", "image", none, 403),
        ("?actor=ceo", "same-site", "iframe", none, 403),
        ("/export/jsonl", "cross-site", "document", none, 403),
        ("", "same-site", "document", ahead, 403),
        ("", "same-origin", "document", ahead, 200),
        // Headers repeated by a proxy or a custom client.
        (
            "",
            "same-origin",
            "image",
            ("sec-fetch-site", "cross-site"),
            403,
        ),
        (
            "",
            "cross-site",
            "document",
            ("sec-fetch-dest", "image"),
            403,
        ),
        ("", "cross-site", "document", none, 200),
        ("/export/jsonl", "same-origin", "document", none, 200),
        ("", "none", "document", none, 200),
    ] {
        let before = site.readings().await.len();
        let request = Request::builder()
            .uri(format!("/ops/audit{path}"))
            .header("authorization", "Bearer secret")
            .header("sec-fetch-site", from)
            .header("sec-fetch-dest", into)
            .header(more.0, more.1);
        let request = request.body(Body::empty()).unwrap();
        let response = site.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected, "{path} {from} {into} {more:?}");
        response.into_body().collect().await.unwrap();
        let is_read = site.readings().await.len() > before;
        assert_eq!(is_read, expected == 200, "{path} {from} {into} {more:?}");
    }
}

async fn links_of_a_record_match_its_own_actor_only<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    site.write("ada\u{a0}", "7", "first").await;
    let id = site.only_id().await;
    let page = site.get(&format!("/records/{id}")).await.text;
    assert!(!page.contains("Same actor"), "{page}");
    site.write("ada", "8", "second").await;
    let test = site.reader.read_as(Actor::system("test"));
    let whose = AuditQuery::new().action("entry.note").actor("ada");
    let records = test.page(&whose, None).await.unwrap().records;
    let page = site.get(&format!("/records/{}", records[0].id)).await.text;
    assert!(page.contains("Same actor"), "{page}");
    // Repeated filters are all kept, in the query and in the form.
    for path in ["?actor=bob&actor=ada", "?actor=bob%2Cada"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("value=\"bob,ada\""), "{}", page.text);
        assert!(page.text.contains("1 on this page"), "{}", page.text);
    }
    for (path, expected) in [
        ("?sort=actor&sort=action", "twice"),
        ("?actor=ad*", "is a pattern"),
    ] {
        let page = site.get(path).await;
        assert_eq!(page.status, 400);
        assert!(page.text.contains(expected), "{}", page.text);
    }
}

async fn a_read_via_a_request_records_its_client_address_and_path<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    let request = Request::builder()
        .uri("/inside")
        .header("x-client", "203.0.113.9");
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let peer: SocketAddr = "[::ffff:192.0.2.7]:4711".parse().unwrap();
    parts.extensions.insert(ConnectInfo(peer));
    // As under `nest`.
    let whole = OriginalUri("/outside/inside".parse().unwrap());
    parts.extensions.insert(whole);
    let from_header =
        |request: &Parts| request.headers.get("x-client")?.to_str().ok()?.parse().ok();
    for (reader, address) in [
        (site.reader.clone(), "192.0.2.7"),
        (
            site.reader.clone().client_address_from(from_header),
            "203.0.113.9",
        ),
    ] {
        let reading = reader.read_as(Actor::user("officer")).via_request(&parts);
        reading.page(&AuditQuery::new(), None).await.unwrap();
        let reading = site.readings().await.pop().unwrap();
        assert_eq!(reading.client_address.as_deref(), Some(address));
        assert_eq!(reading.path.as_deref(), Some("/outside/inside"));
    }
}

async fn hostile_text_is_escaped<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    let hostile = "\"><script>alert(1)</script>\u{202e}";
    let long = format!("{hostile}{}", "x".repeat(1 << 20));
    site.write(hostile, hostile, &long).await;
    let id = site.only_id().await;
    let encoded = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE";
    for path in [
        "".to_owned(),
        format!("/records/{id}"),
        format!("?actor={encoded}&outcome={encoded}"),
        format!("?sort={encoded}&method={encoded}"),
        format!("?actor={encoded}"),
        format!("/history?resource_type=entry&resource_id={encoded}"),
    ] {
        let page = site.get(&path).await;
        assert!(!page.text.contains("<script"), "{path}");
        assert!(page.text.contains("&lt;script&gt;"), "{path}");
        assert!(page.text.contains("‹U+202E›"), "{path} {}", page.text);
        assert!(page.text.len() < 100_000, "{path}");
    }
}

async fn pagination_shows_three_hundred_records_once_in_both_directions<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    for n in 0..300 {
        site.write("ada", &n.to_string(), "counted").await;
    }
    let mut address = "/ops/audit?action=entry.note&limit=70".to_owned();
    for mark in ["rel=\"next\"", "rel=\"prev\""] {
        let mut seen = Vec::new();
        loop {
            let page = site.ask("GET", &address, "secret").await;
            assert_eq!(page.status, 200, "{address}");
            let records = page.text.split("href=\"/ops/audit/records/").skip(1);
            seen.extend(records.map(|it| it[..36].to_owned()));
            match link(&page.text, mark) {
                Some(next) => address = next,
                None => break,
            }
        }
        let once: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), once.len()), (300, 300), "{mark}");
    }
}

async fn a_forbidden_visitor_gets_403_and_reads_nothing<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    site.write("ada", "7", "first").await;
    let nobody = |_: &http::request::Parts| Err::<Visitor, _>(Refusal::Forbidden);
    let router = Explorer::new(site.reader.clone(), nobody).router();
    for path in ["/", "/export/csv", "/nothing"] {
        let page = request(&router, "GET", path, "secret").await;
        assert_eq!(page.status, 403, "{path}");
        assert!(page.text.contains("You may not view this audit log."));
        assert!(!page.headers.contains_key("www-authenticate"));
        assert_security_headers(&page.headers);
    }
    assert_eq!(site.readings().await.len(), 0);
}

async fn head_responds_like_get_without_a_body<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    site.write("ada", "7", "first").await;
    for path in ["", "/history?resource_type=entry&resource_id=7"] {
        let address = format!("/ops/audit{path}");
        let page = site.ask("HEAD", &address, "secret").await;
        assert_eq!((page.status.as_u16(), page.text.len()), (200, 0), "{path}");
        assert_security_headers(&page.headers);
        assert_eq!(site.ask("HEAD", &address, "").await.status, 401, "{path}");
    }
    // HEAD of an export reads nothing.
    let page = site.ask("HEAD", "/ops/audit/export/csv", "secret").await;
    assert_eq!((page.status.as_u16(), page.text.len()), (200, 0));
    assert_security_headers(&page.headers);
    let readings = site.readings().await;
    assert!(!readings.iter().any(|it| it.details["kind"] == "export"));
}

async fn each_heading_sorts_and_reverses_the_order<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    for (actor, id) in [("anna", "2"), ("grace", "3"), ("linus", "1")] {
        site.write(actor, id, id).await;
    }
    // Names that cannot occur in a hexadecimal number.
    let order = |text: &str| -> Vec<usize> {
        let rows = text.split_once("<tbody>").unwrap().1;
        ["anna", "grace", "linus"]
            .map(|it| rows.find(it).unwrap())
            .into()
    };
    let mut address = "/ops/audit?action=entry.note".to_owned();
    for (heading, sort) in [
        ("Actor", "actor"),
        ("Action", "action"),
        ("Resource", "resource_type"),
        ("Outcome", "outcome"),
        ("Status", "status"),
        ("Address", "client_address"),
        ("Reason", "reason"),
        ("Recorded", "recorded_at"),
    ] {
        for direction in ["ascending", "descending"] {
            // Headings are links; ties are sorted by time, newest first.
            let page = site.ask("GET", &address, "secret").await;
            assert_eq!(page.status, 200, "{address}");
            let (_, table) = page.text.split_once("<thead>").unwrap();
            let (before, _) = table.split_once(&format!(">{heading}<")).unwrap();
            let tag = before.rsplit_once("href=\"").unwrap().1;
            address = tag.split('"').next().unwrap().replace("&amp;", "&");
            let direction = match (sort, direction) {
                ("recorded_at", "ascending") => "descending",
                ("recorded_at", _) => "ascending",
                (_, direction) => direction,
            };
            let sorted = site.ask("GET", &address, "secret").await.text;
            let marked = format!("<th scope=\"col\" aria-sort=\"{direction}\">");
            let (_, marked) = sorted.split_once(&marked).unwrap();
            assert!(
                marked.split_once("</th>").unwrap().0.contains(heading),
                "{address}"
            );
            let [anna, grace, linus] = order(&sorted)[..] else {
                panic!()
            };
            let is_right = match (heading, direction) {
                ("Actor" | "Recorded", "ascending") => anna < grace && grace < linus,
                ("Actor" | "Recorded", _) => linus < grace && grace < anna,
                ("Reason", "ascending") => linus < anna && anna < grace,
                ("Reason", _) => grace < anna && anna < linus,
                _ => true, // all values are equal
            };
            assert!(is_right, "{address}");
        }
    }
}

async fn a_record_links_to_its_trace_if_a_trace_url_is_set<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    let id = "0af7651916cd43dd8448eb211c80319c";
    let context = SpanContext::new(
        TraceId::from_hex(id).unwrap(),
        SpanId::from_hex("b7ad6b7169203331").unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let context = Context::new().with_remote_span_context(context);
    site.write("ada", "7", "traced").with_context(context).await;
    let id_of_record = site.only_id().await;
    let page = site.get(&format!("/records/{id_of_record}")).await.text;
    assert!(
        page.contains(&format!("href=\"https://t.example/{id}\"")),
        "{page}"
    );
    assert!(page.contains(&format!("href=\"/ops/audit?trace_id={id}\"")));

    // Without a URL template there is no link.
    let access = BearerToken::new("secret", Actor::user("officer"));
    let router = Explorer::new(site.reader.clone(), access).router();
    let page = request(
        &router,
        "GET",
        &format!("/records/{id_of_record}"),
        "secret",
    )
    .await;
    assert!(page.text.contains("Same trace") && !page.text.contains("t.example"));
}

async fn an_export_aborted_by_the_client_is_recorded_as_incomplete<DB: AuditDatabase>(
    database: TestDatabase,
) {
    let site = Site::<DB>::new(&database).await;
    for n in 0..5 {
        site.write("ada", &n.to_string(), "first").await;
    }
    let finished_exports = async |expected: usize| -> Vec<AuditRecord> {
        // Recorded once the closed connection is noticed.
        for _ in 0..600 {
            let mut readings = site.readings().await;
            readings.retain(|it| it.details["kind"] == "exported");
            if readings.len() == expected {
                return readings;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("there are no {expected} exports that ended");
    };
    for format in ["jsonl", "csv", "parquet"] {
        let address = format!("/ops/audit/export/{format}?actor=ada");
        let request = Request::builder().uri(&address);
        let request = request.header("authorization", "Bearer secret");
        let request = request.body(Body::empty()).unwrap();
        let response = site.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        if format == "csv" {
            // The whole export is buffered.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        drop(response);
    }
    for reading in finished_exports(3).await {
        assert_eq!(reading.details["complete"], false, "{reading:?}");
    }
    let whole = site.get("/export/jsonl?actor=ada").await;
    assert_eq!(whole.text.lines().count(), 5);
    let readings = finished_exports(4).await;
    let last = readings.last().unwrap();
    assert_eq!(last.details["complete"], true, "{last:?}");
    assert_eq!(last.details["records"], 5, "{last:?}");
}

async fn the_timeline_covers_the_whole_period<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    for n in 0..3 {
        site.write("ada", &n.to_string(), "counted").await;
    }
    for (period, heading) in [
        ("", "Records a day"),
        ("since=7d", "Records a day"),
        ("since=90d", "Records a week"),
        ("since=3650d", "Records a month"),
    ] {
        let page = site.get(&format!("?actor=ada&{period}")).await.text;
        let (_, timeline) = page.split_once("id=\"timeline\"").unwrap();
        assert!(timeline.contains(heading), "{heading}: {timeline}");
        // Each bar links to the records it counts.
        let (_, numbers) = timeline.split_once("<ul class=\"counts\">").unwrap();
        let address = link(numbers, "/ops/audit?").unwrap();
        let bar = site.ask("GET", &address, "secret").await.text;
        assert!(bar.contains("3 on this page"), "{address} {bar}");
    }
}

async fn a_long_history_is_paginated<DB: AuditDatabase>(database: TestDatabase) {
    let site = Site::<DB>::new(&database).await;
    for n in 0..250 {
        site.write("ada", "7", &format!("change {n:03}.")).await;
    }
    let mut address = "/ops/audit/history?resource_type=entry&resource_id=7".to_owned();
    let mut seen = Vec::new();
    let mut shown = 0;
    loop {
        let page = site.ask("GET", &address, "secret").await.text;
        let changes = page.split(": <bdi>change ").skip(1);
        seen.extend(changes.map(|it| it[..3].parse::<usize>().unwrap()));
        shown += 1;
        match link(&page, "rel=\"next\"") {
            Some(next) => address = next,
            None => break,
        }
    }
    assert!(shown > 1);
    assert_eq!(seen, (0..250).collect::<Vec<_>>());
}

on_both! {
    every_page_has_security_headers_and_is_recorded
    an_unauthenticated_request_is_refused_and_reads_nothing
    a_cross_site_subrequest_is_refused
    links_of_a_record_match_its_own_actor_only
    a_read_via_a_request_records_its_client_address_and_path
    hostile_text_is_escaped
    pagination_shows_three_hundred_records_once_in_both_directions
    a_forbidden_visitor_gets_403_and_reads_nothing
    head_responds_like_get_without_a_body
    each_heading_sorts_and_reverses_the_order
    a_record_links_to_its_trace_if_a_trace_url_is_set
    a_long_history_is_paginated
    an_export_aborted_by_the_client_is_recorded_as_incomplete
    the_timeline_covers_the_whole_period
}
