use sqlx::{AssertSqlSafe, Pool, SqlSafeStr};

use crate::error::Error;
use crate::store::{AuditDatabase, Dialect};

/// The columns of `records` in every version so far.
const COLUMNS: &str = "id, xid, occurred_at, recorded_at, service, service_version, actor_kind::text, actor_id, actor_session, actor_tenant, \
    actor_on_behalf_of, action, resource_type, resource_id, outcome::text, status, error_type, reason, request_id, method, route, path, \
    client_address, user_agent, trace_id, span_id, changes, details, cut";

/// Makes the view `compliance.audit_records` over the audit schemas of all services in this
/// database, or makes it anew when services have come or gone; answers their schemas. Each row says in `audit_schema` where it
/// is from. `reader`, if there is one, may read it. Postgres only.
///
/// The schemas are known by the comment that the migrations leave on them. Who calls it must be able
/// to read them all, and owns the view. What is read through the view, with SQL, leaves no record of a reading.
///
/// # Errors
///
/// [`Error::NoSchemas`] on SQLite; [`Error::MissingRecordsView`] when a schema that is marked as an
/// audit log holds none, as the view would leave it out; [`Error::UnknownRole`] when there is no such role; [`Error::Store`] when the database cannot be
/// asked, or its user may not make the view.
pub async fn unite<DB: AuditDatabase>(
    pool: &Pool<DB>,
    reader: Option<&str>,
) -> Result<Vec<String>, Error> {
    if DB::dialect(pool)?.0 == Dialect::Sqlite {
        return Err(Error::NoSchemas);
    }
    let mut connection = pool.acquire().await.map_err(Error::Store)?;
    if let Some(role) = reader {
        let known = "SELECT rolname::text FROM pg_roles WHERE rolname = $1";
        let known = DB::fetch_texts(&mut connection, known.into(), vec![role.to_owned()]).await;
        if known.map_err(Error::Store)?.is_empty() {
            return Err(Error::UnknownRole(role.to_owned()));
        }
    }
    let marked = "SELECT quote_ident(nspname) FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = 'platform-audit' ORDER BY 1";
    let schemas = DB::fetch_texts(&mut connection, marked.into(), Vec::new())
        .await
        .map_err(Error::Store)?;
    let empty = "SELECT quote_ident(nspname) FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = 'platform-audit' AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relname = 'records') ORDER BY 1";
    let empty = DB::fetch_texts(&mut connection, empty.into(), Vec::new())
        .await
        .map_err(Error::Store)?;
    if let Some(schema) = empty.into_iter().next() {
        return Err(Error::MissingRecordsView(schema));
    }
    let parts: Vec<String> = schemas
        .iter()
        .map(|schema| {
            let name = schema.replace('\'', "''");
            format!("SELECT '{name}'::text AS audit_schema, {COLUMNS} FROM {schema}.records")
        })
        .collect();
    let mut statements = "BEGIN; CREATE SCHEMA IF NOT EXISTS compliance;".to_owned();
    if parts.is_empty() {
        statements += "DROP VIEW IF EXISTS compliance.audit_records;";
    } else {
        let union = parts.join(" UNION ALL ");
        // Not dropped, so that who may read it still may.
        statements += &format!("CREATE OR REPLACE VIEW compliance.audit_records AS {union};");
        statements += "COMMENT ON VIEW compliance.audit_records IS 'Who did what, in any service of this database: the records of all audit schemas, as platform-audit unite found them.';";
        if let Some(role) = reader {
            let role = role.replace('"', "\"\"");
            statements += &format!(
                "GRANT USAGE ON SCHEMA compliance TO \"{role}\"; GRANT SELECT ON compliance.audit_records TO \"{role}\";"
            );
        }
    }
    statements += "COMMIT";
    let made = DB::run_raw(&mut connection, AssertSqlSafe(statements).into_sql_str()).await;
    if made.is_err() {
        // Nothing is left open on the service's connection; that it fails too is no news.
        let _rolled_back = DB::run_raw(&mut connection, "ROLLBACK".into_sql_str()).await;
    }
    made.map_err(Error::Store)?;
    Ok(schemas)
}
