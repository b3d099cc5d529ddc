//! How an audited operation runs: its transaction, the commit together with its records, the
//! rollback and the record of the attempt, and the cancellation safety of both.

mod audit_tx;
mod commit;
mod detach_on_drop;
mod nested;

pub use audit_tx::AuditTx;
pub(crate) use commit::{Committer, NotCommitted};
pub(crate) use detach_on_drop::{DetachOnDrop, detach_on_drop};
pub(crate) use nested::{inside, is_nested};
