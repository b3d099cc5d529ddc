//! Export of all records of a query as a download.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{Method, StatusCode};
use maud::{Markup, html};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;

use super::filters::query;
use super::form;
use super::links::Links;
use super::request::Visit;
use crate::export::{Encoder, ExportError, Format};
use crate::query::{Direction, Export, SortBy};
use crate::store::AuditDatabase;

/// Number of encoded pages buffered for a slow client.
const BUFFERED_PAGES: usize = 2;

type Chunk = Result<Vec<u8>, io::Error>;

/// Links to the export of `pairs` in each format.
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

pub(super) async fn file<DB: AuditDatabase>(
    visit: Visit<DB>,
    Path(format): Path<String>,
) -> Response {
    let format: Format = match format.parse() {
        Ok(format) => format,
        Err(error) => {
            let error: ExportError = error;
            return visit.problem(StatusCode::NOT_FOUND, &error.to_string());
        }
    };
    let query = match query(&visit.pairs) {
        // Oldest first, like a file that the command writes.
        Ok(query) => query.sort(SortBy::RecordedAt, Direction::Ascending),
        Err(errors) => return form::bad_request(&visit, &errors),
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
    let (chunks, receiver) = channel(BUFFERED_PAGES);
    tokio::spawn(async move {
        let sent = send(&mut export, format, &chunks).await;
        let complete = matches!(sent, Ok(true));
        // Recorded before the response ends, so that a complete download always has its record.
        let recorded = export.finish(complete).await.map_err(ExportError::from);
        if let Err(error) = sent.and(recorded) {
            tracing::error!(error = %error, "an export was aborted");
            // The response is aborted, so that the client does not take it for complete.
            let broken = io::Error::other("the export was aborted");
            chunks.send(Err(broken)).await.ok();
        }
    });
    let chunks = unfold(receiver, |mut receiver| async {
        let chunk: Chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    (headers, Body::from_stream(chunks)).into_response()
}

/// Sends page by page, until the end or until the client disconnects. Returns whether the server
/// took everything to send it.
async fn send<DB: AuditDatabase>(
    export: &mut Export<DB>,
    format: Format,
    chunks: &Sender<Chunk>,
) -> Result<bool, ExportError> {
    let buffer = Buffer::default();
    let mut encoder = Encoder::new(format, buffer.clone())?;
    while let Some(records) = export.next_page().await? {
        // Encoding a Parquet row group can block the thread for a long time.
        encoder = blocking(move || {
            for record in &records {
                encoder.write(record)?;
            }
            Ok(encoder)
        })
        .await?;
        if chunks.send(Ok(buffer.take())).await.is_err() {
            return Ok(false);
        }
    }
    blocking(move || encoder.finish().map(drop)).await?;
    let is_received = chunks.send(Ok(buffer.take())).await.is_ok();
    // The channel has free capacity for all pages again once everything was taken out of it.
    Ok(is_received && chunks.reserve_many(BUFFERED_PAGES).await.is_ok())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(ExportError::Write(io::Error::other(error))),
    }
}

/// Encoded bytes that have not been sent yet.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
