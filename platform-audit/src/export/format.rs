use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ExportError;

/// In what form records are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// One JSON array (RFC 8259).
    #[serde(rename = "json")]
    Json,
    /// One JSON object a line, as the records are stored.
    #[serde(rename = "jsonl")]
    JsonLines,
    /// Comma-separated values with a header (RFC 4180), safe to open in a spreadsheet: see
    /// [`to_row`](super::to_row).
    #[serde(rename = "csv")]
    Csv,
    /// A table of typed columns (Apache Parquet): times in microseconds of UTC, JSON as such, sorted
    /// row groups, compressed by Zstandard.
    #[serde(rename = "parquet")]
    Parquet,
    /// One event of OCSF 1.6 a line: API Activity (6003) where a record came by a request or names no
    /// resource, else Entity Management (3004).
    #[serde(rename = "ocsf")]
    Ocsf,
    /// One FHIR R5 AuditEvent a line.
    #[serde(rename = "fhir")]
    Fhir,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Json,
        Self::JsonLines,
        Self::Csv,
        Self::Parquet,
        Self::Ocsf,
        Self::Fhir,
    ];

    /// What HTTP calls it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines | Self::Ocsf => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Fhir => "application/fhir+ndjson",
        }
    }

    /// The usual extension of a file, without its dot.
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

/// The word of the command line.
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
