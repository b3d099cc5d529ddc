//! `--tour`: checks each promise with real HTTP requests, one step at a time.
#![expect(clippy::print_stdout, reason = "the tour prints its results")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use platform_audit::routing::post;
use platform_audit::seal::{HarmKind, Seal, Verdict, Verify, new_key};
use platform_audit::{Audit, audited};
use platform_observability::{Telemetry, serve};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use sqlx::{Any, AnyPool};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{ApiError, App, Tx};

async fn insert(tx: &mut Tx, id: &str) -> Result<(), ApiError> {
    let insert = sqlx::query("INSERT INTO entry (id, amount, iban) VALUES ($1, 1, '')").bind(id);
    insert.execute(&mut *tx).await?;
    tx.record("entry", id);
    Ok(())
}

#[audited(action = "tour.panic")]
#[expect(clippy::panic, reason = "the tour shows the effect of a panic")]
async fn panics(tx: &mut Tx, id: String) -> Result<(), ApiError> {
    insert(tx, &id).await?;
    panic!("deliberate, for the tour");
}

#[audited(action = "tour.slow")]
async fn slow(tx: &mut Tx, id: String) -> Result<StatusCode, ApiError> {
    insert(tx, &id).await?;
    SLOW_HANDLER_INSERTED.notify_one();
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(StatusCode::CREATED)
}

/// Notified once the slow handler has inserted its row, so that the client disconnects only then.
static SLOW_HANDLER_INSERTED: Notify = Notify::const_new();

async fn forgotten(State(app): State<App>, id: String) -> Result<StatusCode, ApiError> {
    let insert = sqlx::query("INSERT INTO entry (id, amount, iban) VALUES ($1, 1, '')").bind(id);
    insert.execute(&app.pool).await?;
    Ok(StatusCode::CREATED)
}

