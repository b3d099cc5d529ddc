//! The sealed log in the database: its rows, as Rust values.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use platform_audit_tlog::tile::{Tile, TileBuilder, TileId, edge_tiles};
use platform_audit_tlog::tree::{Hash, leaf_hash};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::canonical::record_entry;
use super::error::SealError;
use crate::store::{AuditDatabase, NewSeal, SealRow, SealSql};

/// Access to the sealed log through one connection.
pub(crate) struct SealedLog<'a, DB: AuditDatabase> {
    pub(crate) connection: &'a mut DB::Connection,
    pub(crate) sql: &'static dyn SealSql,
    pub(crate) schema: &'a str,
}

/// The state of the sealer, which the database stores.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tree {
    /// The number of entries.
    pub(crate) size: u64,
    /// The root in hexadecimal.
    pub(crate) root: String,
    /// The snapshot up to which all records are sealed. Postgres only.
    #[serde(default)]
    pub(crate) seen: String,
    /// Whether the server is still the one that wrote this.
    #[serde(default = "yes")]
    pub(crate) same_server: bool,
}

/// A signed checkpoint, as stored.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StoredCheckpoint {
    pub(crate) size: u64,
    pub(crate) note: String,
}

/// The body of an entry that acknowledges a restore.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Restore {
    /// The first position whose record may be lost.
    pub(crate) from: u64,
    /// The position after the last one.
    pub(crate) to: u64,
    pub(crate) because: String,
}

impl Restore {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

fn yes() -> bool {
    true
}

impl<DB: AuditDatabase> SealedLog<'_, DB> {
    /// The only row of `statement`, which is JSON.
    pub(crate) async fn json<T: for<'de> Deserialize<'de>>(
        &mut self,
        statement: &str,
    ) -> Result<Option<T>, SealError> {
        let text = DB::fetch_text(self.connection, self.text(statement), Vec::new()).await?;
        text.map(|text| serde_json::from_str(&text).map_err(SealError::malformed))
            .transpose()
    }

    pub(crate) async fn run(
        &mut self,
        statement: &str,
        arguments: &[String],
    ) -> Result<u64, SealError> {
        let statement = self.text(statement);
        let done = DB::run(self.connection, statement, |put| {
            arguments.iter().for_each(|it| put(it.as_str().into()));
        });
        Ok(done.await?)
    }

    pub(crate) async fn run_raw(&mut self, statement: &'static str) -> Result<(), SealError> {
        Ok(DB::run_raw(self.connection, AssertSqlSafe(statement).into_sql_str()).await?)
    }

