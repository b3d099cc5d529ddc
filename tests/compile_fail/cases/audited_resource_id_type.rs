#![allow(unused_variables)]

use axum::extract::Path;
use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create", resource = "entry", resource_id = id)]
async fn not_shown(tx: &mut AuditTx, Path(id): Path<Option<u64>>) {
    let _ = (tx, id);
}

fn main() {}
