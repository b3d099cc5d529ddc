//! The service under test: an audited handler that changes one row, several, or none, also in
//! savepoints.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use platform_audit::routing::{Router, post};
use platform_audit::{Actor, Audit, AuditTx, audited};
use serde::Deserialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Acquire, PgPool};

use crate::published;

/// The body of a request.
#[derive(Clone, Deserialize)]
struct Job {
    /// The key of all rows that this request inserts.
    key: String,
    mode: Mode,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    One,
    /// 200 rows, one record.
    Bulk,
    /// Five rows, five records.
    Several,
    /// Rows in savepoints, half of which are rolled back.
    Nested,
    Slow,
    Fail,
    Panic,
    /// A change outside the transaction, which the guard refuses.
    Unaudited,
}

struct Failure(StatusCode);

impl From<sqlx::Error> for Failure {
    fn from(_: sqlx::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// The number of rows and records of [`Mode::Several`].
pub(crate) const SEVERAL: i32 = 5;

const INSERT: &str =
    "INSERT INTO entry (key, line) SELECT $1, i FROM generate_series($2::int, $3::int) AS i";

#[audited(action = "entry.work", resource = "entry", resource_id = job.key)]
async fn work(
    tx: &mut AuditTx,
    State(pool): State<PgPool>,
    Json(job): Json<Job>,
) -> Result<StatusCode, Failure> {
    let rows = match job.mode {
        Mode::Bulk => 200,
        Mode::Several => SEVERAL,
        _ => 1,
    };
    if job.mode == Mode::Unaudited {
        sqlx::query(INSERT)
            .bind(&job.key)
            .bind(1)
            .bind(1)
            .execute(&pool)
            .await?;
        return Err(Failure(StatusCode::UNPROCESSABLE_ENTITY));
    }
    sqlx::query(INSERT)
        .bind(&job.key)
        .bind(1)
        .bind(rows)
        .execute(&mut *tx)
        .await?;
    match job.mode {
        Mode::Several => {
            for line in 1..=rows {
                tx.record("entry", format!("{}/{line}", job.key));
            }
        }
        Mode::Nested => {
            for line in 2..6 {
                let mut savepoint = tx.connection().await?.begin().await?;
                sqlx::query(INSERT)
                    .bind(&job.key)
                    .bind(line)
                    .bind(line)
                    .execute(&mut *savepoint)
                    .await?;
                if line % 2 == 0 {
                    savepoint.rollback().await?;
                } else {
                    savepoint.commit().await?;
                }
            }
        }
        Mode::Slow => tokio::time::sleep(Duration::from_millis(150)).await,
        Mode::Fail => return Err(Failure(StatusCode::UNPROCESSABLE_ENTITY)),
        Mode::Panic => panic!("expected by the rig"),
        _ => {}
    }
    Ok(StatusCode::CREATED)
}

fn who(request: &Parts) -> Option<Actor> {
    Some(Actor::user(request.headers.get("x-user")?.to_str().ok()?))
}

/// Serves with the database at `url` until it is killed, and prints its address to standard output.
pub(crate) async fn serve(url: &str, guarded: bool) {
    // Many expected panics.
    std::panic::set_hook(Box::new(|_| {}));
    let pool = PgPoolOptions::new()
        .max_connections(12)
        .acquire_timeout(Duration::from_secs(2))
        .connect_lazy(url)
        .expect("a URL");
    let audit = loop {
        let builder = Audit::builder(pool.clone(), "ledger")
            .actor_from(who)
            .abandoned_after(Duration::from_secs(1))
            .guard(guarded.then_some("entry"))
            .seal(published::seal())
            .development(true);
        match builder.start().await {
            Ok(audit) => break audit,
            Err(error) => {
                eprintln!("not started: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let app = Router::new()
        .route("/work", post(work))
        .layer(audit.layer())
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening {}", listener.local_addr().unwrap());
    let app: axum::Router = app.into();
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await
    .unwrap();
}
