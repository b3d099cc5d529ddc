use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::escape_controls;

/// Who can still bypass what, and how that is found out: the limits of what a database can hold
/// its own administrators to. As text, a page; as JSON, the roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The audit schema, on SQLite the prefix of the tables.
    pub schema: String,
    /// Whom the guard cannot stop, on this database; empty on SQLite, which has no roles.
    pub trusted: Vec<Trusted>,
}

/// A role that the guard cannot stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trusted {
    /// Its name.
    pub role: String,
    /// What it owns; `None` for a superuser, who may do anything, and for who may become an owner.
    pub owns: Option<String>,
    /// The owner that it may become, by `SET ROLE`: it is a member of it, directly or through other
    /// roles, or may make itself one (`CREATEROLE` before Postgres 16).
    pub member_of: Option<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = &self.schema;
        if self.trusted.is_empty() {
            return write!(
                f,
                "SQLite has no roles: whoever can write the file can drop the triggers of the tables {schema}_*,
or change the file without SQLite. The guard stops mistakes, not intent.

Found out by: `platform-audit check`, for a trigger that is missing at the time; nothing, for one
that was dropped and made again. Keep the file where only the service can write."
            );
        }
        writeln!(f, "Superusers, whom nothing in the database stops:")?;
        let is_superuser = |it: &&Trusted| it.owns.is_none() && it.member_of.is_none();
        for trusted in self.trusted.iter().filter(is_superuser) {
            writeln!(f, "  {}", escape_controls(&trusted.role))?;
        }
        writeln!(
            f,
            "They can do all that an owner can, edit the catalogs, and change files.
  Found out by: the check, if the service itself connects as one; else only outside the database:
  by the server's log (log_statement = 'ddl', or pgaudit) kept where they cannot change it.

Owners, who can take the guard from what they own, and who may become one (SET ROLE):"
        )?;
        for trusted in &self.trusted {
            if let Some(owns) = &trusted.owns {
                writeln!(
                    f,
                    "  {} owns {}",
                    escape_controls(&trusted.role),
                    escape_controls(owns)
                )?;
            }
        }
        for trusted in &self.trusted {
            if let Some(owner) = &trusted.member_of {
                writeln!(
                    f,
                    "  {} may become {}",
                    escape_controls(&trusted.role),
                    escape_controls(owner)
                )?;
            }
        }
        write!(
            f,
            "  - {schema}.unguard() and {schema}.exempt()
      Found out by: the audit record that each leaves (action table.unguard, table.exempt).
  - DISABLE TRIGGER, DROP TRIGGER, CREATE OR REPLACE FUNCTION in {schema}, DETACH PARTITION, DROP TABLE
      Found out by: `platform-audit check` while it lasts; a trigger that was dropped and made again
      within one transaction, a function that was replaced, and what was dropped, only by the
      server's log.
  - UPDATE and DELETE of records, once the append-only triggers are off
      Found out by: `platform-audit check` while they are off; not afterwards, as records are not sealed yet.
Let the owner be a NOLOGIN role that only the deployment may become.

The application's role, even with any SQL it likes:
  - cannot commit a change of a guarded table without a success record of the same transaction.
  - can write a record that says something else than what it did: which transaction wrote it, and
    when, is the database's word, the rest is the application's."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trusted_role_is_listed_where_it_belongs() {
        let trusted = |role: &str, owns: Option<&str>, member_of: Option<&str>| Trusted {
            role: role.to_owned(),
            owns: owns.map(ToOwned::to_owned),
            member_of: member_of.map(ToOwned::to_owned),
        };
        let explanation = Explanation {
            schema: "ledger_audit".to_owned(),
            trusted: vec![
                trusted("root", None, None),
                trusted("ledger_owner", Some("ledger_audit"), None),
                trusted("deployer", None, Some("ledger_owner")),
            ],
        };
        let text = explanation.to_string();
        let (superusers, others) = text.split_once("Owners, who").unwrap();
        assert!(superusers.contains("\n  root\n"), "{superusers}");
        for other in ["ledger_owner", "deployer"] {
            assert!(!superusers.contains(other), "{superusers}");
        }
        assert!(others.contains("  ledger_owner owns ledger_audit\n"));
        assert!(others.contains("  deployer may become ledger_owner\n"));
    }
}
