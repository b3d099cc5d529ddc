//! The explorer in Chromium.

use axum::Router;
use axum::response::{Html, Redirect};
use axum::routing::get;
use http::request::Parts;
use platform_audit::explorer::{Explorer, Refusal, Visitor};
use platform_audit::{Actor, Auditable};
use platform_harness::browser::Browser;
use platform_harness::database::TestDatabase;
use serde::Serialize;
use serde_json::Value;
use sqlx::Postgres;
use thirtyfour::prelude::ElementQueryable;
use thirtyfour::{By, Key, WebElement};

use super::Site;

/// Texts that would run a script if they were not escaped, one for each context in which browsers
/// accept scripts.
const HOSTILE: &str = "\"'><script>window.ran = 1</script><img src=x onerror=\"window.ran = 1\"><svg onload='window.ran = 1'>\u{202e}</title>";

#[derive(Auditable, Serialize)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: u32,
    amount: u32,
    note: String,
}

/// A served explorer, and a browser.
struct BrowserPage {
    site: Site<Postgres>,
    browser: Browser,
    address: String,
    _database: TestDatabase,
}

impl BrowserPage {
    async fn open(scripts: bool) -> Self {
        let database = TestDatabase::postgres().await;
        let site = Site::<Postgres>::new(&database).await;
        let everybody = |_: &Parts| Ok::<_, Refusal>(Visitor::new(Actor::user("officer")));
        let explorer = Explorer::new(site.reader.clone(), everybody);
        let explorer = explorer.trace_url("https://traces.example.com/{trace_id}");
        let router = Router::new()
            .nest("/audit", explorer.router())
            .route("/", get(async || Redirect::temporary("/audit")))
            .route(
                "/careless",
                get(async || Html(format!("<p title=\"{HOSTILE}"))),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self {
            site,
            browser: Browser::start(scripts).await,
            address,
            _database: database,
        }
    }

    async fn go(&self, path: &str) {
        let address = format!("{}{path}", self.address);
        self.browser.tab.goto(address).await.unwrap();
    }

    async fn one(&self, css: &str) -> WebElement {
        self.browser.tab.query(By::Css(css)).first().await.unwrap()
    }

    async fn link(&self, text: &str) -> WebElement {
        let link = self.browser.tab.query(By::LinkText(text));
        link.first().await.unwrap()
    }

    async fn texts(&self, css: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.browser.tab.find_all(By::Css(css)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    async fn path(&self) -> String {
        let whole = self.browser.tab.current_url().await.unwrap().to_string();
        whole.strip_prefix(&self.address).unwrap().to_owned()
    }

    async fn run(&self, script: &str) -> Value {
        let result = self.browser.tab.execute(script, vec![]).await.unwrap();
        result.json().clone()
    }

    /// An entry that is created and then changed by `actor`.
    async fn entry(&self, actor: &str, id: u32) {
        let entry = |amount, note: &str| Entry {
            id,
            amount,
            note: note.to_owned(),
        };
        let (old, new) = (
            entry(1250, "Consultation"),
            entry(1750, "Consultation, twice"),
        );
        for action in ["entry.create", "entry.update"] {
            let written = self
                .site
                .audit
                .transaction(Actor::user(actor), action, async |tx| {
                    if action == "entry.create" {
                        tx.created(&old);
                    } else {
                        tx.updated(&old, &new);
                    }
                    Ok::<_, std::io::Error>(())
                });
            written.await.unwrap();
        }
    }
}

/// With scripts disabled, and the form filled in by keyboard only.
#[tokio::test]
async fn filters_records_and_history_work_without_scripts_and_by_keyboard() {
    let page = BrowserPage::open(false).await;
    for id in 1..=5 {
        page.entry(["ada", "grace"][id as usize % 2], id).await;
    }
    page.go("/").await;
    assert_eq!(page.texts("tbody tr").await.len(), 10);

    // The first tab stop skips the filters.
    let body = page.one("body").await;
    body.send_keys(Key::Tab + "").await.unwrap();
    let reached = page.browser.tab.active_element().await.unwrap();
    assert_eq!(
        reached.attr("class").await.unwrap().as_deref(),
        Some("skip")
    );
    assert!(reached.is_displayed().await.unwrap());

    let actor = page.one("#actor").await;
    actor.send_keys("ada" + Key::Enter).await.unwrap();
    page.one("input#actor[value=ada]").await;
    assert!(
        page.path().await.contains("actor=ada"),
        "{}",
        page.path().await
    );
    assert_eq!(page.texts("tbody tr").await.len(), 4);
    assert_eq!(page.texts("svg.timeline").await.len(), 1);

    page.one("input[value=denied]").await.click().await.unwrap();
    page.one("button").await.click().await.unwrap();
    page.one("input[value=denied][checked]").await;
    assert_eq!(page.texts("section p").await, ["No record matches."]);
    page.browser.tab.back().await.unwrap();

    page.one("tbody a[href*='/records/']")
        .await
        .click()
        .await
        .unwrap();
    page.one("table.changes").await;
    assert_eq!(page.texts("h1").await, ["Record"]);
    let before: Vec<String> = page.texts("del").await;
    let after: Vec<String> = page.texts("ins").await;
    assert_eq!(before, ["1250", "\"Consultation\""]);
    assert_eq!(after, ["1750", "\"Consultation, twice\""]);

    page.link("History of this resource")
        .await
        .click()
        .await
        .unwrap();
    page.one(".history").await;
    let steps = page.texts(".history > li").await;
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(
        steps[0].contains("entry.create") && steps[1].contains("entry.update"),
        "{steps:?}"
    );

    // No script ran.
    page.go("/careless").await;
    assert_eq!(page.run("return window.ran ?? null").await, Value::Null);
    page.browser.close().await;
}

#[tokio::test]
async fn pagination_links_work_in_both_directions() {
    let page = BrowserPage::open(false).await;
    for id in 1..=125 {
        page.entry("ada", id).await;
    }
    page.go("/audit?limit=100&action=entry.*").await;
    let mut pages = vec![page.texts("tbody tr").await];
    for _ in 0..2 {
        page.one("a[rel=next]").await.click().await.unwrap();
        page.one("a[rel=prev]").await;
        pages.push(page.texts("tbody tr").await);
    }
    assert_eq!(
        pages.iter().map(Vec::len).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    assert!(page.texts("a[rel=next]").await.is_empty());
    // Back by the page's link, and once more by the browser's history.
    page.one("a[rel=prev]").await.click().await.unwrap();
    page.one("a[rel=next]").await;
    assert!(page.texts("tbody tr").await == pages[1]);
    page.browser.tab.back().await.unwrap();
    assert!(page.texts("tbody tr").await == pages[2]);

    let limit = page.one("summary").await;
    limit.click().await.unwrap();
    page.link("Clear").await.click().await.unwrap();
    page.one("a[rel=next]").await;
    assert_eq!(page.path().await, "/audit");
    page.browser.close().await;
}

#[tokio::test]
async fn an_export_contains_the_filtered_records() {
    let page = BrowserPage::open(false).await;
    for id in 1..=5 {
        page.entry(["ada", "grace"][id as usize % 2], id).await;
    }
    page.go("/audit?actor=grace").await;
    for (text, file) in [("CSV", "audit.csv"), ("Parquet", "audit.parquet")] {
        page.link(text).await.click().await.unwrap();
        let file = page.browser.downloaded(file).await;
        let bytes = std::fs::read(&file).unwrap();
        if text == "CSV" {
            let rows = csv::Reader::from_reader(bytes.as_slice()).into_records();
            let rows: Vec<_> = rows.map(Result::unwrap).collect();
            assert_eq!(rows.len(), 6);
            assert!(rows.iter().all(|row| row.iter().any(|it| it == "grace")));
        } else {
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        }
    }
    page.browser.close().await;
}

#[tokio::test]
async fn hostile_text_is_shown_and_runs_no_script() {
    let page = BrowserPage::open(true).await;
    let long = format!("{HOSTILE}{}", "x".repeat(1 << 20));
    page.site.write(HOSTILE, HOSTILE, &long).await;
    page.entry("ada", 1).await;
    let id = page.site.only_id().await;
    let encoded: String = url_encoded(HOSTILE);
    for path in [
        "/audit".to_owned(),
        format!("/audit/records/{id}"),
        format!("/audit/history?resource_type=entry&resource_id={encoded}"),
        format!("/audit?actor={encoded}"),
        format!("/audit?trace_id={encoded}&sort={encoded}&since={encoded}"),
    ] {
        page.go(&path).await;
        let shown = page.one("main").await.text().await.unwrap();
        assert!(
            path.contains("trace_id") || shown.contains("<script>window.ran = 1</script>"),
            "{path}: {shown}"
        );
        assert!(shown.contains("‹U+202E›"), "{path}: {shown}");
        assert_eq!(
            page.run("return window.ran ?? null").await,
            Value::Null,
            "{path}"
        );
        assert_eq!(page.run("return document.scripts.length + document.images.length + document.querySelectorAll('[onload],[onerror]').length").await, 0, "{path}");
        // A megabyte of text does not widen the page.
        assert_eq!(
            page.run("return document.documentElement.scrollWidth <= innerWidth")
                .await,
            true,
            "{path}"
        );
    }
    // Control: a page without escaping is detected.
    page.go("/careless").await;
    assert_eq!(page.run("return window.ran").await, 1);
    page.browser.close().await;
}

#[tokio::test]
async fn pages_have_no_accessibility_violations() {
    let page = BrowserPage::open(true).await;
    page.entry("ada", 1).await;
    page.site.write("ada", "1", "a note").await;
    let id = page.site.only_id().await;
    let media = "Emulation.setEmulatedMedia";
    for scheme in ["light", "dark"] {
        let features = serde_json::json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.browser
            .tab
            .cdp()
            .send_raw(media, features)
            .await
            .unwrap();
        for path in [
            "/audit".to_owned(),
            "/audit?actor=ada&method=POST&outcome=success".to_owned(),
            "/audit?actor=nobody".to_owned(),
            "/audit?since=soon&limit=99999&outcome=fine&sort=x&actr=x".to_owned(),
            format!("/audit/records/{id}"),
            "/audit/history?resource_type=entry&resource_id=1".to_owned(),
            "/audit/nothing".to_owned(),
        ] {
            page.go(&path).await;
            let dark = page
                .run("return matchMedia('(prefers-color-scheme: dark)').matches")
                .await;
            assert_eq!(dark, scheme == "dark");
            let barriers = page.browser.barriers().await;
            assert!(barriers.is_empty(), "{path} in {scheme}: {barriers:#?}");
        }
    }
    // Control: violations are detected.
    page.run(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x><input>')",
    )
    .await;
    let barriers = page.browser.barriers().await;
    assert!(barriers.len() >= 2, "{barriers:#?}");
    page.browser.close().await;
}

/// Words in the page's records that are split across two lines without a separator.
const BROKEN: &str = r"
    const broken = [];
    const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (text.parentElement.closest('svg, select, details:not([open])')) continue;
        for (const word of text.data.matchAll(/[\p{L}\p{N}]+(?:[.,]\d+)*/gu)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map(it => Math.round(it.top)));
            if (lines.size > 1) broken.push(word[0]);
        }
    }
    return broken;";

#[tokio::test]
async fn numbers_are_neither_broken_nor_clipped_on_a_narrow_screen() {
    let page = BrowserPage::open(true).await;
    let long = "2001:db8:85a3:8d3:1319:8a2e:370:7348";
    page.site
        .write("0198c0de-7a1b-7000-8000-000000000001", long, long)
        .await;
    page.entry("ada.lovelace@clinic-seven.example.org", 12_345_678)
        .await;
    let id = page.site.only_id().await;
    for width in [1280, 390] {
        let size = serde_json::json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        let cdp = page.browser.tab.cdp();
        cdp.send_raw("Emulation.setDeviceMetricsOverride", size)
            .await
            .unwrap();
        for path in [
            "/audit".to_owned(),
            format!("/audit/records/{id}"),
            format!("/audit/history?resource_type=entry&resource_id={long}"),
            "/audit/history?resource_type=entry&resource_id=12345678".to_owned(),
        ] {
            page.go(&path).await;
            let broken = page.run(BROKEN).await;
            assert_eq!(broken, serde_json::json!([]), "{path} at {width}");
            let hidden = "return [...document.querySelectorAll('html, .wide')].filter(it => it.scrollWidth > it.clientWidth).length";
            assert_eq!(page.run(hidden).await, 0, "{path} at {width}");
        }
    }
    // Control: a broken word is detected.
    page.run("const it = document.createElement('p'); it.textContent = '12345678901234567890'; it.style.width = '3rem'; it.style.overflowWrap = 'anywhere'; document.querySelector('main').append(it)").await;
    assert_eq!(page.run(BROKEN).await[0], "12345678901234567890");
    page.browser.close().await;
}

#[tokio::test]
async fn a_printed_page_has_all_columns_and_the_query_reader_and_time() {
    let page = BrowserPage::open(true).await;
    let long = "2001:db8:85a3:8d3:1319:8a2e:370:7348";
    for reason in ["a reason of some words", long] {
        page.site.write("ada", long, reason).await;
    }
    let id = page.site.only_id().await;
    // A4 portrait without margins.
    let size = serde_json::json!({ "width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
    let cdp = page.browser.tab.cdp();
    cdp.send_raw("Emulation.setDeviceMetricsOverride", size)
        .await
        .unwrap();
    let dark = serde_json::json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
    for media in ["print", "screen"] {
        let emulated = serde_json::json!({ "media": media, "features": dark });
        let cdp = page.browser.tab.cdp();
        cdp.send_raw("Emulation.setEmulatedMedia", emulated)
            .await
            .unwrap();
        for (path, asked) in [
            (
                "/audit?actor=ada&since=2020-01-01&limit=1".to_owned(),
                "Actor\nada",
            ),
            (format!("/audit/records/{id}"), id.as_str()),
            (
                format!("/audit/history?resource_type=entry&resource_id={long}"),
                long,
            ),
        ] {
            page.go(&path).await;
            let is_paper = media == "print";
            let shown = async |css: &str| {
                let script = format!(
                    "return [...document.querySelectorAll('{css}')].filter(it => it.checkVisibility() && it.getBoundingClientRect().right <= 703).length"
                );
                page.run(&script).await.as_u64().unwrap()
            };
            assert_eq!(shown("dl.paper").await, u64::from(is_paper), "{path}");
            assert_eq!(shown("header").await, u64::from(!is_paper), "{path}");
            if !is_paper {
                continue;
            }
            assert_eq!(
                shown("form, nav, button, details, .screen").await,
                0,
                "{path}"
            );
            let paper = page.one("dl.paper").await.text().await.unwrap();
            for text in ["ledger", "officer", asked, "UTC"] {
                assert!(paper.contains(text), "{path}: {paper}");
            }
            let ink = "return getComputedStyle(document.body).color";
            assert_eq!(page.run(ink).await, "rgb(0, 0, 0)", "{path}");
            if path.contains("actor=") {
                assert_eq!(shown("thead th").await, 8);
                let table = page.one("table").await.text().await.unwrap();
                assert!(
                    table.contains("Address") && table.contains("Reason"),
                    "{table}"
                );
                let rest = page.one("#records + p").await.text().await.unwrap();
                assert!(rest.contains("and more on others"), "{rest}");
            }
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(page.run(fits).await, true, "{path}");
        }
    }
    page.browser.close().await;
}

fn url_encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
    bytes.collect()
}
