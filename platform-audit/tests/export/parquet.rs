//! Parquet files, read by pyarrow.

use platform_audit::export::Format;
use platform_harness::readers;
use serde_json::{Value, json};

use super::{each_kind, encoded};

#[test]
fn pyarrow_reads_typed_columns_with_the_values_of_the_records() {
    let records = each_kind();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    std::fs::write(&path, encoded(Format::Parquet, &records)).unwrap();
    let found = readers::read("parquet", &path);

    for (column, kind) in found["types"].as_object().unwrap() {
        let expected = match column.as_str() {
            "occurred_at" | "recorded_at" => "timestamp[us, tz=UTC]",
            "status" => "uint16",
            "changes" | "details" | "cut" => "extension<arrow.json>",
            _ => "string",
        };
        assert_eq!(kind, expected, "{column}");
    }
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(&records) {
        let record = serde_json::to_value(record).unwrap();
        for (column, value) in row.as_object().unwrap() {
            let expected = record.get(column).unwrap_or(&Value::Null);
            match column.as_str() {
                "occurred_at" => assert_eq!(value, "2026-11-23T17:00:00.123456+00:00"),
                "recorded_at" if !value.is_null() => {
                    assert_eq!(value, "2026-11-23T17:00:00.200000+00:00");
                }
                "changes" | "details" | "cut" => {
                    let value: Value = serde_json::from_str(value.as_str().unwrap()).unwrap();
                    assert_eq!(&value, expected, "{column}");
                }
                _ => assert_eq!(value, expected, "{column}"),
            }
        }
    }
}

#[test]
fn an_export_without_records_has_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.parquet");
    std::fs::write(&path, encoded(Format::Parquet, &[])).unwrap();
    let found = readers::read("parquet", &path);
    assert_eq!(found["rows"], json!([]));
    assert_eq!(found["types"].as_object().unwrap().len(), 29);
}

/// Readers rely on a declared sort order, but records can be exported in any order.
#[test]
fn no_sort_order_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    std::fs::write(&path, encoded(Format::Parquet, &each_kind())).unwrap();
    let found = readers::read("parquet", &path);
    assert_eq!(found["sorted"], json!([[]]), "of its one row group");
}
