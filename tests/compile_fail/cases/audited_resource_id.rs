#![allow(unused_variables)]

use axum::extract::Path;
use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create", resource = "entry", resource_id = tx.record_id())]
async fn of_the_transaction(tx: &mut AuditTx) {}

#[audited(action = "entry.create", resource = "entry", resource_id)]
async fn no_value(tx: &mut AuditTx, Path(id): Path<u64>) {}

fn main() {}
