#![allow(unused_variables)]

use platform_audit::{AuditTx, audited};

#[audited("entry.create")]
async fn no_name(tx: &mut AuditTx) {}

#[audited(acton = "entry.create")]
async fn misspelt(tx: &mut AuditTx) {}

#[audited(action = "entry.create", wibble(1, 2), read)]
async fn unknown(tx: &mut AuditTx) {}

#[audited(action = "entry.create", action = "entry.update")]
async fn repeated(tx: &mut AuditTx) {}

#[audited(action = "entry.create" read)]
async fn no_comma(tx: &mut AuditTx) {}

#[audited(action = "entry.create", reason = "optional", actor)]
async fn wrong_values(tx: &mut AuditTx) {}

#[audited(action = "entry.create", read = true)]
async fn valued_flag(tx: &mut AuditTx) {}

#[audited(action = "entry.create", crate_path = "not a path")]
async fn no_path(tx: &mut AuditTx) {}

fn main() {}
