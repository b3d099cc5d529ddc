//! How an audited operation runs: its transaction, its commit with its records or its rollback
//! with its attempt's, and what keeps a dropped request from splitting the two.

mod audit_tx;
mod commit;
mod detach_on_drop;
mod nested;

pub use audit_tx::AuditTx;
pub(crate) use commit::{Committer, NotCommitted};
pub(crate) use detach_on_drop::{DetachOnDrop, detach_on_drop};
pub(crate) use nested::{inside, is_nested};
