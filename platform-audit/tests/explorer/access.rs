//! Who may read, and what is recorded of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri};
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use platform_audit::explorer::{Explorer, Refusal, Visitor};
use platform_audit::query::AuditQuery;
use platform_audit::{Actor, AuditDatabase};
use platform_harness::database::TestDatabase;
use tower::ServiceExt;

use super::{Site, request};

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

pub(super) fn assert_security_headers(headers: &HeaderMap) {
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

on_both! {
    every_page_has_security_headers_and_is_recorded
    an_unauthenticated_request_is_refused_and_reads_nothing
    a_cross_site_subrequest_is_refused
    a_forbidden_visitor_gets_403_and_reads_nothing
    head_responds_like_get_without_a_body
    a_read_via_a_request_records_its_client_address_and_path
}
