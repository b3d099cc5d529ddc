//! The explorer with a few records on SQLite. Run `cargo run -p platform-audit --features
//! explorer,sqlite --example explorer`, and open the printed address.
#![allow(clippy::print_stdout, reason = "it says where to look")]

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use http::request::Parts;
use platform_audit::explorer::{Refusal, Visitor};
use platform_audit::{Actor, Audit, Auditable};
use serde::Serialize;
use sqlx::{Sqlite, SqlitePool};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Auditable, Serialize)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: i64,
    amount: i64,
    note: String,
    #[audit(redact)]
    iban: String,
}

async fn seed(audit: &Audit<Sqlite>) -> Result<(), Failure> {
    for id in 1..=40 {
        let ada = Actor::user(["ada", "grace", "linus"][id % 3]).with_tenant("clinic-7");
        let old = Entry {
            id: i64::try_from(id)?,
            amount: 1_250 * i64::try_from(id)?,
            note: "Consultation".to_owned(),
            iban: "DE02120300000000202051".to_owned(),
        };
        let mut new = old.clone();
        new.amount += 500;
        new.note
            .push_str(", with \u{202e}a turn\u{202c} and <b>markup</b>");
        let made = audit.transaction(ada.clone(), "entry.create", async |tx| {
            tx.created(&old);
            Ok::<_, std::io::Error>(())
        });
        made.await?;
        let changed = audit.transaction(ada.clone(), "entry.update", async |tx| {
            tx.updated(&old, &new);
            tx.reason("corrected after the phone call of the morning");
            tx.details("ticket", 1200 + old.id);
            Ok::<_, std::io::Error>(())
        });
        changed.await?;
        if id % 7 == 0 {
            let refused = audit.transaction(ada, "entry.delete", async |tx| {
                tx.record("entry", old.id);
                Err::<(), _>(std::io::Error::other("closed period"))
            });
            refused.await.err();
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.db");
    let pool = SqlitePool::connect(&format!("sqlite://{}?mode=rwc", file.display())).await?;
    let audit = Audit::builder(pool, "accounting")
        .development(true)
        .start()
        .await?;
    seed(&audit).await?;
    // A real service authenticates the visitor.
    let everybody = |_: &Parts| {
        Ok::<_, Refusal>(Visitor::new(Actor::user("officer")).with_reason("a look around"))
    };
    let explorer = audit
        .explorer(everybody)
        .trace_url("https://traces.example.com/{trace_id}");
    let app = Router::new()
        .route("/", get(async || Redirect::temporary("/audit")))
        .nest("/audit", explorer.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/audit", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
