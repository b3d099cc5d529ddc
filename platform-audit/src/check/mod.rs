//! Checks that the database enforces the audit guarantees, and suggests a remedy for each problem.
//!
//! A problem allows a change to be committed without its record, or a record to be changed.
//! [`AuditBuilder::start`](crate::AuditBuilder::start) runs the check and returns an error if it
//! finds one, except in [development](crate::AuditBuilder::development).
//! [`AuditBuilder::check`](crate::AuditBuilder::check) and the command `platform-audit check` run it
//! at any time:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use platform_audit::{Audit, check::FindingKind};
//! use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
//!
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("ledger.db");
//! let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
//! let pool = SqlitePool::connect_with(options).await?;
//! sqlx::query("CREATE TABLE entry (id INTEGER PRIMARY KEY)").execute(&pool).await?;
//! let audit = Audit::builder(pool, "ledger");
//! audit.migrate().await?;
//!
//! let report = audit.check().await?;
//! assert_eq!(report.findings[0].kind, FindingKind::TableUnguarded);
//! assert_eq!(report.findings[0].object, "entry");
//!
//! let audit = audit.guard(["entry"]);
//! audit.migrate().await?;
//! assert!(audit.check().await?.is_clean());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod differences;
mod explanation;
mod finding;
mod partition;
mod privileges;
mod remedies;
mod report;
mod sealing;

pub(crate) use differences::{SchemaCatalog, differences};
pub use explanation::{Explanation, TrustedRole};
pub(crate) use finding::RawFinding;
pub use finding::{Finding, FindingKind};
pub use report::Report;
pub(crate) use sealing::Sealing;
#[cfg(feature = "seal")]
pub(crate) use sealing::contradicted;
