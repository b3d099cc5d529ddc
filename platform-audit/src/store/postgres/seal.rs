//! The sealed log on Postgres. Rows are composites in binary format, which `record_send` returns:
//! values leave the database exactly as stored, and a row is one value for any driver.

use std::fmt::Write as _;

use super::super::Argument;
use super::super::row::{Composite, MalformedRow, PgType, Stored};
use super::super::seal::{NewSeal, Query, RecordRow, SealRow, SealSql, Unsealed};
use super::PostgresSql;
use crate::record::{COLUMNS, Kind};

impl SealSql for PostgresSql {
    fn begin(&self) -> &'static str {
        // READ COMMITTED: the snapshot has to be newer than the lock. A table that was never
        // analysed would be read as a whole in each pass, instead of by the index on xid.
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off"
    }

    fn lock_tree(&self) -> &'static str {
        concat!(include_str!("seal/tree.sql"), "FOR UPDATE SKIP LOCKED")
    }

    fn tree(&self) -> &'static str {
        include_str!("seal/tree.sql")
    }

    fn snapshot(&self) -> Option<&'static str> {
        Some(include_str!("seal/snapshot.sql"))
    }

    fn unsealed(&self, which: &Unsealed<'_>, limit: usize, exclude_sealed: bool) -> Query {
        const VISIBLE: &str = "pg_visible_in_snapshot(record.xid, $1::text::pg_snapshot)";
        let (condition, arguments) = match which {
            Unsealed::Range { from, to, snapshot } => (
                format!(
                    "record.xid >= $2::text::xid8 AND record.xid < $3::text::xid8 AND {VISIBLE}"
                ),
                vec![(*snapshot).to_owned(), from.to_string(), to.to_string()],
            ),
            Unsealed::Finished { xids, snapshot } => (
                format!("record.xid = ANY($2::text::xid8[]) AND {VISIBLE}"),
                vec![(*snapshot).to_owned(), array(xids.iter())],
            ),
            Unsealed::Restored => (
                "record.xid >= pg_snapshot_xmax(pg_current_snapshot())".to_owned(),
                Vec::new(),
            ),
            // Only SQLite has a queue.
            Unsealed::Queue => ("false".to_owned(), Vec::new()),
        };
        let unsealed = if exclude_sealed {
            " AND NOT EXISTS (SELECT FROM {schema}.seal WHERE seal.id = record.id)"
        } else {
            ""
        };
        let statement = format!(
            "SELECT {} FROM {{schema}}.record WHERE {condition}{unsealed} ORDER BY record.xid, record.recorded_at, record.id LIMIT {limit}",
            row()
        );
        (statement, arguments)
    }

    fn records(&self) -> String {
        // The view, because readers may not select from the table.
        format!("SELECT {} FROM {{schema}}.sealed_record AS record", row())
    }

    fn records_between(&self) -> &'static str {
        "SELECT ''::bytea FROM {schema}.sealed_record WHERE recorded_at >= $1::text::timestamp AT TIME ZONE 'UTC' AND recorded_at < $2::text::timestamp AT TIME ZONE 'UTC' LIMIT 1"
    }

    fn record_by_id(&self) -> String {
        format!("{} WHERE record.id = $1::text::uuid", self.records())
    }

    fn seals(&self) -> &'static str {
        concat!(
            include_str!("seal/seal.sql"),
            "WHERE position >= $1::text::bigint AND position < $2::text::bigint ORDER BY position"
        )
    }

    fn seal_by_id(&self) -> &'static str {
        concat!(include_str!("seal/seal.sql"), "WHERE id = $1::text::uuid")
    }

    fn entries(&self) -> &'static str {
        include_str!("seal/entries.sql")
    }

    fn tiles(&self) -> &'static str {
        include_str!("seal/tiles.sql")
    }

    fn tile_indexes(&self) -> &'static str {
        "SELECT index::text FROM {schema}.tile WHERE level = 0"
    }

    fn tile_roots(&self) -> &'static str {
        "SELECT root FROM {schema}.tile WHERE level = $1::text::smallint AND index >= $2::text::bigint ORDER BY index"
    }

    fn checkpoints(&self) -> &'static str {
        "SELECT json_build_object('size', size, 'note', note)::text FROM {schema}.checkpoint ORDER BY size"
    }

    fn newest_checkpoint(&self) -> &'static str {
        "SELECT json_build_object('size', size, 'note', note)::text FROM {schema}.checkpoint ORDER BY size DESC LIMIT 1"
    }

    fn insert_seals(&self) -> &'static str {
        include_str!("seal/insert_seals.sql")
    }

    fn put_seals(&self, first: u64, seals: &[NewSeal], put: &mut dyn FnMut(Argument<'_>)) {
        let times = seals.iter().map(|it| it.recorded_at.parse().unwrap_or(0));
        let ids = seals.iter().map(|it| it.id);
        let salts = seals.iter().map(|it| &it.salt[..]);
        let digests = seals.iter().map(|it| &it.digest[..]);
        let hints = seals.iter().map(|it| &it.hints[..]);
        put(first.to_string().as_str().into());
        put(Argument::Integers(&times.collect::<Vec<i64>>()));
        put(Argument::Uuids(&ids.collect::<Vec<_>>()));
        put(Argument::ByteStrings(&salts.collect::<Vec<_>>()));
        put(Argument::ByteStrings(&digests.collect::<Vec<_>>()));
        put(Argument::ByteStrings(&hints.collect::<Vec<_>>()));
    }

    fn insert_entry(&self) -> &'static str {
        "INSERT INTO {schema}.log_entry (position, entry) VALUES ($1::text::bigint, decode($2, 'hex'))"
    }

    fn insert_tile(&self) -> &'static str {
        "INSERT INTO {schema}.tile (level, index, root, hashes) VALUES ($1::text::smallint, $2::text::bigint, decode($3, 'hex'), decode($4, 'hex'))"
    }

    fn insert_checkpoint(&self) -> &'static str {
        "INSERT INTO {schema}.checkpoint (size, note) VALUES ($1::text::bigint, $2) ON CONFLICT DO NOTHING"
    }

    fn update_tree(&self, size: u64, root: &str, seen: Option<&str>, _last: i64) -> Vec<Query> {
        let arguments = vec![
            size.to_string(),
            root.to_owned(),
            seen.unwrap_or("1:1:").to_owned(),
        ];
        vec![(include_str!("seal/update_tree.sql").to_owned(), arguments)]
    }

    fn partitions(&self) -> Option<&'static str> {
        Some(include_str!("seal/partitions.sql"))
    }

    fn columns(&self) -> &'static str {
        "SELECT attname::text FROM pg_attribute WHERE attrelid = '{schema}.record'::regclass AND attnum > 0 AND NOT attisdropped"
    }

    fn queue(&self) -> Option<&'static str> {
        None
    }

    fn decode_id(&self, row: &[u8]) -> Result<[u8; 16], MalformedRow> {
        let mut fields = Composite::new(row, COLUMNS.len() + 1)?;
        fields.required()?;
        fields.array()
    }

    fn decode_record<'a>(&self, row: &'a [u8]) -> Result<RecordRow<'a>, MalformedRow> {
        let mut fields = Composite::new(row, COLUMNS.len() + 1)?;
        let partition = u32::from_be_bytes(fields.array()?);
        let mut values = Vec::with_capacity(COLUMNS.len());
        let (mut id, mut xid, mut recorded_at) = ([0; 16], 0, String::new());
        for column in &COLUMNS {
            let value = fields.next(pg_type(column.kind))?;
            match (column.name, value) {
                ("id", Stored::Uuid(bytes)) => id = bytes,
                ("xid", Stored::Integer(number)) => xid = number.cast_unsigned(),
                ("recorded_at", Stored::Micros(at)) => recorded_at = at.to_string(),
                _ => {}
            }
            values.push(value);
        }
        Ok(RecordRow {
            id,
            id_text: uuid::Uuid::from_bytes(id).to_string(),
            recorded_at,
            xid,
            partition,
            number: 0,
            values,
        })
    }

    fn decode_seal(&self, row: &[u8]) -> Result<SealRow, MalformedRow> {
        let mut fields = Composite::new(row, 7)?;
        Ok(SealRow {
            position: fields.integer()?.cast_unsigned(),
            recorded_at: match fields.next(PgType::Timestamp)? {
                Stored::Micros(at) => at.to_string(),
                _ => String::new(),
            },
            id: fields.array()?,
            salt: fields.array()?,
            digest: fields.array()?,
            hints: fields.required()?.to_vec(),
            erased: fields
                .bytes()?
                .map(|text| String::from_utf8_lossy(text).into_owned()),
        })
    }

    fn decode_numbered(&self, row: &[u8]) -> Result<(u64, Vec<u8>), MalformedRow> {
        let mut fields = Composite::new(row, 2)?;
        let number = fields.integer()?.cast_unsigned();
        Ok((number, fields.required()?.to_vec()))
    }

    fn decode_tile(&self, row: &[u8]) -> Result<(u8, u64, [u8; 32], Vec<u8>), MalformedRow> {
        let mut fields = Composite::new(row, 4)?;
        let level = u8::try_from(fields.integer()?).unwrap_or(u8::MAX);
        let index = fields.integer()?.cast_unsigned();
        Ok((level, index, fields.array()?, fields.required()?.to_vec()))
    }
}

/// The expression that returns a record as one value.
fn row() -> String {
    let mut row = "record_send(ROW(record.tableoid".to_owned();
    for column in &COLUMNS {
        // Writing to a string cannot fail.
        let _ = write!(row, ", record.{}", column.name);
    }
    row + "))"
}

fn pg_type(kind: Kind) -> PgType {
    match kind {
        Kind::Uuid => PgType::Uuid,
        Kind::TransactionId | Kind::Status => PgType::Integer,
        Kind::Moment => PgType::Timestamp,
        Kind::Text | Kind::Word => PgType::Text,
        Kind::Json => PgType::Json,
    }
}

/// A list of values without special characters as an array of Postgres.
fn array<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> String {
    let mut array = "{".to_owned();
    for value in values {
        if array.len() > 1 {
            array.push(',');
        }
        let _ = write!(array, "{value}");
    }
    array + "}"
}
