//! Finds every difference between the audit schema and the one that the migrations create, and
//! every privilege, setting and owner that would allow the guard to be bypassed.

use sqlx::SqlSafeStr;

use super::super::schema::{Tables, undecodable};
use super::super::{AuditDatabase, Schema};
use crate::check::{Finding, FindingKind, RawFinding, SchemaCatalog, differences};
use crate::error::Error;

impl<DB: AuditDatabase> Schema<'_, DB> {
    /// `other` contains the findings about the schema's version and the role's privileges. If there
    /// are any, nothing else is compared.
    pub(in crate::store) async fn findings_on_postgres(
        &mut self,
        other: Vec<RawFinding>,
        current_schema: Option<&str>,
        role: &str,
        tables: &Tables,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Finding>, Error> {
        let (name, service) = (self.name, self.service);
        let describe = |found: RawFinding| found.with_postgres_remedy(name, service, role);
        if !other.is_empty() {
            return Ok(other.into_iter().map(describe).collect());
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
                "DDL on a guarded table needs no record, because there are no event triggers: as a superuser, run platform-audit migrate --service {service} --owner-role ... once"
            ));
        }
        let mut differences = differences(&actual, name, role).map_err(undecodable)?;
        let found = match found {
            Err(error) if is_undefined(&error) && !differences.is_empty() => Vec::new(),
            found => found?,
        };
        if found.iter().any(|it| it.kind == FindingKind::AppOwnsSchema) {
            // `AppOwnsSchema` already lists every object that the service's role owns, and owners
            // need no grants.
            differences
                .retain(|it| !it.is_owner_mismatch() && it.kind != FindingKind::PrivilegesMissing);
        }
        let mut findings: Vec<Finding> = found.into_iter().map(describe).collect();
        findings.extend(differences);
        Ok(findings)
    }

    /// Begins a transaction with fixed settings, so that definitions are printed the same and names
    /// resolve to the server's own objects in every session. JIT compilation would take longer than
    /// the statements.
    async fn begin_with_fixed_settings(&mut self) -> Result<(), Error> {
        const BEGIN: &str = "BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL quote_all_identifiers = off; \
            SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL jit = off";
        DB::run_raw(self.connection, BEGIN.into_sql_str())
            .await
            .map_err(Error::Store)
    }
}

/// Whether a statement names a table, column or function that does not exist.
pub(in crate::store) fn is_undefined(error: &Error) -> bool {
    let Error::Store(sqlx::Error::Database(error)) = error else {
        return false;
    };
    matches!(error.code().as_deref(), Some("42P01" | "42703" | "42883"))
}
