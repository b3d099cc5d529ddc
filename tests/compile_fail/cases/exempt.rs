#![allow(unused_variables)]

use platform_audit::{AuditTx, audit_exempt};

#[audit_exempt]
async fn no_reason() {}

#[audit_exempt(reason = " ")]
async fn empty_reason() {}

#[audit_exempt(reason = WHY)]
async fn no_literal() {}

#[audit_exempt(raeson = "stores nothing", reason = "stores nothing", reason = "really")]
async fn misspelt_and_repeated() {}

#[audit_exempt(reason = "stores nothing")]
async fn transaction(tx: &mut AuditTx) {}

#[audit_exempt(reason = "stores nothing")]
async fn owned_transaction(tx: AuditTx) {}

#[audit_exempt(reason = "stores nothing")]
async fn reference(new: &u64) {}

#[audit_exempt(reason = "stores nothing")]
fn no_async() {}

#[audit_exempt(reason = "stores nothing")]
enum NoFunction {}

fn main() {}
