//! Records as rows of an Apache Parquet file, <https://parquet.apache.org/docs/file-format/>.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

use super::ExportError;
use crate::record::{AuditRecord, COLUMNS, ColumnValue, Kind};

/// Maximum size of a row group, in bytes of text. Records are written in the order given: if they
/// are sorted by time, each row group covers a time span.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Maximum number of records in a row group.
const ROW_GROUP_RECORDS: usize = 32_768;

/// High-cardinality columns, written without a dictionary.
const DISTINCT: [&str; 6] = ["id", "xid", "request_id", "trace_id", "span_id", "changes"];

/// Writes records in row groups, and buffers one row group.
pub(super) struct ParquetEncoder<W: Write> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    records: usize,
    bytes: usize,
}

/// A column of the buffered row group.
struct Column {
    values: Values,
    /// Definition levels of an optional column: 1 for each record with a value, 0 for each without.
    levels: Option<Vec<i16>>,
}

enum Values {
    /// All strings, concatenated, and the end of each.
    Texts {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    Status(Vec<i32>),
    Microseconds(Vec<i64>),
}

impl<W: Write + Send> ParquetEncoder<W> {
    pub(super) fn new(out: W) -> Result<Self, ExportError> {
        let schema = Arc::new(parse_message_type(&schema()).map_err(in_parquet)?);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("platform-audit ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        for name in DISTINCT {
            properties = properties.set_column_dictionary_enabled(name.into(), false);
        }
        let columns = schema.get_fields().iter().map(Column::new).collect();
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties.build()));
        Ok(Self {
            writer: writer.map_err(in_parquet)?,
            columns,
            records: 0,
            bytes: 0,
        })
    }

    /// Copies the row groups of another file written by this encoder.
    pub(super) fn append(&mut self, written: &File) -> Result<(), ExportError> {
        let metadata = ParquetMetaDataReader::new();
        let metadata = metadata.parse_and_finish(written).map_err(in_parquet)?;
        for written_group in metadata.row_groups() {
            let mut group = self.writer.next_row_group().map_err(in_parquet)?;
            for column in written_group.columns() {
                let closed = ColumnCloseResult {
                    bytes_written: column.byte_range().1,
                    rows_written: u64::try_from(written_group.num_rows()).unwrap_or_default(),
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                group.append_column(written, closed).map_err(in_parquet)?;
            }
            group.close().map_err(in_parquet)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, record: &AuditRecord) -> Result<(), ExportError> {
        for (column, of_record) in self.columns.iter_mut().zip(&COLUMNS) {
            self.bytes += column.push((of_record.value)(record));
        }
        self.records += 1;
        if self.bytes >= ROW_GROUP_BYTES || self.records >= ROW_GROUP_RECORDS {
            self.end_row_group()?;
        }
        Ok(())
    }

    /// Whether all records are in row groups that were written.
    pub(super) fn is_at_rest(&self) -> bool {
        self.records == 0
    }

    pub(super) fn get_ref(&self) -> &W {
        self.writer.inner()
    }

    /// The footer that would complete the row groups written so far to a valid file.
    pub(super) fn footer(&self) -> Result<Vec<u8>, ExportError> {
        let groups = self.writer.flushed_row_groups().to_vec();
        let records = groups.iter().map(RowGroupMetaData::num_rows).sum();
        let schema = Arc::new(self.writer.schema_descr().clone());
        let file = FileMetaData::new(2, records, None, None, schema, None);
        let metadata = ParquetMetaData::new(file, groups);
        let mut footer = Vec::new();
        let writer = ParquetMetaDataWriter::new(&mut footer, &metadata);
        writer.finish().map_err(in_parquet)?;
        Ok(footer)
    }

    pub(super) fn finish(mut self) -> Result<W, ExportError> {
        self.end_row_group()?;
        self.writer.into_inner().map_err(in_parquet)
    }

    fn end_row_group(&mut self) -> Result<(), ExportError> {
        if std::mem::take(&mut self.records) == 0 {
            return Ok(());
        }
        self.bytes = 0;
        let mut group = self.writer.next_row_group().map_err(in_parquet)?;
        for column in &mut self.columns {
            if let Some(writer) = group.next_column().map_err(in_parquet)? {
                column.write(writer).map_err(in_parquet)?;
            }
        }
        group.close().map_err(in_parquet)?;
        self.writer.flush()?;
        Ok(())
    }
}

impl Column {
    fn new(field: &TypePtr) -> Self {
        let values = match field.get_physical_type() {
            Physical::INT32 => Values::Status(Vec::new()),
            Physical::INT64 => Values::Microseconds(Vec::new()),
            _ => Values::Texts {
                bytes: Vec::new(),
                ends: Vec::new(),
            },
        };
        Self {
            values,
            levels: field.is_optional().then(Vec::new),
        }
    }

    /// Adds a value or a null, and returns the number of bytes it takes.
    fn push(&mut self, value: ColumnValue<'_>) -> usize {
        let taken = match (&mut self.values, value) {
            (Values::Status(all), ColumnValue::Status(Some(status))) => {
                all.push(status.into());
                Some(size_of::<i32>())
            }
            (Values::Microseconds(all), ColumnValue::Moment(Some(at))) => {
                all.push(at.as_microsecond());
                Some(size_of::<i64>())
            }
            (Values::Texts { bytes, ends }, value) => value.text().map(|text| {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
                text.len() + size_of::<usize>()
            }),
            _ => None,
        };
        if let Some(levels) = &mut self.levels {
            levels.push(i16::from(taken.is_some()));
        }
        taken.unwrap_or(size_of::<i16>())
    }

    fn write(&mut self, mut writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.levels.as_deref();
        match &mut self.values {
            Values::Texts { bytes, ends } => {
                let all = Bytes::from(std::mem::take(bytes));
                let mut begin = 0;
                let texts: Vec<_> = std::mem::take(ends)
                    .into_iter()
                    .map(|end| ByteArray::from(all.slice(std::mem::replace(&mut begin, end)..end)))
                    .collect();
                let writer = writer.typed::<ByteArrayType>();
                writer.write_batch(&texts, levels, None)?;
            }
            Values::Status(all) => {
                let writer = writer.typed::<Int32Type>();
                writer.write_batch(&std::mem::take(all), levels, None)?;
            }
            Values::Microseconds(all) => {
                let writer = writer.typed::<Int64Type>();
                writer.write_batch(&std::mem::take(all), levels, None)?;
            }
        }
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        writer.close()
    }
}

/// The columns as a message type of Parquet's schema language.
fn schema() -> String {
    let fields = COLUMNS.iter().map(|column| {
        let repetition = if column.nullable {
            "optional"
        } else {
            "required"
        };
        let (physical, logical) = match column.kind {
            Kind::Uuid | Kind::TransactionId | Kind::Text | Kind::Word => ("binary", "STRING"),
            Kind::Moment => ("int64", "TIMESTAMP(MICROS, true)"),
            Kind::Status => ("int32", "INTEGER(16, false)"),
            Kind::Json => ("binary", "JSON"),
        };
        format!("{repetition} {physical} {} ({logical});\n", column.name)
    });
    format!("message audit_record {{\n{}}}", fields.collect::<String>())
}

fn in_parquet(error: ParquetError) -> ExportError {
    ExportError::Write(std::io::Error::other(error))
}
