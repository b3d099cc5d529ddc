#![allow(unused_variables)]

use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create")]
fn no_async(tx: &mut AuditTx) {}

struct Entries;

impl Entries {
    #[audited(action = "entry.create")]
    async fn method(&self, tx: &mut AuditTx) {}
}

trait Create {
    #[audited(action = "entry.create")]
    async fn no_body(tx: &mut AuditTx);
}

#[audited(action = "entry.create")]
struct NoFunction;

#[audited(action = "entry.create")]
async unsafe fn is_unsafe(tx: &mut AuditTx) {}

#[audited(action = "entry.create")]
async extern "C" fn is_foreign(tx: &mut AuditTx) {}

#[audited(action = "entry.create")]
async fn conditional(tx: &mut AuditTx, #[cfg(unix)] new: u64) {}

#[audited(action = "entry.create")]
#[audited(action = "entry.update")]
async fn twice(tx: &mut AuditTx) {}

#[audited(action = "entry.create")]
#[platform_audit::audit_exempt(reason = "stores nothing")]
async fn both(tx: &mut AuditTx) {}

fn main() {}
