//! The audit schema of one service: its migration, guarded tables, privileges and check.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::migrate::{self, Drift};
use super::postgres::is_undefined;
use super::{AuditDatabase, Dialect};
use crate::check::{Explanation, Finding, FindingKind, RawFinding, Report, Sealing};
use crate::error::Error;

/// The tables that a service guards or exempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) guarded: Vec<String>,
    /// Tables and reasons.
    pub(crate) exempt: Vec<(String, String)>,
    /// The schemas in which every table has to be guarded or exempt. An empty list stands for the
    /// connection's current schema and the schema with the service's name.
    pub(crate) schemas: Vec<String>,
}

/// The audit schema of one service, through one connection.
pub(crate) struct Schema<'a, DB: AuditDatabase> {
    pub(super) connection: &'a mut DB::Connection,
    pub(super) dialect: Dialect,
    pub(super) name: &'a str,
    pub(super) service: &'a str,
}

/// The state of the schema and the privileges of the connection's role; see `state.sql`.
#[derive(Debug, Deserialize)]
struct State {
    role: String,
    /// The first schema of the connection's search path that exists; Postgres only.
    #[serde(default)]
    current_schema: Option<String>,
    exists: bool,
    migrated: bool,
    readable: bool,
    /// Whether the role may read the view `records`, as compliance staff do.
    reads: bool,
    may_migrate: bool,
}

