//! What compliance asks of the records: who did what to which resource, when, from where, why and
//! with what outcome.
//!
//! An [`AuditReader`] answers [`AuditQuery`]s over Postgres and SQLite, page by page; whoever asks
//! names an actor, and each answer leaves a record of its own (action `audit.read`) before it is
//! handed out:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # async fn example(pool: sqlx::PgPool) -> Result<(), platform_audit::Error> {
//! use platform_audit::query::{AuditQuery, AuditReader};
//! use platform_audit::{Actor, Outcome};
//!
//! let reader = AuditReader::new(pool, "accounting")?;
//! let officer = reader.asked_by(Actor::user("grace")).because("quarterly review");
//! let denied = AuditQuery::new().outcome(Outcome::Denied).action("entry.*");
//! let page = officer.page(&denied, None).await?;
//! for record in &page.records {
//!     println!("{} {}", record.actor.id, record.action);
//! }
//! if let Some(next) = &page.next {
//!     let more = officer.page(&denied, Some(next)).await?;
//!     println!("and {} more", more.records.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What has an index
//!
//! On Postgres: period, actor, resource, exact action, outcomes other than success, trace id, request
//! id and record id, each newest first; of several actors, actions, resources, traces or requests,
//! each costs as much as one. What else there is (a prefix of an action, tenant, service,
//! address, route, method, changed field, text of the reason), and every other order, reads all
//! records of the period, so name a period with them. On SQLite: period, actor, resource and record
//! id; all else reads all records of the period.
//!
//! # Who looked
//!
//! The readings are records like others: `AuditQuery::new().action("audit.read")` finds them, and on
//! Postgres the view `readings` has them as columns. What was looked at without this module, as with SQL
//! by hand, leaves none: the database's own log (pgaudit) has to tell of that.

mod actions;
mod cursor;
mod export;
mod filter;
mod horizon;
mod list;
mod moment;
mod parts;
mod reader;
mod reading;
mod statement;
mod summary;
mod tail;
mod unite;

pub use actions::RecordedAction;
pub use cursor::Cursor;
pub use export::Export;
#[cfg(feature = "explorer")]
pub(crate) use filter::exact;
pub use filter::{AuditQuery, Direction, SortBy};
pub use moment::moment;
pub use reader::AuditReader;
pub use reading::{Origin, Page, Reading};
pub use summary::{Count, GroupBy, MOST_VALUES};
pub use tail::{Tail, TailBatch};
pub use unite::unite;
