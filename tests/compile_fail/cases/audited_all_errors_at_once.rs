#![allow(unused_variables)]

use axum::Json;
use platform_audit::{AuditTx, audited};

#[audited(acton = "entry.create", reason = "maybe", resource = "Entry")]
fn create_entry(tx: AuditTx, Json(new): Json<u64>, id: &u64) {}

fn main() {}
