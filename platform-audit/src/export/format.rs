use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ExportError;

/// The file format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// One JSON array (RFC 8259).
    #[serde(rename = "json")]
    Json,
    /// JSON Lines: one JSON object per line, with the attributes of a stored record.
    #[serde(rename = "jsonl")]
    JsonLines,
    /// Comma-separated values with a header (RFC 4180), escaped against formula injection: see
    /// [`to_row`](super::to_row).
    #[serde(rename = "csv")]
    Csv,
    /// Apache Parquet with typed columns: timestamps in microseconds (UTC), JSON columns, row
    /// groups in export order, Zstandard compression.
    #[serde(rename = "parquet")]
    Parquet,
    /// One OCSF 1.6 event per line: API Activity (6003) for records of a request or without a
    /// resource, otherwise Entity Management (3004).
    #[serde(rename = "ocsf")]
    Ocsf,
    /// One FHIR R5 AuditEvent per line.
    #[serde(rename = "fhir")]
    Fhir,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [
        Self::Json,
        Self::JsonLines,
        Self::Csv,
        Self::Parquet,
        Self::Ocsf,
        Self::Fhir,
    ];

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines | Self::Ocsf => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Fhir => "application/fhir+ndjson",
        }
    }

    /// The usual file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ocsf => "ocsf.jsonl",
            Self::Fhir => "fhir.ndjson",
        }
    }
}

/// The name used on the command line.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ocsf => "ocsf",
            Self::Fhir => "fhir",
        })
    }
}

impl FromStr for Format {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        Self::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| ExportError::UnknownFormat(text.to_owned()))
    }
}
