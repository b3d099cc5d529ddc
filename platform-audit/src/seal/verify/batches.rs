//! Reads the log and the records, ahead of their comparison.

use futures_util::TryStreamExt;
use sqlx::Pool;
use tokio::sync::mpsc;

use super::tree::{Expected, WIDTH, stored_name};
use crate::seal::error::SealError;
use crate::seal::log::SealedLog;
use crate::store::{AuditDatabase, SealRow, SealSql};

/// The number of positions that are read at once, a multiple of a tile's width.
pub(super) const BATCH: u64 = 16_384;

/// The number of records that are handed over at once.
const CHUNK: usize = 1_024;

/// How many batches and chunks are read ahead.
const AHEAD: usize = 4;

/// The entries and the tiles of a range of positions.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) end: u64,
    pub(super) seals: Vec<SealRow>,
    pub(super) entries: Vec<(u64, Vec<u8>)>,
    pub(super) tiles: Vec<(u64, Expected)>,
    /// Tiles whose stored root is not that of their hashes.
    pub(super) damaged: Vec<String>,
}

/// How the log is accessed.
#[derive(Debug)]
pub(super) struct Source<DB: AuditDatabase> {
    pub(super) pool: Pool<DB>,
    pub(super) sql: &'static dyn SealSql,
    pub(super) schema: String,
}

impl<DB: AuditDatabase> Clone for Source<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            sql: self.sql,
            schema: self.schema.clone(),
        }
    }
}

impl<DB: AuditDatabase> Source<DB> {
    /// Reads all positions up to `end`.
    pub(super) fn log(&self, end: u64) -> mpsc::Receiver<Result<Batch, SealError>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let source = self.clone();
        tokio::spawn(async move {
            if let Err(error) = source.send_log(end, &sender).await {
                // The receiver is gone if the verification has failed already.
                let _ = sender.send(Err(error)).await;
            }
        });
        receiver
    }

    async fn send_log(
        &self,
        end: u64,
        sender: &mpsc::Sender<Result<Batch, SealError>>,
    ) -> Result<(), SealError> {
        let mut connection = self.pool.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: self.sql,
            schema: &self.schema,
        };
        // Few, so they are read at once.
        let mut others = log.other_entries().await?.into_iter().peekable();
        let mut start = 0;
        while start < end {
            let until = (start + BATCH).min(end);
            let seals = log.seals(start, until).await?;
            let mut entries = Vec::new();
            while let Some(entry) = others.next_if(|it| it.0 < until) {
                entries.push(entry);
            }
            let stored = log.tiles(0, start / WIDTH, until.div_ceil(WIDTH)).await?;
            let mut damaged = Vec::new();
            let mut tiles = Vec::new();
            for (index, root, hashes) in stored {
                let name = tile_name(0, index);
                if !has_root(&hashes, root) {
                    damaged.push(name.clone());
                }
                let tile = Expected {
                    hashes,
                    name,
                    is_published: false,
                };
                tiles.push((index, tile));
            }
            let batch = Batch {
                end: until,
                seals,
                entries,
                tiles,
                damaged,
            };
            if sender.send(Ok(batch)).await.is_err() {
                break;
            }
            start = until;
        }
        Ok(())
    }

    /// Reads all records, in any order.
    pub(super) fn records(&self) -> mpsc::Receiver<Result<Vec<Vec<u8>>, SealError>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let source = self.clone();
        tokio::spawn(async move {
            if let Err(error) = source.send_records(&sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        receiver
    }

    async fn send_records(
        &self,
        sender: &mpsc::Sender<Result<Vec<Vec<u8>>, SealError>>,
    ) -> Result<(), SealError> {
        let mut connection = self.pool.acquire().await?;
        let mut log = SealedLog::<DB> {
            connection: &mut connection,
            sql: self.sql,
            schema: &self.schema,
        };
        let mut rows = log.rows(&self.sql.records(), Vec::new());
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(row) = rows.try_next().await? {
            chunk.push(row);
            if chunk.len() == CHUNK {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                if sender.send(Ok(full)).await.is_err() {
                    return Ok(());
                }
            }
        }
        // A closed receiver needs no more records.
        let _ = sender.send(Ok(chunk)).await;
        Ok(())
    }
}

/// The name of a full tile in the database.
pub(super) fn tile_name(level: u8, index: u64) -> String {
    use platform_audit_tlog::tile::TileId;

    match TileId::new(level, index, 256) {
        Ok(id) => stored_name(id),
        Err(_) => format!("tile {index} of level {level} in the database"),
    }
}

/// Whether the stored root of a full tile is that of its hashes.
pub(super) fn has_root(hashes: &[u8], root: [u8; 32]) -> bool {
    use platform_audit_tlog::tile::{Tile, TileId};

    let tile = TileId::new(0, 0, 256).ok();
    let tile = tile.and_then(|id| Tile::new(id, hashes.to_vec()).ok());
    let found = tile.and_then(|tile| tile.root());
    found.is_some_and(|found| *found.as_bytes() == root)
}
