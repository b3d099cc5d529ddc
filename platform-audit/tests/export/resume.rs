//! Resuming interrupted exports.

use std::path::{Path, PathBuf};

use platform_audit::AuditRecord;
use platform_audit::export::{ExportError, ExportFile, Format, Manifest, verify};
use platform_audit::query::{AuditQuery, Direction, Origin, SortBy};
use platform_harness::readers;
use serde_json::json;

use super::{origin, record};

fn some(count: usize, reason: &str) -> Vec<AuditRecord> {
    let mut records = vec![record(Some(reason), "ada", 5.into()); count];
    for (at, record) in records.iter_mut().enumerate() {
        record.resource_id = Some(at.to_string());
    }
    records
}

fn query() -> AuditQuery {
    AuditQuery::new()
        .actor("ada")
        .sort(SortBy::RecordedAt, Direction::Ascending)
}

fn write(file: &mut ExportFile, records: &[AuditRecord]) {
    for record in records {
        file.write(record).unwrap();
    }
}

/// Leaves the files as after a kill: nothing is flushed, and no lock is held.
fn killed(file: ExportFile, path: &Path) {
    std::mem::forget(file);
    let partial = path.with_added_extension("partial");
    let left = path.with_added_extension("left");
    std::fs::copy(&partial, &left).unwrap();
    std::fs::rename(&left, &partial).unwrap();
}

/// Writes `records` once without and once with interruptions. Each of `interruptions` is a number
/// of records written and the number kept after resuming. Returns both files with their manifests.
fn whole_and_resumed(
    folder: &Path,
    format: Format,
    records: &[AuditRecord],
    interruptions: [(usize, usize); 2],
) -> [(PathBuf, Manifest); 2] {
    let whole = folder.join("whole");
    let mut file = ExportFile::create(&whole, format, &query(), origin()).unwrap();
    write(&mut file, records);
    let expected = file.finish().unwrap();

    let path = folder.join("cut");
    let mut file = ExportFile::create(&path, format, &query(), origin()).unwrap();
    let mut at = 0;
    // Twice, as a resumed export can be interrupted, too.
    for (written, kept) in interruptions {
        write(&mut file, &records[at..written]);
        // As after a kill: nothing is flushed.
        killed(file, &path);
        let (resumed, asked, _cursor) = ExportFile::resume(&path, &origin()).unwrap();
        assert_eq!(asked, query());
        at = usize::try_from(resumed.records()).unwrap();
        assert_eq!(at, kept);
        file = resumed;
    }
    write(&mut file, &records[at..]);
    let manifest = file.finish().unwrap();
    assert_eq!(verify(&path).unwrap(), manifest);
    assert_eq!(
        (manifest.records, &manifest.first, &manifest.last),
        (expected.records, &expected.first, &expected.last),
    );
    assert_eq!(manifest.continued_by, [origin(), origin()]);
    let left = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(left, 4, "two files and two manifests");
    [(whole, expected), (path, manifest)]
}

#[test]
fn a_resumed_export_of_lines_is_byte_identical() {
    let records = some(10_000, "because");
    for format in Format::ALL {
        if format == Format::Parquet {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let interruptions = [(5_000, 4_096), (9_000, 8_192)];
        let [whole, resumed] = whole_and_resumed(folder.path(), format, &records, interruptions);
        assert_eq!(whole.1.sha256, resumed.1.sha256, "{format}");
    }
}

#[test]
fn a_resumed_parquet_export_has_the_same_rows() {
    // A row group is full at 32 MiB of text.
    let records = some(11_000, &"x".repeat(8192));
    let folder = tempfile::tempdir().unwrap();
    let interruptions = [(5_000, 3_926), (9_000, 7_852)];
    let files = whole_and_resumed(folder.path(), Format::Parquet, &records, interruptions);
    let [whole, resumed] = files.map(|(path, _)| readers::read("parquet", &path));
    assert_eq!(whole, resumed);
    assert_eq!(whole["rows"].as_array().unwrap().len(), 11_000);
    assert_eq!(whole["spans"].as_array().unwrap().len(), 3);
}

#[test]
fn an_export_that_cannot_be_resumed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("october.jsonl");
    let nothing = ExportFile::resume(&path, &origin()).unwrap_err();
    assert!(
        matches!(nothing, ExportError::NothingToResume(_)),
        "{nothing}"
    );

    let record = record(None, "ada", json!(5));
    let mut file = ExportFile::create(&path, Format::JsonLines, &query(), origin()).unwrap();
    write(&mut file, &vec![record; 4_096]);
    killed(file, &path);
    let partial = folder.path().join("october.jsonl.partial");
    let whole = std::fs::read(&partial).unwrap();
    std::fs::write(&partial, &whole[..whole.len() - 1]).unwrap();
    let short = ExportFile::resume(&path, &origin()).unwrap_err();
    assert!(short.to_string().contains("shorter"), "{short}");
    std::fs::write(&partial, &whole).unwrap();
    ExportFile::resume(&path, &origin()).unwrap();
    // A file must not mix the records of two logs.
    for other in [
        Origin::new("billing", "ledger_audit", "grace"),
        Origin::new("ledger", "old_audit", "grace"),
    ] {
        let refused = ExportFile::resume(&path, &other).unwrap_err();
        assert!(matches!(refused, ExportError::OtherLog { .. }), "{refused}");
        assert!(refused.to_string().contains("ledger_audit"), "{refused}");
    }
    let another = Origin::new("ledger", "ledger_audit", "linus");
    ExportFile::resume(&path, &another).unwrap();

    std::fs::write(folder.path().join("october.jsonl.progress.json"), "{").unwrap();
    let damaged = ExportFile::resume(&path, &origin()).unwrap_err();
    assert!(matches!(damaged, ExportError::Damaged { .. }), "{damaged}");
    // Starting again is always possible.
    let again = ExportFile::create(&path, Format::JsonLines, &query(), origin()).unwrap();
    again.finish().unwrap();
    let there = ExportFile::resume(&path, &origin()).unwrap_err();
    assert!(matches!(there, ExportError::Exists(_)), "{there}");
}
