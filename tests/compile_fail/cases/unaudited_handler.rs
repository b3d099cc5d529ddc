#![allow(unused_variables)]

use axum::Json;
use axum::http::StatusCode;
use platform_audit::routing::{MethodRouter, Router, any, delete, get, on, patch, post, put};

async fn create_entry(Json(new): Json<u64>) -> StatusCode {
    let _ = new;
    StatusCode::CREATED
}

async fn list_entries() -> StatusCode {
    StatusCode::OK
}

fn main() {
    let _: Router = Router::new().route("/1", post(create_entry));
    let _: Router = Router::new().route("/2", get(list_entries).post(create_entry));
    let _: MethodRouter = put(list_entries);
    let _: MethodRouter = patch(list_entries);
    let _: MethodRouter = delete(list_entries);
    let _: MethodRouter = any(list_entries);
    let _: MethodRouter = on(axum::routing::MethodFilter::POST, list_entries);
}
