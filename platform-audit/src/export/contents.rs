//! Reads an exported file back, to compare it with its manifest.

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

use super::file::io_error;
use super::{ExportError, Format};

/// The number of records in a file, and the first and last of them.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) records: u64,
    pub(super) first: Option<Uuid>,
    pub(super) last: Option<Uuid>,
}

impl Contents {
    fn add(&mut self, id: Uuid) {
        self.records += 1;
        self.first.get_or_insert(id);
        self.last = Some(id);
    }
}

/// Reads the whole file, one record at a time.
pub(super) fn count_records(path: &Path, format: Format) -> Result<Contents, ExportError> {
    let file_error = |source| io_error(path, source);
    let file = File::open(path).map_err(file_error)?;
    let read = match format {
        Format::Json | Format::JsonLines | Format::Ocsf | Format::Fhir => read_lines(file, format),
        Format::Csv => read_csv(file),
        Format::Parquet => read_parquet(file).map_err(Error::other),
    };
    read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::Other => {
            ExportError::Damaged {
                path: path.display().to_string(),
                what: error.to_string(),
            }
        }
        _ => file_error(error),
    })
}

/// The record's id in a line of the line-based formats.
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

fn read_lines(file: File, format: Format) -> std::io::Result<Contents> {
    let mut contents = Contents::default();
    for line in BufReader::new(file).lines() {
        let mut line = line?;
        if format == Format::Json {
            // A JSON array with one element per line.
            if ["[", "]", "[]"].contains(&line.as_str()) {
                continue;
            }
            if line.ends_with(',') {
                line.pop();
            }
        }
        let line: Line = serde_json::from_str(&line)?;
        contents.add(match line {
            Line::Ocsf { metadata } => metadata.uid,
            Line::Other { id } => id,
        });
    }
    Ok(contents)
}

fn read_csv(file: File) -> std::io::Result<Contents> {
    let mut contents = Contents::default();
    for row in csv::Reader::from_reader(file).into_records() {
        let id = row?.get(0).and_then(|id| id.parse().ok());
        contents.add(id.ok_or_else(missing_id)?);
    }
    Ok(contents)
}

fn read_parquet(file: File) -> Result<Contents, ParquetError> {
    let mut contents = Contents::default();
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let id = schema.get_fields().iter().find(|it| it.name() == "id");
    let id = id.ok_or_else(|| ParquetError::General("it has no column `id`".to_owned()))?;
    let only = Type::group_type_builder(schema.name())
        .with_fields(vec![Arc::clone(id)])
        .build()?;
    for row in reader.get_row_iter(Some(only))? {
        let id = row?.get_string(0)?.parse().ok();
        contents.add(id.ok_or_else(|| ParquetError::External(Box::new(missing_id())))?);
    }
    Ok(contents)
}

fn missing_id() -> Error {
    Error::new(ErrorKind::InvalidData, "a row has no record id")
}
