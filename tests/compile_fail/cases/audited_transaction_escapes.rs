// The transaction cannot outlive the handler, so it is not borrowed at commit.
#![allow(unused_variables)]

use axum::http::StatusCode;
use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create")]
async fn create_entry(tx: &mut AuditTx) -> StatusCode {
    tokio::spawn(async move {
        let _ = tx.record_id();
    });
    StatusCode::CREATED
}

fn main() {}
