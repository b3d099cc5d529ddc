#![allow(unused_variables)]

use platform_audit::{AuditTx, audited};

struct Entry;

#[audited(action = "entry.create")]
async fn create_entry(tx: &mut AuditTx) -> Entry {
    let _ = tx;
    Entry
}

fn main() {}