    pub(crate) fn rows(
        &mut self,
        statement: &str,
        arguments: Vec<String>,
    ) -> BoxStream<'_, sqlx::Result<Vec<u8>>> {
        let statement = self.text(statement);
        DB::fetch_bytes(self.connection, statement, arguments)
    }

    pub(crate) async fn checkpoints(&mut self) -> Result<Vec<StoredCheckpoint>, SealError> {
        let statement = self.text(self.sql.checkpoints());
        let texts = DB::fetch_texts(self.connection, statement, Vec::new()).await?;
        let parsed = texts.iter().map(|text| serde_json::from_str(text));
        parsed
            .collect::<Result<_, _>>()
            .map_err(SealError::malformed)
    }

    pub(crate) async fn newest_checkpoint(
        &mut self,
    ) -> Result<Option<StoredCheckpoint>, SealError> {
        self.json(self.sql.newest_checkpoint()).await
    }

    /// The rows of `statement`, each of which is a text.
    pub(crate) async fn texts(&mut self, statement: &str) -> Result<Vec<String>, SealError> {
        let statement = self.text(statement);
        Ok(DB::fetch_texts(self.connection, statement, Vec::new()).await?)
    }

    /// The rows of `statement`, each of which is JSON.
    pub(crate) async fn jsons<T: for<'de> Deserialize<'de>>(
        &mut self,
        statement: &str,
    ) -> Result<Vec<T>, SealError> {
        let texts = self.texts(statement).await?;
        let parsed = texts.iter().map(|text| serde_json::from_str(text));
        parsed
            .collect::<Result<_, _>>()
            .map_err(SealError::malformed)
    }

    /// The seals from `start` to `end`, exclusive.
    pub(crate) async fn seals(&mut self, start: u64, end: u64) -> Result<Vec<SealRow>, SealError> {
        let sql = self.sql;
        let mut seals = Vec::new();
        let mut rows = self.rows(sql.seals(), vec![start.to_string(), end.to_string()]);
        while let Some(row) = rows.try_next().await? {
            seals.push(sql.decode_seal(&row)?);
        }
        Ok(seals)
    }

    /// Whether there is a record of this month (UTC), such as `2026-12`.
    pub(crate) async fn has_records_of(&mut self, month: &str) -> Result<bool, SealError> {
        let start: jiff::civil::Date = format!("{month}-01")
            .parse()
            .map_err(SealError::malformed)?;
        let end = start.saturating_add(jiff::Span::new().months(1));
        let statement = self.sql.records_between();
        let arguments = vec![start.to_string(), end.to_string()];
        let mut rows = self.rows(statement, arguments);
        Ok(rows.try_next().await?.is_some())
    }

    /// The seal of the record with this id.
    pub(crate) async fn seal_of(&mut self, id: &str) -> Result<Option<SealRow>, SealError> {
        let sql = self.sql;
        let mut rows = self.rows(sql.seal_by_id(), vec![id.to_owned()]);
        let row = rows.try_next().await?;
        Ok(row.map(|row| sql.decode_seal(&row)).transpose()?)
    }

    /// The entries that are no seals, with their positions, in their order.
    pub(crate) async fn other_entries(&mut self) -> Result<Vec<(u64, Vec<u8>)>, SealError> {
        let sql = self.sql;
        let mut entries = Vec::new();
        let mut rows = self.rows(sql.entries(), vec!["0".to_owned()]);
        while let Some(row) = rows.try_next().await? {
            entries.push(sql.decode_numbered(&row)?);
        }
        Ok(entries)
    }

    /// The indexes of the full tiles of level 0 below `end`.
    pub(crate) async fn tile_indexes(&mut self, end: u64) -> Result<HashSet<u64>, SealError> {
        let statement = self.sql.tile_indexes();
        let texts = self.texts(statement).await?;
        let indexes = texts.iter().filter_map(|text| text.parse().ok());
        Ok(indexes.filter(|index| *index < end).collect())
    }

    /// The entries from `start` to `end`, exclusive, with their positions, in their order.
    pub(crate) async fn entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>, SealError> {
        let seals = self.seals(start, end).await?;
        let mut entries: Vec<(u64, Vec<u8>)> = seals
            .iter()
            .map(|seal| (seal.position, record_entry(&seal.id, &seal.digest).to_vec()))
            .collect();
        let others = self.other_entries().await?;
        entries.extend(others.into_iter().filter(|it| (start..end).contains(&it.0)));
        entries.sort_unstable_by_key(|entry| entry.0);
        Ok(entries)
    }

    /// The builder that continues the tree with `size` entries: its partial tiles, of which the
    /// database stores only the entries and the roots of the full tiles below them.
    pub(crate) async fn builder(&mut self, size: u64) -> Result<TileBuilder, SealError> {
        let mut tiles = Vec::new();
        for id in edge_tiles(size) {
            let bytes = self.partial_tile(id, size).await?;
            tiles.push(Tile::new(id, bytes).map_err(|_| SealError::Damaged)?);
        }
        TileBuilder::from_tiles(size, tiles).map_err(|_| SealError::Damaged)
    }

    /// The hashes of a tile of the tree with `size` entries.
    pub(crate) async fn tile_at(
        &mut self,
        id: TileId,
        size: u64,
    ) -> Result<Option<Vec<u8>>, SealError> {
        match id.is_partial() {
            true => self.partial_tile(id, size).await.map(Some),
            false => self.tile(id).await,
        }
    }

    async fn partial_tile(&mut self, id: TileId, size: u64) -> Result<Vec<u8>, SealError> {
        let width = u64::from(id.width());
        let first = id.index() * 256;
        if id.level() == 0 {
            let entries = self.entries(first, size).await?;
            let leaves = entries.iter().map(|(_, entry)| leaf_hash(entry));
            return Ok(leaves.flat_map(|leaf| *leaf.as_bytes()).collect());
        }
        let sql = self.sql;
        let level = id.level() - 1;
        let rows = self.rows(sql.tile_roots(), vec![level.to_string(), first.to_string()]);
        let roots: Vec<Vec<u8>> = rows
            .take(usize::try_from(width).unwrap_or(usize::MAX))
            .try_collect()
            .await?;
        Ok(roots.concat())
    }

    /// The full tiles of a level from `start` to `end`, exclusive: index, root and hashes.
    pub(crate) async fn tiles(
        &mut self,
        level: u8,
        start: u64,
        end: u64,
    ) -> Result<Vec<(u64, [u8; 32], Vec<u8>)>, SealError> {
        let sql = self.sql;
        let arguments = vec![level.to_string(), start.to_string(), end.to_string()];
        let mut rows = self.rows(sql.tiles(), arguments);
        let mut tiles = Vec::new();
        while let Some(row) = rows.try_next().await? {
            let (_, index, root, hashes) = sql.decode_tile(&row)?;
            tiles.push((index, root, hashes));
        }
        Ok(tiles)
    }

    /// The hashes of a full tile.
    pub(crate) async fn tile(&mut self, id: TileId) -> Result<Option<Vec<u8>>, SealError> {
        let tiles = self.tiles(id.level(), id.index(), id.index() + 1).await?;
        Ok(tiles.into_iter().next().map(|tile| tile.2))
    }

    /// Inserts seals from the position `first` on.
    pub(crate) async fn insert_seals(
        &mut self,
        first: u64,
        seals: &[NewSeal],
    ) -> Result<(), SealError> {
        let sql = self.sql;
        let statement = self.text(sql.insert_seals());
        DB::run(self.connection, statement, |put| {
            sql.put_seals(first, seals, put);
        })
        .await?;
        Ok(())
    }

    /// Inserts full tiles.
    pub(crate) async fn insert_tiles(&mut self, tiles: &[Tile]) -> Result<(), SealError> {
        for tile in tiles {
            let root = tile.root().unwrap_or(Hash::new([0; 32]));
            let arguments = [
                tile.id().level().to_string(),
                tile.id().index().to_string(),
                hex::encode(root.as_bytes()),
                hex::encode(tile.bytes()),
            ];
            self.run(self.sql.insert_tile(), &arguments).await?;
        }
        Ok(())
    }

    fn text(&self, statement: &str) -> Arc<str> {
        Arc::from(statement.replace("{schema}", self.schema))
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for SealedLog<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedLog")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
