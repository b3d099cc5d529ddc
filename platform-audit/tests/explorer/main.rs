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

mod access;
mod browser;
mod invalid_input;
mod pages;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use platform_audit::explorer::BearerToken;
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
