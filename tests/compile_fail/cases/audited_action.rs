#![allow(unused_variables)]

use axum::Json;
use platform_audit::{AuditTx, audited};

#[audited]
async fn create_entry(tx: &mut AuditTx, Json(new): Json<u64>) {}

#[audited()]
async fn close_ledger_year(tx: &mut AuditTx) {}

#[audited(reason = "required")]
async fn close_ledger(tx: &mut AuditTx) {}

#[audited(action)]
async fn create_account(tx: &mut AuditTx) {}

#[audited(action = CREATE)]
async fn no_literal(tx: &mut AuditTx) {}

#[audited(action = "entry")]
async fn one_part(tx: &mut AuditTx) {}

#[audited(action = "Entry.Create")]
async fn upper_case(tx: &mut AuditTx) {}

#[audited(action = "entry..create")]
async fn empty_part(tx: &mut AuditTx) {}

#[audited(action = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b")]
async fn too_long(tx: &mut AuditTx) {}

#[audited(action = "entry.create", resource = "ledger.entry")]
async fn dotted_resource(tx: &mut AuditTx) {}

fn main() {}
