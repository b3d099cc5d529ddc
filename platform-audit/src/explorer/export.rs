//! All records of a query, one JSON object a line.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::request::Parts;
use tokio::sync::mpsc::{Sender, channel};

use super::access::Access;
use super::filters::query;
use super::visit::{Site, Visit, status};
use crate::error::Error;
use crate::query::{AuditQuery, Reading};
use crate::store::AuditDatabase;

/// How many lines may wait for a slow reader.
const WAITING: usize = 64;

pub(super) async fn json_lines<DB: AuditDatabase, A: Access>(
    State(site): State<Arc<Site<DB, A>>>,
    parts: Parts,
) -> Response {
    let visit = match Visit::enter(&site, parts).await {
        Ok(visit) => visit,
        Err(refused) => return refused,
    };
    let query = match query(&visit) {
        Ok(query) => query.limit(1000),
        Err(error) => return visit.failed(&error),
    };
    if let Err(error) = visit.reading.record("export", &query, 0).await {
        return visit.failed(&error);
    }
    let (lines, waiting) = channel(WAITING);
    tokio::spawn(async move {
        if let Err(error) = send(&visit.reading, &query, &lines).await {
            status(&error);
            // The answer breaks off, so that nobody takes it for whole.
            let broken = io::Error::other("the export broke off");
            lines.send(Err(broken)).await.ok();
        }
    });
    let lines = unfold(waiting, |mut waiting| async {
        let line: Result<Vec<u8>, io::Error> = waiting.recv().await?;
        Some((line, waiting))
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
    ];
    (headers, Body::from_stream(lines)).into_response()
}

/// Page by page, until the end or until nobody listens; then records how many were handed out.
async fn send<DB: AuditDatabase>(
    reading: &Reading<DB>,
    query: &AuditQuery,
    lines: &Sender<Result<Vec<u8>, io::Error>>,
) -> Result<(), Error> {
    let mut cursor = None;
    let mut records = 0;
    'pages: loop {
        let page = reading.unrecorded_page(query, cursor.as_ref()).await?;
        for record in page.records {
            let mut line = serde_json::to_vec(&record)
                .map_err(|error| Error::Store(sqlx::Error::Decode(Box::new(error))))?;
            line.push(b'\n');
            if lines.send(Ok(line)).await.is_err() {
                break 'pages;
            }
            records += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    reading.record("exported", query, records).await
}
