//! The scheme of Carbonite: the handler first inserts a row for its transaction; a row trigger
//! copies each changed row, and fails without the transaction's row.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use sqlx::{PgPool, PgTransaction};

use super::{Failure, Posted, Scheme, entries, insert, insert_many};

pub(super) const SCHEME: Scheme = Scheme {
    key: "transaction_row",
    name: "(f) transaction row (Carbonite)",
    records: "change",
    set_up: |installation| Box::pin(installation.run(TABLE)),
    service: |pool| Box::pin(async { service(pool) }),
};

const TABLE: &str = "
    CREATE TABLE transaction (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xact_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
        meta jsonb NOT NULL, inserted_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE UNIQUE INDEX transaction_xact_id ON transaction (xact_id);
    CREATE TABLE change (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, transaction_id bigint NOT NULL REFERENCES transaction,
        op text NOT NULL, table_prefix text NOT NULL, table_name text NOT NULL, table_pk text[], data jsonb NOT NULL, changed text[] NOT NULL
    );
    CREATE INDEX change_transaction_id ON change (transaction_id);
    CREATE INDEX change_table ON change (table_prefix, table_name, table_pk);
    CREATE FUNCTION capture() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        transaction_id bigint;
    BEGIN
        SELECT id INTO transaction_id FROM transaction WHERE xact_id = pg_current_xact_id();
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no transaction row was inserted before %.% was changed', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
        END IF;
        INSERT INTO change (transaction_id, op, table_prefix, table_name, table_pk, data, changed)
        VALUES (transaction_id, lower(TG_OP), TG_TABLE_SCHEMA, TG_TABLE_NAME, ARRAY[COALESCE(NEW.id, OLD.id)::text], to_jsonb(COALESCE(NEW, OLD)), '{}');
        RETURN NULL;
    END $$;
    CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION capture();
    GRANT SELECT, INSERT ON transaction TO {app};
    GRANT INSERT ON change TO {app}";

fn service(pool: PgPool) -> Router {
    Router::new()
        .route("/entries", post(create))
        .route("/imports", post(import))
        .with_state(pool)
}

async fn create(
    State(pool): State<PgPool>,
    headers: HeaderMap,
    Json(posted): Json<Posted>,
) -> Result<StatusCode, Failure> {
    let mut tx = begin(&pool, &headers, "entry.create").await?;
    insert(&mut *tx, &posted.into()).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

async fn import(
    State(pool): State<PgPool>,
    headers: HeaderMap,
    Json(posted): Json<Vec<Posted>>,
) -> Result<StatusCode, Failure> {
    let mut tx = begin(&pool, &headers, "entry.import").await?;
    insert_many(&mut *tx, &entries(posted)).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

async fn begin(
    pool: &PgPool,
    headers: &HeaderMap,
    action: &str,
) -> Result<PgTransaction<'static>, Failure> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let meta = json!({
        "type": action, "actor": header("x-actor"), "request_id": header("x-request-id"), "user_agent": header("user-agent"),
    });
    let mut tx = pool.begin().await?;
    sqlx::query("INSERT INTO transaction (meta) VALUES ($1)")
        .bind(meta)
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}
