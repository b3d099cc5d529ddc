//! What the pages show, and where their links lead.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use platform_audit::explorer::{BearerToken, Explorer};
use platform_audit::query::AuditQuery;
use platform_audit::{Actor, AuditDatabase, AuditRecord};
use platform_harness::database::TestDatabase;
use tower::ServiceExt;

use super::{Site, link, request};

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
    links_of_a_record_match_its_own_actor_only
    hostile_text_is_escaped
    pagination_shows_three_hundred_records_once_in_both_directions
    each_heading_sorts_and_reverses_the_order
    a_record_links_to_its_trace_if_a_trace_url_is_set
    a_long_history_is_paginated
    an_export_aborted_by_the_client_is_recorded_as_incomplete
    the_timeline_covers_the_whole_period
}
