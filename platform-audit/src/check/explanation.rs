//! Which roles the guard cannot restrict.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::escape_controls;

/// The roles that can bypass the guard, and how a bypass is detected: a database cannot fully
/// restrict its own administrators. `Display` formats a page of text; the JSON form is the list of
/// roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The audit schema; on SQLite, the table prefix.
    pub schema: String,
    /// The roles that the guard cannot restrict; empty on SQLite, which has no roles.
    pub trusted: Vec<TrustedRole>,
}

/// A role that the guard cannot restrict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrustedRole {
    /// The role's name.
    pub role: String,
    /// What the role owns; `None` for a superuser, and for a role that can become an owner.
    pub owns: Option<String>,
    /// The owner that the role can become with `SET ROLE`: it is a member of it, directly or
    /// through other roles, or can grant itself membership (`CREATEROLE` before Postgres 16).
    pub member_of: Option<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = &self.schema;
        if self.trusted.is_empty() {
            return write!(
                f,
                "SQLite has no roles: anybody who can write the file can drop the triggers of the tables
{schema}_*, or change the file without SQLite. The guard prevents mistakes, not attacks.

Detected by: `platform-audit check`, while a trigger is missing; nothing, if a trigger was dropped
and created again. Store the file where only the service can write."
            );
        }
        writeln!(f, "Superusers, whom the database cannot restrict:")?;
        let is_superuser = |role: &&TrustedRole| role.owns.is_none() && role.member_of.is_none();
        for trusted in self.trusted.iter().filter(is_superuser) {
            writeln!(f, "  {}", escape_controls(&trusted.role))?;
        }
        writeln!(
            f,
            "They can do anything that an owner can, edit the catalogs, and change files.
  Detected by: the check, if the service itself connects as one; otherwise only outside the
  database: by the server's log (log_statement = 'ddl', or pgaudit), stored where they cannot
  change it.

Owners, who can remove the guard from what they own, and roles that may become one (SET ROLE):"
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
      Detected by: the audit record that each writes (action table.unguard, table.exempt).
  - DISABLE TRIGGER, DROP TRIGGER, CREATE OR REPLACE FUNCTION in {schema}, DETACH PARTITION,
    DROP TABLE
      Detected by: `platform-audit check` while the change is in place. A trigger that was dropped
      and created again in one transaction, a replaced function and a dropped object: only by the
      server's log.
  - UPDATE and DELETE of records while the append-only triggers are disabled
      Detected by: `platform-audit check` while they are disabled; not afterwards, as records are
      not sealed yet.
Make the owner a NOLOGIN role that only the deployment may become.

The application's role, with arbitrary SQL:
  - cannot commit a change of a guarded table without a success record in the same transaction.
  - can write a record that does not match what it did: the database sets the record's transaction
    and time, the application everything else."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superusers_and_owners_are_listed_separately() {
        let trusted = |role: &str, owns: Option<&str>, member_of: Option<&str>| TrustedRole {
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
