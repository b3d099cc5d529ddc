//! What an exported file holds, read back from it.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use parquet::schema::types::Type;
use serde::Deserialize;
use uuid::Uuid;

use super::file::failed;
use super::{ExportError, Format};

/// How many records a file holds, and which come first and last.
#[derive(Default)]
pub(super) struct Held {
    pub(super) records: u64,
    pub(super) first: Option<Uuid>,
    pub(super) last: Option<Uuid>,
}

impl Held {
    fn add(&mut self, id: Uuid) {
        self.records += 1;
        self.first.get_or_insert(id);
        self.last = Some(id);
    }
}

/// Reads the file whole, a record at a time.
pub(super) fn recount(path: &Path, format: Format) -> Result<Held, ExportError> {
    let in_file = |source| failed(path, source);
    let file = File::open(path).map_err(in_file)?;
    let read = match format {
        Format::Json | Format::JsonLines | Format::Ocsf | Format::Fhir => in_lines(file, format),
        Format::Csv => in_cells(file),
        Format::Parquet => in_columns(file).map_err(Error::other),
    };
    read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::Other => {
            ExportError::Damaged {
                path: path.display().to_string(),
                what: error.to_string(),
            }
        }
        _ => in_file(error),
    })
}

/// Where the record's id is in a line of the formats of lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Ocsf { metadata: Metadata },
    Other { id: Uuid },
}

#[derive(Deserialize)]
struct Metadata {
    uid: Uuid,
}

fn in_lines(file: File, format: Format) -> std::io::Result<Held> {
    let mut held = Held::default();
    for line in BufReader::new(file).lines() {
        let mut line = line?;
        if format == Format::Json {
            // An array with a member a line.
            if ["[", "]", "[]"].contains(&line.as_str()) {
                continue;
            }
            if line.ends_with(',') {
                line.pop();
            }
        }
        let line: Line = serde_json::from_str(&line)?;
        held.add(match line {
            Line::Ocsf { metadata } => metadata.uid,
            Line::Other { id } => id,
        });
    }
    Ok(held)
}

fn in_cells(file: File) -> std::io::Result<Held> {
    let mut held = Held::default();
    for row in csv::Reader::from_reader(file).into_records() {
        let id = row?.get(0).and_then(|id| id.parse().ok());
        held.add(id.ok_or_else(no_id)?);
    }
    Ok(held)
}

fn in_columns(file: File) -> Result<Held, ParquetError> {
    let mut held = Held::default();
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let id = schema.get_fields().iter().find(|it| it.name() == "id");
    let id = id.ok_or_else(|| ParquetError::General("it has no column id".to_owned()))?;
    let only = Type::group_type_builder(schema.name())
        .with_fields(vec![Arc::clone(id)])
        .build()?;
    for row in reader.get_row_iter(Some(only))? {
        let id = row?.get_string(0)?.parse().ok();
        held.add(id.ok_or_else(|| ParquetError::External(Box::new(no_id())))?);
    }
    Ok(held)
}

fn no_id() -> Error {
    Error::new(ErrorKind::InvalidData, "a row has no record's id")
}
