//! Finds what breaks the promise on Postgres: in the audit schema every difference from what the
//! migrations make, around it what lets the guard be bypassed.

use sqlx::SqlSafeStr;

use super::super::schema::{Tables, undecodable};
use super::super::{AuditDatabase, Schema};
use crate::check::{Finding, FindingKind, RawFinding, SchemaCatalog, differences};
use crate::error::Error;

impl<DB: AuditDatabase> Schema<'_, DB> {
    /// `other` is what was found before the schema could be compared: it has another version, or
    /// may not be read. Then nothing else is asked.
    pub(in crate::store) async fn findings_on_postgres(
        &mut self,
        other: Vec<RawFinding>,
        current_schema: Option<&str>,
        role: &str,
        tables: &Tables,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Finding>, Error> {
        let (name, service) = (self.name, self.service);
        let in_words = |found: RawFinding| found.with_postgres_remedy(name, service, role);
        if !other.is_empty() {
            return Ok(other.into_iter().map(in_words).collect());
        }
        let mut schemas = tables.schemas.clone();
        if schemas.is_empty() {
            schemas.extend(current_schema.map(ToOwned::to_owned));
            schemas.push(service.replace('-', "_"));
        }
        let schemas = serde_json::to_string(&schemas).unwrap_or_default();
        self.begin_with_fixed_settings().await?;
        let actual: SchemaCatalog = self
            .fetch_json(include_str!("catalog.sql"), Vec::new())
            .await?;
        let found: Result<Vec<RawFinding>, Error> = self
            .fetch_json(include_str!("check.sql"), vec![role.to_owned(), schemas])
            .await;
        self.run("COMMIT".to_owned(), Vec::new()).await?;
        if !actual.guards_definitions() {
            notes.push(format!(
                "DDL on a guarded table needs no record, as there are no event triggers: let a superuser run platform-audit migrate --service {service} --owner-role ... once"
            ));
        }
        let mut differences = differences(&actual, name, role).map_err(undecodable)?;
        let found = match found {
            Err(error) if is_undefined(&error) && !differences.is_empty() => Vec::new(),
            found => found?,
        };
        if found.iter().any(|it| it.kind == FindingKind::AppOwnsSchema) {
            // It names every object that the service's role owns, and an owner needs no grants.
            differences
                .retain(|it| !it.is_owner_mismatch() && it.kind != FindingKind::RightsMissing);
        }
        let mut findings: Vec<Finding> = found.into_iter().map(in_words).collect();
        findings.extend(differences);
        Ok(findings)
    }

    /// So that definitions read the same, and every name means the server's own, whatever the
    /// session's settings are. JIT would take longer than the statements.
    async fn begin_with_fixed_settings(&mut self) -> Result<(), Error> {
        const BEGIN: &str = "BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL quote_all_identifiers = off; \
            SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL jit = off";
        DB::run_raw(self.connection, BEGIN.into_sql_str())
            .await
            .map_err(Error::Store)
    }
}

/// Whether a statement named a table, column or function that is not there.
pub(in crate::store) fn is_undefined(error: &Error) -> bool {
    let Error::Store(sqlx::Error::Database(error)) = error else {
        return false;
    };
    matches!(error.code().as_deref(), Some("42P01" | "42703" | "42883"))
}
