//! The proof of a single record (C2SP tlog-proof).

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::TryStreamExt;
use platform_audit_tlog::note::VerifierKey;
use platform_audit_tlog::proof::TlogProof;
use platform_audit_tlog::tile::{inclusion_proof, inclusion_tiles};
use platform_audit_tlog::tree::leaf_hash;
use sqlx::Pool;
use uuid::Uuid;

use super::canonical::{Salt, commit, record_entry, values_from_bytes, values_to_bytes};
use super::checkpoint::Published;
use super::directory::Directory;
use super::error::SealError;
use super::log::SealedLog;
use crate::record::COLUMNS;
use crate::store::{AuditDatabase, SealSql, Stored};

/// The proof that a record is in a log, with the record itself.
///
/// In the text form, the *extra data* contains the record: its salt, and its values as they are
/// hashed. So the proof contains the personal data of that record, and of no other.
#[derive(Clone, Debug)]
pub struct RecordProof {
    proof: TlogProof,
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProvenRecord {
    /// The record's id.
    pub id: Uuid,
    /// Its position in the log.
    pub position: u64,
    /// The name of the log.
    pub origin: String,
    /// The number of entries that the checkpoint covers.
    pub size: u64,
    /// The values by the names of their columns, as stored. Times are in microseconds since 1970 on
    /// Postgres, JSON is text.
    pub values: Vec<(&'static str, String)>,
}

impl RecordProof {
    /// Parses the text form.
    ///
    /// # Errors
    ///
    /// [`SealError::NotAProof`] if it is not a proof.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let proof =
            TlogProof::parse(text).map_err(|error| SealError::NotAProof(error.to_string()))?;
        Ok(Self { proof })
    }

    /// Verifies the proof with the keys of the log, without a database or a network.
    ///
    /// # Errors
    ///
    /// [`SealError::NotProven`] if the record was changed, the proof does not match the checkpoint,
    /// or the checkpoint is not signed with one of the keys.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<ProvenRecord, SealError> {
        let not_proven = |error: &dyn std::fmt::Display| SealError::NotProven(error.to_string());
        let malformed = || not_proven(&"the proof contains no record");
        let (salt, values) = self
            .proof
            .extra()
            .split_first_chunk()
            .ok_or_else(malformed)?;
        let salt: &Salt = salt;
        let values = values_from_bytes(values).ok_or_else(malformed)?;
        let Some(Stored::Uuid(id)) = values.first().copied().map(as_uuid) else {
            return Err(malformed());
        };
        let entry = record_entry(&id, &commit(&values, salt).digest);
        let signed = self
            .proof
            .verify(&leaf_hash(&entry), keys)
            .map_err(|error| not_proven(&error))?;
        let shown = COLUMNS.iter().zip(&values);
        Ok(ProvenRecord {
            id: Uuid::from_bytes(id),
            position: self.proof.index(),
            origin: signed.checkpoint().origin().to_owned(),
            size: signed.checkpoint().size(),
            values: shown
                .filter_map(|(column, value)| Some((column.name, value.to_text()?)))
                .collect(),
        })
    }
}

/// The id of a record: on SQLite it is a text.
fn as_uuid(value: Stored<'_>) -> Stored<'_> {
    match value {
        Stored::Text(text) => Stored::Uuid(crate::store::id_bytes(text)),
        other => other,
    }
}

/// The text form.
impl std::fmt::Display for RecordProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.proof.fmt(f)
    }
}

/// Proves the record with this id.
pub(super) async fn prove<DB: AuditDatabase>(
    pool: &Pool<DB>,
    sql: &'static dyn SealSql,
    schema: &str,
    id: Uuid,
    tiles: Option<&Path>,
) -> Result<RecordProof, SealError> {
    let mut connection = pool.acquire().await?;
    let mut log = SealedLog::<DB> {
        connection: &mut connection,
        sql,
        schema,
    };
    let text = id.to_string();
    let mut rows = log.rows(&sql.record_by_id(), vec![text.clone()]);
    let row = rows.try_next().await?;
    drop(rows);
    let row = row.ok_or_else(|| SealError::NotFound(format!("the log contains no record {id}")))?;
    let record = sql.decode_record(&row)?;
    let seal = log.seal_of(&text).await?.ok_or_else(|| {
        SealError::NotFound(format!(
            "record {id} is not sealed yet: try again in a few seconds"
        ))
    })?;
    let note = match tiles {
        Some(tiles) => Directory::new(tiles).checkpoint()?,
        None => log.newest_checkpoint().await?.map(|stored| stored.note),
    };
    let published = note
        .and_then(|note| Published::parse(note.as_bytes()))
        .filter(|it| it.checkpoint.size() > seal.position);
    let published = published.ok_or_else(|| {
        SealError::NotFound(format!(
            "no published checkpoint covers record {id} yet, which is entry {}: try again in a few seconds",
            seal.position
        ))
    })?;
    let size = published.checkpoint.size();
    let mut loaded = BTreeMap::new();
    for tile in inclusion_tiles(seal.position, size).map_err(SealError::malformed)? {
        let bytes = match tiles {
            Some(tiles) => Directory::new(tiles).tile(tile)?,
            None => log.tile_at(tile, size).await?,
        };
        let bytes = bytes.ok_or_else(|| SealError::NotFound(format!("{tile} is missing")))?;
        loaded.insert(tile, bytes);
    }
    let hashes = inclusion_proof(seal.position, size, &loaded).map_err(SealError::malformed)?;
    let mut extra = seal.salt.to_vec();
    extra.extend(values_to_bytes(&record.values));
    let note = published.note.parse().map_err(SealError::malformed)?;
    let proof = TlogProof::new(seal.position, hashes, note)
        .and_then(|proof| proof.with_extra(extra))
        .map_err(SealError::malformed)?;
    Ok(RecordProof { proof })
}
