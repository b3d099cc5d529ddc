// An error in the options is one error: the router does not also report an unaudited handler.
#![allow(unused_variables)]

use axum::http::StatusCode;
use platform_audit::routing::{Router, post};
use platform_audit::{AuditTx, audited};

#[audited(action = "Entry.Create")]
async fn create_entry(tx: &mut AuditTx) -> StatusCode {
    let _ = tx;
    StatusCode::CREATED
}

fn main() {
    let _: Router = Router::new().route("/entries", post(create_entry));
}
