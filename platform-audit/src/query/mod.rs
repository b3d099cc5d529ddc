//! Querying audit records: who did what to which resource, when, from where, why, and with what
//! outcome.
//!
//! An [`AuditReader`] runs [`AuditQuery`]s against Postgres or SQLite, page by page. Each caller
//! names an actor, and every read is itself recorded (action `audit.read`) before its results are
//! returned:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # async fn example(pool: sqlx::PgPool) -> Result<(), platform_audit::Error> {
//! use platform_audit::query::{AuditQuery, AuditReader};
//! use platform_audit::{Actor, Outcome};
//!
//! let reader = AuditReader::new(pool, "accounting")?;
//! let officer = reader.read_as(Actor::user("grace")).with_reason("quarterly review");
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
//! # Indexes
//!
//! On Postgres, these filters use an index, newest first: period, actor, resource, exact action,
//! outcomes other than success, trace id, request id and record id. A list of actors, actions,
//! resources, traces or requests costs one index scan for each value.
//!
//! All other filters (action prefix, tenant, service, client address, route, method, changed field,
//! reason) and all other sort orders scan every record of the period, so combine them with a
//! period.
//!
//! On SQLite, only period, actor, resource and record id use an index.
//!
//! # Who has read the log
//!
//! Reads are ordinary records: `AuditQuery::new().action("audit.read")` finds them. On Postgres,
//! the view `readings` has them as columns. Access that bypasses this module, such as manual SQL,
//! is not recorded; use the database's own log (pgaudit) for that.

mod actions;
mod cursor;
mod export;
mod filter;
mod horizon;
mod list;
mod reader;
mod reading;
mod split;
mod statement;
mod summary;
mod tail;
mod time;
mod union_view;

pub use actions::RecordedAction;
pub use cursor::Cursor;
pub use export::Export;
#[cfg(feature = "explorer")]
pub(crate) use filter::escape_value;
pub use filter::{AuditQuery, Direction, SortBy};
pub use reader::AuditReader;
pub use reading::{Origin, Page, Reading};
pub use summary::{Count, GroupBy, MAX_VALUES};
pub use tail::{Tail, TailBatch};
pub use time::parse_time;
pub use union_view::create_union_view;
