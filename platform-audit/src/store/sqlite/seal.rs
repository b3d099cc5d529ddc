//! The sealed log on SQLite. A row is returned as one value, in which each field has its length.

use std::fmt::Write as _;

use super::super::Argument;
use super::super::row::{MalformedRow, Netstrings, Stored, id_bytes};
use super::super::seal::{NewSeal, Query, RecordRow, SealRow, SealSql, Unsealed};
use super::SqliteSql;
use crate::record::{COLUMNS, Kind};

impl SealSql for SqliteSql {
    fn begin(&self) -> &'static str {
        "BEGIN IMMEDIATE"
    }

    fn lock_tree(&self) -> &'static str {
        // BEGIN IMMEDIATE holds the only lock that there is.
        self.tree()
    }

    fn tree(&self) -> &'static str {
        "SELECT json_object('size', size, 'root', lower(hex(root))) FROM {schema}_tree"
    }

    fn snapshot(&self) -> Option<&'static str> {
        None
    }

    fn unsealed(&self, _which: &Unsealed<'_>, limit: usize, exclude_sealed: bool) -> Query {
        let unsealed = if exclude_sealed {
            "WHERE NOT EXISTS (SELECT 1 FROM {schema}_seal AS seal WHERE seal.id = record.id) "
        } else {
            ""
        };
        let statement = format!(
            "SELECT CAST({} || {} AS BLOB) FROM {{schema}}_unsealed AS unsealed JOIN {{schema}}_record AS record ON record.id = unsealed.id {unsealed}ORDER BY unsealed.number LIMIT {limit}",
            field("unsealed.number"),
            row()
        );
        (statement, Vec::new())
    }

    fn records(&self) -> String {
        format!(
            "SELECT CAST('1:0' || {} AS BLOB) FROM {{schema}}_record AS record",
            row()
        )
    }

    fn records_between(&self) -> &'static str {
        "SELECT x'' FROM {schema}_record WHERE recorded_at >= $1 AND recorded_at < $2 LIMIT 1"
    }

    fn record_by_id(&self) -> String {
        format!("{} WHERE record.id = $1", self.records())
    }

    fn seals(&self) -> &'static str {
        concat!(
            include_str!("seal/seal.sql"),
            "WHERE position >= CAST($1 AS INTEGER) AND position < CAST($2 AS INTEGER) ORDER BY position"
        )
    }

    fn seal_by_id(&self) -> &'static str {
        concat!(include_str!("seal/seal.sql"), "WHERE id = $1")
    }

    fn entries(&self) -> &'static str {
        include_str!("seal/entries.sql")
    }

    fn tiles(&self) -> &'static str {
        include_str!("seal/tiles.sql")
    }

    fn tile_indexes(&self) -> &'static str {
        r#"SELECT CAST("index" AS TEXT) FROM {schema}_tile WHERE level = 0"#
    }

    fn tile_roots(&self) -> &'static str {
        r#"SELECT root FROM {schema}_tile WHERE level = CAST($1 AS INTEGER) AND "index" >= CAST($2 AS INTEGER) ORDER BY "index""#
    }

    fn checkpoints(&self) -> &'static str {
        "SELECT json_object('size', size, 'note', note) FROM {schema}_checkpoint ORDER BY size"
    }

    fn newest_checkpoint(&self) -> &'static str {
        "SELECT json_object('size', size, 'note', note) FROM {schema}_checkpoint ORDER BY size DESC LIMIT 1"
    }

    fn insert_seals(&self) -> &'static str {
        include_str!("seal/insert_seals.sql")
    }

    fn put_seals(&self, first: u64, seals: &[NewSeal], put: &mut dyn FnMut(Argument<'_>)) {
        let row = |it: &NewSeal| {
            let (salt, digest) = (hex::encode(it.salt), hex::encode(it.digest));
            let hints = hex::encode(&it.hints);
            serde_json::json!([it.recorded_at, it.id_text, salt, digest, hints])
        };
        let rows: Vec<_> = seals.iter().map(row).collect();
        put(first.to_string().as_str().into());
        put(serde_json::Value::from(rows).to_string().as_str().into());
    }

    fn insert_entry(&self) -> &'static str {
        "INSERT INTO {schema}_log_entry (position, entry) VALUES (CAST($1 AS INTEGER), unhex($2))"
    }

    fn insert_tile(&self) -> &'static str {
        r#"INSERT INTO {schema}_tile (level, "index", root, hashes) VALUES (CAST($1 AS INTEGER), CAST($2 AS INTEGER), unhex($3), unhex($4))"#
    }

    fn insert_checkpoint(&self) -> &'static str {
        "INSERT INTO {schema}_checkpoint (size, note) VALUES (CAST($1 AS INTEGER), $2) ON CONFLICT DO NOTHING"
    }

    fn update_tree(&self, size: u64, root: &str, _seen: Option<&str>, last: i64) -> Vec<Query> {
        let tree = "UPDATE {schema}_tree SET size = CAST($1 AS INTEGER), root = unhex($2), sealed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
        let sealed = "DELETE FROM {schema}_unsealed WHERE number <= CAST($1 AS INTEGER)";
        vec![
            (tree.to_owned(), vec![size.to_string(), root.to_owned()]),
            (sealed.to_owned(), vec![last.to_string()]),
        ]
    }

    fn partitions(&self) -> Option<&'static str> {
        None
    }

    fn columns(&self) -> &'static str {
        "SELECT name FROM pragma_table_info('{schema}_record')"
    }

    fn queue(&self) -> Option<&'static str> {
        Some("SELECT id FROM {schema}_unsealed")
    }

    fn decode_id(&self, row: &[u8]) -> Result<[u8; 16], MalformedRow> {
        let mut fields = Netstrings::new(row);
        fields.required()?;
        Ok(id_bytes(fields.required()?))
    }

    fn decode_record<'a>(&self, row: &'a [u8]) -> Result<RecordRow<'a>, MalformedRow> {
        let mut fields = Netstrings::new(row);
        let number = fields.integer()?;
        let mut values = Vec::with_capacity(COLUMNS.len());
        let (mut id, mut recorded_at) = (&b""[..], &b""[..]);
        for column in &COLUMNS {
            let Some(bytes) = fields.bytes()? else {
                values.push(Stored::Null);
                continue;
            };
            match column.name {
                "id" => id = bytes,
                "recorded_at" => recorded_at = bytes,
                _ => {}
            }
            values.push(match column.kind {
                Kind::Json => Stored::Json(bytes),
                _ => Stored::Text(bytes),
            });
        }
        Ok(RecordRow {
            id: id_bytes(id),
            id_text: String::from_utf8_lossy(id).into_owned(),
            recorded_at: String::from_utf8_lossy(recorded_at).into_owned(),
            xid: 0,
            partition: 0,
            number,
            values,
        })
    }

    fn decode_seal(&self, row: &[u8]) -> Result<SealRow, MalformedRow> {
        let mut fields = Netstrings::new(row);
        Ok(SealRow {
            position: fields.integer()?.cast_unsigned(),
            recorded_at: String::from_utf8_lossy(fields.required()?).into_owned(),
            id: id_bytes(fields.required()?),
            salt: fields.array()?,
            digest: fields.array()?,
            hints: fields.required()?.to_vec(),
            erased: fields
                .bytes()?
                .map(|text| String::from_utf8_lossy(text).into_owned()),
        })
    }

    fn decode_numbered(&self, row: &[u8]) -> Result<(u64, Vec<u8>), MalformedRow> {
        let mut fields = Netstrings::new(row);
        let number = fields.integer()?.cast_unsigned();
        Ok((number, fields.required()?.to_vec()))
    }

    fn decode_tile(&self, row: &[u8]) -> Result<(u8, u64, [u8; 32], Vec<u8>), MalformedRow> {
        let mut fields = Netstrings::new(row);
        let level = u8::try_from(fields.integer()?).unwrap_or(u8::MAX);
        let index = fields.integer()?.cast_unsigned();
        Ok((level, index, fields.array()?, fields.required()?.to_vec()))
    }
}

/// An expression that returns a value with its length, as [`Netstrings`] reads it.
fn field(value: &str) -> String {
    format!(
        "CASE WHEN {value} IS NULL THEN '-' ELSE length(CAST({value} AS BLOB)) || ':' || {value} END"
    )
}

/// The expression that returns a record as one value.
fn row() -> String {
    let mut row = String::new();
    for column in &COLUMNS {
        let joint = if row.is_empty() { "" } else { " || " };
        // Writing to a string cannot fail.
        let _ = write!(row, "{joint}{}", field(&format!("record.{}", column.name)));
    }
    row
}
