use sqlx::{AssertSqlSafe, Pool, SqlSafeStr};

use crate::error::Error;
use crate::record::{COLUMNS, Kind};
use crate::store::AuditDatabase;

/// The columns of the view `records`, in SQL. Columns with an enumerated domain (`actor_kind`,
/// `outcome`) are cast to text, because each audit schema has its own domains.
fn columns() -> String {
    let columns = COLUMNS.iter().map(|column| match column.kind {
        Kind::Word => format!("{}::text", column.name),
        _ => column.name.to_owned(),
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Creates or replaces the view `compliance.audit_records` over the audit schemas of all services
/// in this database, and returns their names. Postgres only.
///
/// The column `audit_schema` names each row's schema. If `reader` is given, that role is granted
/// access. Call it again after a service was added or removed.
///
/// Audit schemas are recognised by a comment that the migrations set. The caller needs read access
/// to all of them and becomes the owner of the view. SQL queries on the view are not recorded as
/// reads.
///
/// # Errors
///
/// [`Error::NoSchemas`] on SQLite; [`Error::MissingRecordsView`] if a schema marked as an audit log
/// has no `records` view, as the view would silently omit it; [`Error::UnknownRole`] if the role
/// does not exist; [`Error::Store`] if a statement fails, for example because the user may not
/// create the view.
pub async fn create_union_view<DB: AuditDatabase>(
    pool: &Pool<DB>,
    reader: Option<&str>,
) -> Result<Vec<String>, Error> {
    if !DB::dialect(pool)?.0.has_schemas() {
        return Err(Error::NoSchemas);
    }
    let mut connection = pool.acquire().await.map_err(Error::Store)?;
    if let Some(role) = reader {
        let find_role = "SELECT rolname::text FROM pg_roles WHERE rolname = $1";
        let found = DB::fetch_texts(&mut connection, find_role.into(), vec![role.to_owned()]).await;
        if found.map_err(Error::Store)?.is_empty() {
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
    let statements = statements(&schemas, reader);
    let created = DB::run_raw(&mut connection, AssertSqlSafe(statements).into_sql_str()).await;
    if created.is_err() {
        // Leaves no transaction open on the pooled connection. A failing rollback adds no
        // information.
        let _rolled_back = DB::run_raw(&mut connection, "ROLLBACK".into_sql_str()).await;
    }
    created.map_err(Error::Store)?;
    Ok(schemas)
}

/// The SQL that replaces the view over `schemas`, which are quoted identifiers.
fn statements(schemas: &[String], reader: Option<&str>) -> String {
    let columns = columns();
    let parts: Vec<String> = schemas
        .iter()
        .map(|schema| {
            let name = schema.replace('\'', "''");
            format!("SELECT '{name}'::text AS audit_schema, {columns} FROM {schema}.records")
        })
        .collect();
    let mut statements = "BEGIN; CREATE SCHEMA IF NOT EXISTS compliance;".to_owned();
    if parts.is_empty() {
        statements += "DROP VIEW IF EXISTS compliance.audit_records;";
    } else {
        let union = parts.join(" UNION ALL ");
        // Replaced rather than dropped, so that existing grants and dependent views are kept.
        statements += &format!("CREATE OR REPLACE VIEW compliance.audit_records AS {union};");
        statements += "COMMENT ON VIEW compliance.audit_records IS 'Who did what, in any service of this database: the records of all audit schemas that existed when platform-audit unite was last run.';";
        if let Some(role) = reader {
            let role = role.replace('"', "\"\"");
            statements += &format!(
                "GRANT USAGE ON SCHEMA compliance TO \"{role}\"; GRANT SELECT ON compliance.audit_records TO \"{role}\";"
            );
        }
    }
    statements + "COMMIT"
}
