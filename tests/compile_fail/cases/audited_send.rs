#![allow(unused_variables)]

use axum::http::StatusCode;
use platform_audit::{AuditTx, audited};
use std::rc::Rc;

#[audited(action = "entry.create")]
async fn create_entry(tx: &mut AuditTx) -> StatusCode {
    let _ = tx;
    let shared = Rc::new(1);
    tokio::task::yield_now().await;
    drop(shared);
    StatusCode::CREATED
}

fn main() {}
