#![allow(unused_variables)]

use axum::Json;
use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create")]
async fn none(Json(new): Json<u64>) {}

#[audited(action = "entry.create")]
async fn no_parameters() {}

#[audited(action = "entry.create")]
async fn two(tx: &mut AuditTx, other: &mut AuditTx) {}

#[audited(action = "entry.create")]
async fn by_value(tx: AuditTx) {}

#[audited(action = "entry.create")]
async fn shared(tx: &AuditTx) {}

#[audited(action = "entry.create")]
async fn other_reference(tx: &mut AuditTx, new: &u64) {}

fn main() {}
