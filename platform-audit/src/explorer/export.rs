//! All records of a query, in a format.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::request::Parts;
use http::{Method, StatusCode};
use maud::{Markup, html};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;

use super::access::Access;
use super::filters::query;
use super::form;
use super::links::Links;
use super::visit::{Site, Visit};
use crate::export::{Encoder, ExportError, Format};
use crate::query::{Direction, Export, SortBy};
use crate::store::AuditDatabase;

/// How many pages may wait for a slow reader.
const WAITING: usize = 2;

type Chunk = Result<Vec<u8>, io::Error>;

/// The links to all formats of what `pairs` ask for.
pub(super) fn links(links: &Links, pairs: &[(String, String)]) -> Markup {
    html! {
        "Export all as "
        @for (at, format) in Format::ALL.into_iter().enumerate() {
            @if at > 0 { ", " }
            a href=(links.to(&format!("/export/{format}"), pairs.iter().cloned())) download { (name(format)) }
        }
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Json => "JSON",
        Format::JsonLines => "JSON Lines",
        Format::Csv => "CSV",
        Format::Parquet => "Parquet",
        Format::Ocsf => "OCSF",
        Format::Fhir => "FHIR",
    }
}

pub(super) async fn file<DB: AuditDatabase, A: Access>(
    State(site): State<Arc<Site<DB, A>>>,
    Path(format): Path<String>,
    parts: Parts,
) -> Response {
    let visit = match Visit::enter(&site, parts).await {
        Ok(visit) => visit,
        Err(refused) => return refused,
    };
    let format: Format = match format.parse() {
        Ok(format) => format,
        Err(error) => {
            let error: ExportError = error;
            return visit.problem(StatusCode::NOT_FOUND, &error.to_string());
        }
    };
    let query = match query(&visit.pairs) {
        // As in a file that the command writes: oldest first.
        Ok(query) => query.sort(SortBy::RecordedAt, Direction::Ascending),
        Err(wrong) => return form::refused(&visit, &wrong),
    };
    let name = format!("attachment; filename=\"audit.{}\"", format.extension());
    let headers = [
        (CONTENT_TYPE, format.media_type()),
        (CONTENT_DISPOSITION, name.as_str()),
    ];
    if visit.method == Method::HEAD {
        return headers.into_response();
    }
    let mut export = match visit.reading.export(&query, None).await {
        Ok(export) => export,
        Err(error) => return visit.failed(&error),
    };
    let (chunks, waiting) = channel(WAITING);
    tokio::spawn(async move {
        let sent = send(&mut export, format, &chunks).await;
        let complete = matches!(sent, Ok(true));
        // Before the answer ends: nobody has the whole of it, and no record says so.
        let recorded = export.end(complete).await.map_err(ExportError::from);
        if let Err(error) = sent.and(recorded) {
            tracing::error!(error = %error, "an export broke off");
            // The answer breaks off, so that nobody takes it for whole.
            let broken = io::Error::other("the export broke off");
            chunks.send(Err(broken)).await.ok();
        }
    });
    let chunks = unfold(waiting, |mut waiting| async {
        let chunk: Chunk = waiting.recv().await?;
        Some((chunk, waiting))
    });
    (headers, Body::from_stream(chunks)).into_response()
}

/// Page by page, until the end or until nobody listens; answers whether all was taken.
async fn send<DB: AuditDatabase>(
    export: &mut Export<DB>,
    format: Format,
    chunks: &Sender<Chunk>,
) -> Result<bool, ExportError> {
    let encoded = Encoded::default();
    let mut encoder = Encoder::new(format, encoded.clone())?;
    while let Some(records) = export.next_page().await? {
        // A row group of Parquet takes its time.
        encoder = blocking(move || {
            for record in &records {
                encoder.write(record)?;
            }
            Ok(encoder)
        })
        .await?;
        if chunks.send(Ok(encoded.take())).await.is_err() {
            return Ok(false);
        }
    }
    blocking(move || encoder.finish().map(drop)).await?;
    let is_heard = chunks.send(Ok(encoded.take())).await.is_ok();
    // There is room for all once all was taken.
    Ok(is_heard && chunks.reserve_many(WAITING).await.is_ok())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(ExportError::Write(io::Error::other(error))),
    }
}

/// What was encoded and not sent yet.
#[derive(Clone, Default)]
struct Encoded(Arc<Mutex<Vec<u8>>>);

impl Encoded {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
