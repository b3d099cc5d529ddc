//! How an audited operation runs: the transaction that it is lent, its commit with its records or
//! its roll-back with its attempt's, and what keeps a dropped request from splitting the two.

mod audit_tx;
mod commit;
mod detach_on_drop;

pub use audit_tx::AuditTx;
pub(crate) use commit::{CommitOutcome, Committer};
pub(crate) use detach_on_drop::{DetachOnDrop, detach_on_drop};