/// Serves the quickstart with some more routes, and runs all steps; the error names the one that
/// failed.
pub(crate) async fn run(pool: AnyPool) -> anyhow::Result<()> {
    let telemetry = Telemetry::builder("quickstart")
        .log_filter("error")
        .init()?;
    // Without a guard: the last step adds it.
    let audit = Audit::builder(pool.clone(), "quickstart")
        .actor_from(crate::actor)
        .development(true)
        .start()
        .await?;
    // A route that changes state without a record: the typed router would not compile with it.
    let unaudited = axum::Router::new().route("/tour/forgotten", axum::routing::post(forgotten));
    let app = crate::router()
        .route("/tour/panic", post(panics))
        .route("/tour/slow", post(slow))
        .merge_axum(unaudited)
        .with_state(App {
            pool: pool.clone(),
            audit: audit.clone(),
        })
        .layer(audit.layer())
        .layer(telemetry.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tour = Tour {
        address: listener.local_addr()?,
        pool,
        audit: audit.clone(),
        client: Client::new(),
    };
    tokio::spawn(serve(listener, app.into()).run());
    let toured = tour.all_steps().await;
    audit.shutdown().await;
    telemetry.shutdown().await?;
    toured
}

struct Tour {
    address: SocketAddr,
    pool: AnyPool,
    audit: Audit<Any>,
    client: Client,
}

impl Tour {
    async fn all_steps(&self) -> anyhow::Result<()> {
        std::panic::set_hook(Box::new(|_| println!("   (the handler panics)")));
        let mut passed = 0;
        macro_rules! steps {
            ($($title:literal => $step:ident),* $(,)?) => {{
                let all = [$($title),*].len();
                $(
                    println!("\n{}. {}", passed + 1, $title);
                    self.$step().await.with_context(|| format!("tour: step {} failed: {}", passed + 1, $title))?;
                    passed += 1;
                )*
                println!("\ntour: {passed} of {all} steps passed");
            }};
        }
        steps! {
            "A change and its record are committed in one transaction" => one_transaction,
            "The value of a redacted field is not recorded" => redacted,
            "An update records each changed field, with its old and new value" => updated,
            "A handler that fails is rolled back, and the attempt is recorded" => failing,
            "A request that is rejected before its handler is recorded, too" => malformed,
            "A request without a user gets 401, and is recorded as denied" => unauthenticated,
            "A panic is rolled back and recorded, and the client gets 500" => panicking,
            "A client that disconnects does not separate a change from its record" => disconnecting,
            "A successful response without a record becomes 500, and is counted" => forgetting,
            "A deletion records the deleted values" => deleting,
            "A record cannot be changed, not even with SQL" => append_only,
            "Reading the audit log is recorded, too" => reading,
            "An edit of a record by the owner of the database is found" => tampering,
            "The database rejects an unaudited change at COMMIT, whatever code made it" => bypassing,
        }
        Ok(())
    }

    async fn one_transaction(&self) -> anyhow::Result<()> {
        let (id, record) = self.create().await?;
        ensure!(self.entries(&id).await? == 1, "the entry was not inserted");
        ensure!(
            record["outcome"] == "success" && record["resource_id"] == id,
            "the record does not match the entry: {record}"
        );
        print_result(&format!(
            "entry {id} and record {}: {} by {} ({})",
            text(&record["id"]),
            text(&record["action"]),
            text(&record["actor_id"]),
            text(&record["outcome"])
        ));
        Ok(())
    }

    async fn redacted(&self) -> anyhow::Result<()> {
        let (_, record) = self.create().await?;
        ensure!(
            record["changes"]["iban"]["after"] == "[redacted]",
            "the IBAN is not redacted: {record}"
        );
        ensure!(
            !record.to_string().contains(IBAN),
            "the IBAN is in the record"
        );
        print_result(&format!("changes: {}", record["changes"]));
        Ok(())
    }

    async fn updated(&self) -> anyhow::Result<()> {
        let (id, _) = self.create().await?;
        let path = format!("/entries/{id}");
        let response = self.send_entry(Method::PUT, &path, 7).await?;
        let record = self.record_of(&response, 200).await?;
        ensure!(
            record["changes"] == json!({"amount": {"before": 1250, "after": 7}}),
            "{record}"
        );
        print_result(&format!("changes: {}", record["changes"]));
        Ok(())
    }

    async fn failing(&self) -> anyhow::Result<()> {
        let before = self.all_entries().await?;
        let response = self.send_entry(Method::POST, "/entries", 0).await?;
        let record = self.record_of(&response, 422).await?;
        ensure!(
            record["outcome"] == "invalid" && record["status"] == 422,
            "{record}"
        );
        ensure!(
            self.all_entries().await? == before,
            "the INSERT was not rolled back"
        );
        print_result("422, no new entry, and a record with the outcome `invalid`");
        Ok(())
    }

    async fn malformed(&self) -> anyhow::Result<()> {
        let response = self
            .request(Method::POST, "/entries")
            .header("x-user", "ada")
            .header("content-type", "application/json")
            .body("{not json")
            .send()
            .await?;
        let record = self.record_of(&response, 400).await?;
        ensure!(
            record["action"] == "entry.create" && record["outcome"] == "invalid",
            "{record}"
        );
        print_result("400 from the JSON extractor, and a record of the attempt at `entry.create`");
        Ok(())
    }

    async fn unauthenticated(&self) -> anyhow::Result<()> {
        let body = json!({"amount": 1, "iban": IBAN});
        let request = self.request(Method::POST, "/entries").json(&body);
        let response = request.send().await?;
        let record = self.record_of(&response, 401).await?;
        ensure!(
            record["outcome"] == "denied" && record["actor_kind"] == "anonymous",
            "{record}"
        );
        print_result("401, and a record with the outcome `denied` by `anonymous`");
        Ok(())
    }

    async fn panicking(&self) -> anyhow::Result<()> {
        let id = Uuid::now_v7().to_string();
        let response = self.send_text("/tour/panic", &id).await?;
        let record = self.record_of(&response, 500).await?;
        ensure!(
            record["outcome"] == "panicked" && record["resource_id"] == id,
            "{record}"
        );
        ensure!(
            self.entries(&id).await? == 0,
            "the INSERT was not rolled back"
        );
        print_result("500 as problem+json, no entry, and a record with the outcome `panicked`");
        Ok(())
    }

    async fn disconnecting(&self) -> anyhow::Result<()> {
        let id = Uuid::now_v7().to_string();
        let mut connection = TcpStream::connect(self.address).await?;
        let request = format!(
            "POST /tour/slow HTTP/1.1\r\nhost: quickstart\r\nx-user: ada\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{id}",
            id.len()
        );
        connection.write_all(request.as_bytes()).await?;
        tokio::time::timeout(Duration::from_secs(10), SLOW_HANDLER_INSERTED.notified())
            .await
            .context("the handler was not reached within ten seconds")?;
        drop(connection);
        let records = format!(
            "SELECT count(*) FROM {} WHERE resource_id = $1 AND outcome = 'success'",
            self.table()
        );
        for _ in 0..200 {
            if self.entries(&id).await? == 1 {
                ensure!(
                    self.count(&records, &id).await? == 1,
                    "the entry has no record"
                );
                print_result(
                    "the client disconnected before the response; the entry and its record were both committed",
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the entry was not committed within ten seconds")
    }

    async fn forgetting(&self) -> anyhow::Result<()> {
        let before = self.audit.status().violations;
        let response = self
            .send_text("/tour/forgotten", &Uuid::now_v7().to_string())
            .await?;
        expect_status(&response, 500)?;
        ensure!(
            self.audit.status().violations == before + 1,
            "the violation was not counted"
        );
        print_result("500 instead of the handler's 201, an ERROR event, and audit.violations + 1");
        Ok(())
    }

    async fn deleting(&self) -> anyhow::Result<()> {
        let (id, _) = self.create().await?;
        let path = format!("/entries/{id}");
        let response = self.send(Method::DELETE, &path).await?;
        let record = self.record_of(&response, 204).await?;
        ensure!(self.entries(&id).await? == 0, "the entry was not deleted");
        ensure!(
            record["changes"]["amount"] == json!({"before": 1250}),
            "{record}"
        );
        print_result(&format!(
            "the entry is gone; its record contains {}",
            record["changes"]
        ));
        Ok(())
    }

    async fn append_only(&self) -> anyhow::Result<()> {
        for statement in ["UPDATE {} SET actor_id = 'eve'", "DELETE FROM {}"] {
            let statement = statement.replace("{}", &self.table());
            let Err(refused) = sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(&self.pool)
                .await
            else {
                bail!("a record could be changed");
            };
            let refused = refused
                .as_database_error()
                .map(|error| error.message().to_owned());
            let refused = refused.context("the statement failed outside the database")?;
            ensure!(
                refused.contains("append-only"),
                "refused for another reason: {refused}"
            );
            print_result(&format!("the database: {refused}"));
        }
        Ok(())
    }

    async fn reading(&self) -> anyhow::Result<()> {
        let (_, record) = self.create().await?;
        let id = text(&record["id"]).to_owned();
        let response = self.send(Method::GET, &format!("/audit/{id}")).await?;
        let reading = self.record_of(&response, 200).await?;
        ensure!(
            reading["action"] == "audit_record.read" && reading["resource_id"] == id,
            "{reading}"
        );
        print_result(&format!(
            "the record of reading it: {}",
            text(&reading["id"])
        ));
        Ok(())
    }

    async fn tampering(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let key = new_key("quickstart")?;
        let verify = Verify::default()
            .key(&key.verifier_key().to_string())?
            .tiles(folder.path());
        let seal = Seal::new(key)?.publish_to(folder.path());
        let builder = || Audit::builder(self.pool.clone(), "quickstart");
        let (_, record) = self.create().await?;
        let sealed = builder().seal_now(&seal).await?;
        print_result(&format!("{} entries are sealed", sealed.size));

        let id = text(&record["id"]);
        self.edit_as_owner(id, "eve").await?;
        let report = builder().verify(&verify).await?;
        let [harm] = report.findings.as_slice() else {
            bail!("one contradiction was expected: {report}");
        };
        ensure!(
            harm.kind == HarmKind::Changed && harm.record.as_deref() == Some(id),
            "{report}"
        );
        print_result(&harm.to_string());

        self.edit_as_owner(id, "ada").await?;
        let report = builder().verify(&verify).await?;
        ensure!(report.verdict() == Verdict::Proven, "{report}");
        Ok(())
    }

    /// Disables the trigger that refuses changes of records, changes the actor of one, and enables
    /// the trigger again.
    async fn edit_as_owner(&self, id: &str, actor: &str) -> anyhow::Result<()> {
        let table = self.table();
        let update = format!("UPDATE {table} SET actor_id = '{actor}' WHERE id = '{id}'");
        let (disable, enable) = if table.contains('.') {
            let trigger = "TRIGGER record_append_only";
            (
                format!("ALTER TABLE {table} DISABLE {trigger}"),
                format!("ALTER TABLE {table} ENABLE ALWAYS {trigger}"),
            )
        } else {
            let trigger = format!("{table}_no_update");
            let definition: String =
                sqlx::query_scalar("SELECT sql FROM sqlite_schema WHERE name = $1")
                    .bind(&trigger)
                    .fetch_one(&self.pool)
                    .await?;
            (format!("DROP TRIGGER {trigger}"), definition)
        };
        let statements = sqlx::AssertSqlSafe(format!("{disable}; {update}; {enable}"));
        sqlx::raw_sql(statements).execute(&self.pool).await?;
        Ok(())
    }

    async fn bypassing(&self) -> anyhow::Result<()> {
        Audit::builder(self.pool.clone(), "quickstart")
            .guard(["entry"])
            .migrate()
            .await?;
        for statement in [
            "INSERT INTO entry (id, amount, iban) VALUES ('raw', 1, '')",
            "UPDATE entry SET amount = 0",
            "DELETE FROM entry",
        ] {
            let before = self.all_entries().await?;
            let done = sqlx::query(statement).execute(&self.pool).await;
            ensure!(done.is_err(), "an unaudited change was committed");
            ensure!(
                self.all_entries().await? == before,
                "an unaudited change was kept"
            );
        }
        let (_, record) = self.create().await?;
        print_result(&format!(
            "three changes in plain SQL were rejected; a change with a record ({}) was committed",
            text(&record["id"])
        ));
        // Removes the guard, so that another tour can use the same database.
        Audit::builder(self.pool.clone(), "quickstart")
            .exempt("entry", "the tour is over")
            .migrate()
            .await?;
        Ok(())
    }

    /// Creates an entry; returns its id and its record.
    async fn create(&self) -> anyhow::Result<(String, Value)> {
        let response = self.send_entry(Method::POST, "/entries", 1250).await?;
        let record = self.record_of(&response, 201).await?;
        let entry: Value = response.json().await?;
        Ok((text(&entry["id"]).to_owned(), record))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// Sends a request as the user `ada`, like the following functions.
    async fn send(&self, method: Method, path: &str) -> anyhow::Result<Response> {
        let request = self.request(method, path).header("x-user", "ada");
        Ok(request.send().await?)
    }

    async fn send_entry(
        &self,
        method: Method,
        path: &str,
        amount: i64,
    ) -> anyhow::Result<Response> {
        let request = self.request(method, path).header("x-user", "ada");
        let request = request.json(&json!({"amount": amount, "iban": IBAN}));
        Ok(request.send().await?)
    }

    async fn send_text(&self, path: &str, body: &str) -> anyhow::Result<Response> {
        let request = self.request(Method::POST, path).header("x-user", "ada");
        Ok(request.body(body.to_owned()).send().await?)
    }

    /// Checks the status of a response, and returns the record whose id it contains.
    async fn record_of(&self, response: &Response, status: u16) -> anyhow::Result<Value> {
        expect_status(response, status)?;
        let id = response
            .headers()
            .get("audit-record-id")
            .context("the response has no Audit-Record-Id")?;
        let id = id.to_str()?.parse()?;
        let record = self
            .audit
            .record(id)
            .await?
            .with_context(|| format!("record {id} does not exist"))?;
        Ok(serde_json::to_value(record)?)
    }

    async fn entries(&self, id: &str) -> anyhow::Result<i64> {
        self.count("SELECT count(*) FROM entry WHERE id = $1", id)
            .await
    }

    async fn all_entries(&self) -> anyhow::Result<i64> {
        self.count("SELECT count(*) FROM entry WHERE id <> $1", "")
            .await
    }

    async fn count(&self, statement: &str, id: &str) -> anyhow::Result<i64> {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        Ok(sqlx::query_scalar(statement)
            .bind(id.to_owned())
            .fetch_one(&self.pool)
            .await?)
    }

    /// The table of the records: in a schema of its own on Postgres, with a prefix on SQLite.
    fn table(&self) -> String {
        let sqlite = self.pool.connect_options().database_url.scheme() == "sqlite";
        format!("quickstart_audit{}record", if sqlite { "_" } else { "." })
    }
}

const IBAN: &str = "DE02120300000000202051";

fn expect_status(response: &Response, status: u16) -> anyhow::Result<()> {
    ensure!(
        response.status() == status,
        "expected status {status}, got {}",
        response.status()
    );
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn print_result(what: &str) {
    println!("   {what}");
}
