#![allow(unused_variables)]

use axum::extract::Path;
use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create", resource = "entry", resource_id = number)]
async fn unbound(tx: &mut AuditTx, Path(id): Path<u64>) {
    let _ = (tx, id);
}

fn main() {}
