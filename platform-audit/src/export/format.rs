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
}

impl Format {
    /// What HTTP calls it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// The word of the command line, and the usual extension of a file.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        })
    }
}

impl FromStr for Format {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        [Self::Json, Self::JsonLines, Self::Csv]
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| ExportError::UnknownFormat(text.to_owned()))
    }
}
