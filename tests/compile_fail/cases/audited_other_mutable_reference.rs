#![allow(unused_variables)]

use axum::http::StatusCode;
use platform_audit::audited;

#[audited(action = "entry.create")]
async fn create_entry(list: &mut Vec<u64>) -> StatusCode {
    list.push(1);
    StatusCode::CREATED
}

fn main() {}
