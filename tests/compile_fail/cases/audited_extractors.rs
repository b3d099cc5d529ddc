#![allow(unused_variables)]

use axum::Json;
use axum::http::{HeaderMap, Method};
use platform_audit::{AuditTx, audited};

#[audited(action = "entry.create")]
async fn sixteen(
    _1: HeaderMap,
    _2: HeaderMap,
    _3: HeaderMap,
    _4: HeaderMap,
    _5: HeaderMap,
    _6: HeaderMap,
    _7: HeaderMap,
    _8: HeaderMap,
    tx: &mut AuditTx,
    _9: HeaderMap,
    _10: HeaderMap,
    _11: HeaderMap,
    _12: HeaderMap,
    _13: HeaderMap,
    _14: HeaderMap,
    _15: HeaderMap,
    _16: Method,
    Json(_17): Json<u64>,
) {
}

fn main() {}