impl<DB: AuditDatabase> Schema<'_, DB> {
    /// Migrates the schema if it is outdated, and guards and exempts tables, as far as the role's
    /// privileges allow.
    pub(crate) async fn bring_up_to_date(&mut self, tables: &Tables) -> Result<(), Error> {
        let state = self.state().await?;
        let behind = !state.migrated || state.readable && !self.drift().await?.behind.is_empty();
        if behind && !state.may_migrate {
            return Ok(());
        }
        if behind {
            self.migrate().await?;
        } else if state.may_migrate {
            self.register().await?;
        }
        self.apply(tables).await
    }

    /// Migrates the schema, or fails if the role lacks the privileges.
    pub(crate) async fn migrate(&mut self) -> Result<(), Error> {
        let state = self.state().await?;
        if state.migrated && state.readable {
            let versions = self.drift().await?.ahead;
            if !versions.is_empty() {
                let schema = self.name.to_owned();
                return Err(Error::SchemaAhead { schema, versions });
            }
        }
        migrate::run::<DB>(self.connection, self.dialect, self.name, !state.exists).await?;
        self.guard_definitions().await?;
        self.register().await
    }

    /// Creates the event triggers for DDL on guarded tables, if either the current role or the
    /// session's user may do so.
    async fn guard_definitions(&mut self) -> Result<(), Error> {
        if self.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let in_schema = |text: &str| text.replace("{schema}", self.name);
        let lock = in_schema(include_str!("postgres/lock_migration.sql"));
        let create = in_schema(include_str!("postgres/guard_ddl.sql"));
        let statements = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\n{lock};\n{create};\nSET LOCAL ROLE NONE;\n{create};\nCOMMIT;"
        );
        self.run_or_roll_back(statements).await
    }

    /// Registers the service's name for `write_record()`, if the role has the privilege.
    async fn register(&mut self) -> Result<(), Error> {
        if self.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let may = format!(
            "SELECT has_table_privilege('{}.service', 'INSERT')::text",
            self.name
        );
        if self.fetch(may, Vec::new()).await?.as_deref() != Some("true") {
            return Ok(());
        }
        let insert = format!(
            "INSERT INTO {}.service (name) VALUES ($1) ON CONFLICT DO NOTHING",
            self.name
        );
        self.run(insert, vec![self.service.to_owned()]).await
    }

    /// Guards and exempts the tables that the service names, as far as the role's privileges allow.
    pub(crate) async fn apply(&mut self, tables: &Tables) -> Result<(), Error> {
        let named = tables.guarded.iter();
        for table in named.chain(tables.exempt.iter().map(|(table, _)| table)) {
            self.require_table(table).await?;
        }
        for table in &tables.guarded {
            match self.dialect {
                Dialect::Postgres => self.call_for_table("guard", table, None).await?,
                Dialect::Sqlite => self.guard_on_sqlite(table).await?,
            }
        }
        for (table, reason) in &tables.exempt {
            match self.dialect {
                Dialect::Postgres => self.call_for_table("exempt", table, Some(reason)).await?,
                Dialect::Sqlite => self.exempt_on_sqlite(table, reason).await?,
            }
        }
        Ok(())
    }

    async fn require_table(&mut self, table: &str) -> Result<(), Error> {
        let known = match self.dialect {
            Dialect::Postgres => "SELECT relname::text FROM pg_class WHERE oid = to_regclass($1)",
            Dialect::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = $1",
        };
        let known = self.fetch(known.to_owned(), vec![table.to_owned()]).await?;
        known
            .map(drop)
            .ok_or_else(|| Error::UnknownTable(table.to_owned()))
    }

    /// Calls `guard()` or `exempt()` if the role owns the table. Otherwise the check reports it.
    async fn call_for_table(
        &mut self,
        function: &str,
        table: &str,
        reason: Option<&String>,
    ) -> Result<(), Error> {
        let schema = self.name;
        let (parameters, arguments) = match reason {
            None => ("regclass", "$1::regclass"),
            Some(_) => ("regclass, text", "$1::regclass, $2"),
        };
        let may = format!(
            "SELECT (has_schema_privilege('{schema}', 'USAGE') AND has_function_privilege(to_regprocedure('{schema}.{function}({parameters})'), 'EXECUTE')
                AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = $1::regclass), 'USAGE'))::text"
        );
        let may = self.fetch(may, vec![table.to_owned()]).await?;
        if may.as_deref() == Some("true") {
            let mut given = vec![table.to_owned()];
            given.extend(reason.cloned());
            self.run(format!("SELECT {schema}.{function}({arguments})"), given)
                .await?;
        }
        Ok(())
    }

    /// Finds everything that would allow a change to be committed without its record, or a record
    /// to be changed. `role` is the service's; the default is the connection's.
    pub(crate) async fn check(
        &mut self,
        role: Option<&str>,
        tables: &Tables,
    ) -> Result<Report, Error> {
        let state = self.state().await?;
        if let Some(role) = role {
            self.require_role(role).await?;
        }
        if self.dialect == Dialect::Postgres {
            for schema in &tables.schemas {
                let known = "SELECT nspname::text FROM pg_namespace WHERE nspname = $1";
                let known = self.fetch(known.to_owned(), vec![schema.clone()]).await?;
                known.ok_or_else(|| Error::UnknownSchema(schema.clone()))?;
            }
        }
        // Without privileges, the connection cannot check another role.
        if !state.readable && (state.reads || role.is_some_and(|role| role != state.role)) {
            return Err(Error::NotChecked {
                schema: self.name.to_owned(),
                user: state.role,
            });
        }
        let role = role.map_or(state.role.clone(), ToOwned::to_owned);
        let mut notes = Vec::new();
        let mut findings = self.find(&state, &role, tables, &mut notes).await?;
        if state.migrated && state.readable {
            let sealing = match self.dialect {
                Dialect::Postgres => include_str!("postgres/sealing.sql"),
                Dialect::Sqlite => include_str!("sqlite/sealing.sql"),
            };
            // Without the tables, or a privilege on them, there are findings above.
            if let Ok(Some(sealing)) = self
                .fetch_json::<Option<Sealing>>(sealing, Vec::new())
                .await
            {
                findings.extend(sealing.finding(self.name, self.service));
                notes.extend(sealing.note(self.service));
            }
        }
        Ok(Report {
            notes,
            schema: self.name.to_owned(),
            role,
            findings,
        })
    }

    /// The roles that can bypass the guard.
    pub(crate) async fn explain(&mut self) -> Result<Explanation, Error> {
        let trusted = match self.dialect {
            Dialect::Postgres => {
                self.fetch_json(include_str!("postgres/trusted.sql"), Vec::new())
                    .await?
            }
            Dialect::Sqlite => Vec::new(),
        };
        Ok(Explanation {
            schema: self.name.to_owned(),
            trusted,
        })
    }

    async fn find(
        &mut self,
        state: &State,
        role: &str,
        tables: &Tables,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Finding>, Error> {
        let mut found = Vec::new();
        if state.readable {
            let drift = if state.migrated {
                // A missing column is reported as a difference below.
                let drift = self.drift().await;
                drift.or_else(|error| is_undefined(&error).then(Drift::default).ok_or(error))?
            } else {
                Drift::of(self.dialect, &[])
            };
            for (kind, versions) in [
                (FindingKind::MigrationBehind, &drift.behind),
                (FindingKind::MigrationAhead, &drift.ahead),
            ] {
                if !versions.is_empty() {
                    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
                    let detail = format!("migration {}", versions.join(", "));
                    found.push(RawFinding::new(kind, self.name, detail));
                }
            }
        } else {
            found.push(RawFinding::new(
                FindingKind::PrivilegesMissing,
                self.name,
                "",
            ));
        }
        match self.dialect {
            Dialect::Postgres => {
                self.findings_on_postgres(
                    found,
                    state.current_schema.as_deref(),
                    role,
                    tables,
                    notes,
                )
                .await
            }
            Dialect::Sqlite => self.findings_on_sqlite(found).await,
        }
    }

    async fn state(&mut self) -> Result<State, Error> {
        let statement = match self.dialect {
            Dialect::Postgres => include_str!("postgres/state.sql"),
            Dialect::Sqlite => include_str!("sqlite/state.sql"),
        };
        self.fetch_json(statement, Vec::new()).await
    }

    async fn drift(&mut self) -> Result<Drift, Error> {
        let statement = match self.dialect {
            Dialect::Postgres => include_str!("postgres/versions.sql"),
            Dialect::Sqlite => include_str!("sqlite/versions.sql"),
        };
        let applied: Vec<i64> = self.fetch_json(statement, Vec::new()).await?;
        Ok(Drift::of(self.dialect, &applied))
    }

    /// Calls `grant_app()` or `grant_reader()` for `role`.
    pub(crate) async fn grant(&mut self, function: &str, role: &str) -> Result<(), Error> {
        self.require_role(role).await?;
        let grant = format!("SELECT {}.{function}(quote_ident($1)::regrole)", self.name);
        self.run(grant, vec![role.to_owned()]).await
    }

    async fn require_role(&mut self, role: &str) -> Result<(), Error> {
        let known = match self.dialect {
            Dialect::Postgres => {
                let known = "SELECT count(*)::text FROM pg_roles WHERE rolname = $1".to_owned();
                self.fetch(known, vec![role.to_owned()]).await?.as_deref() == Some("1")
            }
            Dialect::Sqlite => false,
        };
        if known {
            Ok(())
        } else {
            Err(Error::UnknownRole(role.to_owned()))
        }
    }

    pub(super) async fn fetch_json<T: DeserializeOwned>(
        &mut self,
        statement: &str,
        arguments: Vec<String>,
    ) -> Result<T, Error> {
        let statement = statement.replace("{schema}", self.name);
        let text = self.fetch(statement, arguments).await?;
        serde_json::from_str(text.as_deref().unwrap_or("null")).map_err(undecodable)
    }

    pub(super) async fn fetch(
        &mut self,
        statement: String,
        arguments: Vec<String>,
    ) -> Result<Option<String>, Error> {
        DB::fetch_text(self.connection, Arc::from(statement), arguments)
            .await
            .map_err(Error::Store)
    }

    pub(super) async fn run(
        &mut self,
        statement: String,
        arguments: Vec<String>,
    ) -> Result<(), Error> {
        DB::run(self.connection, Arc::from(statement), |put| {
            arguments.iter().for_each(|it| put(it.as_str().into()));
        })
        .await
        .map(drop)
        .map_err(Error::Store)
    }

    /// Runs `statements` in one transaction. SQLite only.
    pub(super) async fn run_together(&mut self, statements: String) -> Result<(), Error> {
        self.run_or_roll_back(format!("BEGIN IMMEDIATE;\n{statements}\nCOMMIT;"))
            .await
    }

    /// Runs statements that contain their BEGIN and COMMIT, and rolls back if one fails.
    async fn run_or_roll_back(&mut self, statements: String) -> Result<(), Error> {
        let statements = AssertSqlSafe(statements);
        let done = DB::run_raw(self.connection, statements.into_sql_str()).await;
        if done.is_err() {
            let undo = DB::run_raw(self.connection, "ROLLBACK".into_sql_str()).await;
            drop(undo);
        }
        done.map_err(Error::Store)
    }
}

pub(super) fn undecodable(error: serde_json::Error) -> Error {
    Error::Store(sqlx::Error::Decode(Box::new(error)))
}
