//! The page in Chromium, as an officer looks at it.

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

/// What would run if the page let it, in each place that a browser looks for a script.
const HOSTILE: &str = "\"'><script>window.ran = 1</script><img src=x onerror=\"window.ran = 1\"><svg onload='window.ran = 1'>\u{202e}</title>";

#[derive(Auditable, Serialize)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: u32,
    amount: u32,
    note: String,
}

/// A page over a database, at an address, and a browser that looks at it.
struct Look {
    site: Site<Postgres>,
    browser: Browser,
    address: String,
    _database: TestDatabase,
}

impl Look {
    async fn at(scripts: bool) -> Self {
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
        let answer = self.browser.tab.execute(script, vec![]).await.unwrap();
        answer.json().clone()
    }

    /// An entry that is made and then changed, by `actor`.
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

/// With scripts switched off in the browser, and by the keyboard alone where a form is filled in.
#[tokio::test]
async fn an_officer_filters_opens_a_record_and_follows_its_history() {
    let look = Look::at(false).await;
    for id in 1..=5 {
        look.entry(["ada", "grace"][id as usize % 2], id).await;
    }
    look.go("/").await;
    assert_eq!(look.texts("tbody tr").await.len(), 10);

    // The first stop of the keyboard leads past the filters.
    let body = look.one("body").await;
    body.send_keys(Key::Tab + "").await.unwrap();
    let reached = look.browser.tab.active_element().await.unwrap();
    assert_eq!(
        reached.attr("class").await.unwrap().as_deref(),
        Some("skip")
    );
    assert!(reached.is_displayed().await.unwrap());

    let actor = look.one("#actor").await;
    actor.send_keys("ada" + Key::Enter).await.unwrap();
    look.one("input#actor[value=ada]").await;
    assert!(
        look.path().await.contains("actor=ada"),
        "{}",
        look.path().await
    );
    assert_eq!(look.texts("tbody tr").await.len(), 4);
    assert_eq!(look.texts("svg.timeline").await.len(), 1);

    look.one("input[value=denied]").await.click().await.unwrap();
    look.one("button").await.click().await.unwrap();
    look.one("input[value=denied][checked]").await;
    assert_eq!(look.texts("section p").await, ["No record matches."]);
    look.browser.tab.back().await.unwrap();

    look.one("tbody a[href*='/records/']")
        .await
        .click()
        .await
        .unwrap();
    look.one("table.changes").await;
    assert_eq!(look.texts("h1").await, ["Record"]);
    let before: Vec<String> = look.texts("del").await;
    let after: Vec<String> = look.texts("ins").await;
    assert_eq!(before, ["1250", "\"Consultation\""]);
    assert_eq!(after, ["1750", "\"Consultation, twice\""]);

    look.link("History of this resource")
        .await
        .click()
        .await
        .unwrap();
    look.one(".history").await;
    let steps = look.texts(".history > li").await;
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(
        steps[0].contains("entry.create") && steps[1].contains("entry.update"),
        "{steps:?}"
    );

    // No page's script ran.
    look.go("/careless").await;
    assert_eq!(look.run("return window.ran ?? null").await, Value::Null);
    look.browser.close().await;
}

#[tokio::test]
async fn pages_turn_back_and_forth() {
    let look = Look::at(false).await;
    for id in 1..=125 {
        look.entry("ada", id).await;
    }
    look.go("/audit?limit=100&action=entry.*").await;
    let mut pages = vec![look.texts("tbody tr").await];
    for _ in 0..2 {
        look.one("a[rel=next]").await.click().await.unwrap();
        look.one("a[rel=prev]").await;
        pages.push(look.texts("tbody tr").await);
    }
    assert_eq!(
        pages.iter().map(Vec::len).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    assert!(look.texts("a[rel=next]").await.is_empty());
    // Back by the page's own link, and once more by the browser.
    look.one("a[rel=prev]").await.click().await.unwrap();
    look.one("a[rel=next]").await;
    assert!(look.texts("tbody tr").await == pages[1]);
    look.browser.tab.back().await.unwrap();
    assert!(look.texts("tbody tr").await == pages[2]);

    let limit = look.one("summary").await;
    limit.click().await.unwrap();
    look.link("Clear").await.click().await.unwrap();
    look.one("a[rel=next]").await;
    assert_eq!(look.path().await, "/audit");
    look.browser.close().await;
}

#[tokio::test]
async fn an_export_is_what_the_filters_show() {
    let look = Look::at(false).await;
    for id in 1..=5 {
        look.entry(["ada", "grace"][id as usize % 2], id).await;
    }
    look.go("/audit?actor=grace").await;
    for (text, file) in [("CSV", "audit.csv"), ("Parquet", "audit.parquet")] {
        look.link(text).await.click().await.unwrap();
        let file = look.browser.downloaded(file).await;
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
    look.browser.close().await;
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing() {
    let look = Look::at(true).await;
    let long = format!("{HOSTILE}{}", "x".repeat(1 << 20));
    look.site.write(HOSTILE, HOSTILE, &long).await;
    look.entry("ada", 1).await;
    let id = look.site.only_id().await;
    let encoded: String = url_encoded(HOSTILE);
    for path in [
        "/audit".to_owned(),
        format!("/audit/records/{id}"),
        format!("/audit/history?resource_type=entry&resource_id={encoded}"),
        format!("/audit?actor={encoded}"),
        format!("/audit?trace_id={encoded}&sort={encoded}&since={encoded}"),
    ] {
        look.go(&path).await;
        let shown = look.one("main").await.text().await.unwrap();
        assert!(
            path.contains("trace_id") || shown.contains("<script>window.ran = 1</script>"),
            "{path}: {shown}"
        );
        assert!(shown.contains("‹U+202E›"), "{path}: {shown}");
        assert_eq!(
            look.run("return window.ran ?? null").await,
            Value::Null,
            "{path}"
        );
        assert_eq!(look.run("return document.scripts.length + document.images.length + document.querySelectorAll('[onload],[onerror]').length").await, 0, "{path}");
        // A megabyte widens nothing.
        assert_eq!(
            look.run("return document.documentElement.scrollWidth <= innerWidth")
                .await,
            true,
            "{path}"
        );
    }
    // A page that takes no care is caught at once.
    look.go("/careless").await;
    assert_eq!(look.run("return window.ran").await, 1);
    look.browser.close().await;
}

#[tokio::test]
async fn nothing_bars_the_way_of_people_who_see_or_move_differently() {
    let look = Look::at(true).await;
    look.entry("ada", 1).await;
    look.site.write("ada", "1", "a note").await;
    let id = look.site.only_id().await;
    let media = "Emulation.setEmulatedMedia";
    for scheme in ["light", "dark"] {
        let features = serde_json::json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        look.browser
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
            look.go(&path).await;
            let dark = look
                .run("return matchMedia('(prefers-color-scheme: dark)').matches")
                .await;
            assert_eq!(dark, scheme == "dark");
            let barriers = look.browser.barriers().await;
            assert!(barriers.is_empty(), "{path} in {scheme}: {barriers:#?}");
        }
    }
    // What is wrong is found.
    look.run(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x><input>')",
    )
    .await;
    let barriers = look.browser.barriers().await;
    assert!(barriers.len() >= 2, "{barriers:#?}");
    look.browser.close().await;
}

/// Which words of the page's records are on two lines, though there is no separator in them.
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
async fn no_number_is_broken_and_none_is_cut_off_on_a_narrow_screen() {
    let look = Look::at(true).await;
    let long = "2001:db8:85a3:8d3:1319:8a2e:370:7348";
    look.site
        .write("0198c0de-7a1b-7000-8000-000000000001", long, long)
        .await;
    look.entry("ada.lovelace@clinic-seven.example.org", 12_345_678)
        .await;
    let id = look.site.only_id().await;
    for width in [1280, 390] {
        let size = serde_json::json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        let cdp = look.browser.tab.cdp();
        cdp.send_raw("Emulation.setDeviceMetricsOverride", size)
            .await
            .unwrap();
        for path in [
            "/audit".to_owned(),
            format!("/audit/records/{id}"),
            format!("/audit/history?resource_type=entry&resource_id={long}"),
            "/audit/history?resource_type=entry&resource_id=12345678".to_owned(),
        ] {
            look.go(&path).await;
            let broken = look.run(BROKEN).await;
            assert_eq!(broken, serde_json::json!([]), "{path} at {width}");
            let hidden = "return [...document.querySelectorAll('html, .wide')].filter(it => it.scrollWidth > it.clientWidth).length";
            assert_eq!(look.run(hidden).await, 0, "{path} at {width}");
        }
    }
    // What is broken is found.
    look.run("const it = document.createElement('p'); it.textContent = '12345678901234567890'; it.style.width = '3rem'; it.style.overflowWrap = 'anywhere'; document.querySelector('main').append(it)").await;
    assert_eq!(look.run(BROKEN).await[0], "12345678901234567890");
    look.browser.close().await;
}

#[tokio::test]
async fn paper_has_all_columns_and_who_asked_for_what_and_when() {
    let look = Look::at(true).await;
    let long = "2001:db8:85a3:8d3:1319:8a2e:370:7348";
    for reason in ["a reason of some words", long] {
        look.site.write("ada", long, reason).await;
    }
    let id = look.site.only_id().await;
    // A4 upright without its margins.
    let size = serde_json::json!({ "width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
    let cdp = look.browser.tab.cdp();
    cdp.send_raw("Emulation.setDeviceMetricsOverride", size)
        .await
        .unwrap();
    let dark = serde_json::json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
    for media in ["print", "screen"] {
        let emulated = serde_json::json!({ "media": media, "features": dark });
        let cdp = look.browser.tab.cdp();
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
            look.go(&path).await;
            let is_paper = media == "print";
            let shown = async |css: &str| {
                let script = format!(
                    "return [...document.querySelectorAll('{css}')].filter(it => it.checkVisibility() && it.getBoundingClientRect().right <= 703).length"
                );
                look.run(&script).await.as_u64().unwrap()
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
            let paper = look.one("dl.paper").await.text().await.unwrap();
            for text in ["ledger", "officer", asked, "UTC"] {
                assert!(paper.contains(text), "{path}: {paper}");
            }
            let ink = "return getComputedStyle(document.body).color";
            assert_eq!(look.run(ink).await, "rgb(0, 0, 0)", "{path}");
            if path.contains("actor=") {
                assert_eq!(shown("thead th").await, 8);
                let table = look.one("table").await.text().await.unwrap();
                assert!(
                    table.contains("Address") && table.contains("Reason"),
                    "{table}"
                );
                let rest = look.one("#records + p").await.text().await.unwrap();
                assert!(rest.contains("and more on others"), "{rest}");
            }
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(look.run(fits).await, true, "{path}");
        }
    }
    look.browser.close().await;
}

fn url_encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
    bytes.collect()
}
