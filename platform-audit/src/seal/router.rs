//! The published log over HTTP (C2SP tlog-tiles), from the database.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use platform_audit_tlog::tile::{BundleId, TileId, encode_bundle};
use sqlx::Pool;
use tokio::sync::Semaphore;

use super::error::SealError;
use super::log::SealedLog;
use super::run::describe;
use crate::store::{AuditDatabase, SealSql};

/// How many requests read the database at the same time: the log is public, and must not take the
/// connections of the service.
const AT_ONCE: usize = 2;

/// For a checkpoint, and for what does not exist yet.
const REVALIDATED: &str = "no-cache";
/// For tiles and bundles, which never change.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

struct Site<DB: AuditDatabase> {
    pool: Pool<DB>,
    sql: &'static dyn SealSql,
    schema: String,
    /// The size of the newest checkpoint that was read.
    size: AtomicU64,
    permits: Semaphore,
}

/// See [`Audit::log_router`](crate::Audit::log_router).
pub(crate) fn router<DB: AuditDatabase>(
    pool: Pool<DB>,
    sql: &'static dyn SealSql,
    schema: String,
) -> Router {
    let site = Site {
        pool,
        sql,
        schema,
        size: AtomicU64::new(0),
        permits: Semaphore::new(AT_ONCE),
    };
    Router::new()
        .route("/checkpoint", get(checkpoint::<DB>))
        .route("/tile/{*path}", get(tile::<DB>))
        .with_state(Arc::new(site))
}

async fn checkpoint<DB: AuditDatabase>(State(site): State<Arc<Site<DB>>>) -> Response {
    let read = site.read(async |site, log| site.newest(log).await).await;
    respond(read, &site.schema, "text/plain; charset=utf-8", REVALIDATED)
}

async fn tile<DB: AuditDatabase>(
    State(site): State<Arc<Site<DB>>>,
    Path(path): Path<String>,
) -> Response {
    let Ok(wanted) = format!("tile/{path}").parse::<Wanted>() else {
        return not_found();
    };
    let read = site
        .read(async |site, log| {
            if !wanted.is_within(site.size.load(Ordering::Relaxed)) {
                site.newest(log).await?;
            }
            match wanted.is_within(site.size.load(Ordering::Relaxed)) {
                true => wanted.read(log).await.map(Some),
                false => Ok(None),
            }
        })
        .await;
    respond(read, &site.schema, "application/octet-stream", IMMUTABLE)
}

impl<DB: AuditDatabase> Site<DB> {
    async fn read(
        &self,
        work: impl AsyncFnOnce(&Self, &mut SealedLog<'_, DB>) -> Result<Option<Vec<u8>>, SealError>,
    ) -> Result<Option<Vec<u8>>, SealError> {
        // Never closed, so this is never an error.
        let _permit = self.permits.acquire().await;
        let mut connection = self.pool.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: self.sql,
            schema: &self.schema,
        };
        work(self, &mut log).await
    }

    /// The newest checkpoint.
    async fn newest(&self, log: &mut SealedLog<'_, DB>) -> Result<Option<Vec<u8>>, SealError> {
        let newest = log.newest_checkpoint().await?;
        Ok(newest.map(|newest| {
            self.size.fetch_max(newest.size, Ordering::Relaxed);
            newest.note.into_bytes()
        }))
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Tile(TileId),
    Bundle(BundleId),
}

impl FromStr for Wanted {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        let bundle = path.parse().map(Self::Bundle);
        bundle
            .or_else(|_| path.parse().map(Self::Tile))
            .map_err(|_| ())
    }
}

impl Wanted {
    /// Whether the tree of `size` entries, or a smaller one, has it.
    fn is_within(self, size: u64) -> bool {
        let (level, index, width) = match self {
            Self::Tile(id) => (id.level(), id.index(), id.width()),
            Self::Bundle(id) => (0, id.index(), id.width()),
        };
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let end = index.checked_mul(256);
        end.and_then(|start| start.checked_add(width.into()))
            .is_some_and(|end| end <= hashes)
    }

    async fn read<DB: AuditDatabase>(
        self,
        log: &mut SealedLog<'_, DB>,
    ) -> Result<Vec<u8>, SealError> {
        match self {
            Self::Tile(id) => {
                // Of a partial tile of level 0, this is the size of the tree.
                let end = id.index() * 256 + u64::from(id.width());
                let hashes = log.tile_at(id, end).await?;
                let hashes = hashes.filter(|hashes| hashes.len() == id.bytes());
                hashes.ok_or(SealError::Damaged)
            }
            Self::Bundle(id) => {
                let start = id.index() * 256;
                let entries = log.entries(start, start + u64::from(id.width())).await?;
                if entries.len() != usize::from(id.width()) {
                    return Err(SealError::Damaged);
                }
                encode_bundle(entries.iter().map(|(_, entry)| entry)).map_err(SealError::malformed)
            }
        }
    }
}

fn respond(
    read: Result<Option<Vec<u8>>, SealError>,
    schema: &str,
    content_type: &'static str,
    caching: &'static str,
) -> Response {
    match read {
        Ok(Some(bytes)) => {
            let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, caching)];
            (headers, bytes).into_response()
        }
        Ok(None) => not_found(),
        Err(error) => {
            tracing::error!(
                schema,
                error = describe(&error),
                "the published log could not be read"
            );
            let headers = [(CACHE_CONTROL, REVALIDATED)];
            (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
        }
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, [(CACHE_CONTROL, REVALIDATED)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    fn is_within(path: &str, size: u64) -> bool {
        path.parse::<Wanted>().unwrap().is_within(size)
    }

    #[test]
    fn only_what_a_checkpoint_covers_is_served() {
        for path in ["tile/0/000.p/5", "tile/entries/000.p/5"] {
            assert!(is_within(path, 5) && is_within(path, 600) && !is_within(path, 4));
        }
        for path in ["tile/0/001", "tile/entries/001", "tile/1/000.p/2"] {
            assert!(is_within(path, 512) && !is_within(path, 511), "{path}");
        }
        assert!(is_within("tile/2/000.p/1", 65_536) && !is_within("tile/2/000.p/1", 65_535));
        assert!(!is_within("tile/63/000.p/1", u64::MAX));
        assert!(!is_within("tile/0/x018/x446/x744/x073/x709/551", u64::MAX));
    }

    #[test]
    fn only_canonical_paths_are_parsed() {
        for path in [
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/64/000",
            "tile/0/../1",
            "tile/00/000",
        ] {
            assert!(path.parse::<Wanted>().is_err(), "{path}");
        }
    }
}
