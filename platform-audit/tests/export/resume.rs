//! An export that broke off, and goes on.

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

/// What is left of `file` when its process is killed: nothing is flushed that was not, and nobody
/// holds it.
fn killed(file: ExportFile, path: &Path) {
    std::mem::forget(file);
    let partial = path.with_added_extension("partial");
    let left = path.with_added_extension("left");
    std::fs::copy(&partial, &left).unwrap();
    std::fs::rename(&left, &partial).unwrap();
}

/// Writes `records` whole, and again with breaks at `cuts`, after which it goes on with no less
/// than `rests` records; answers with both files and their manifests.
fn whole_and_cut(
    folder: &Path,
    format: Format,
    records: &[AuditRecord],
    breaks: [(usize, usize); 2],
) -> [(PathBuf, Manifest); 2] {
    let whole = folder.join("whole");
    let mut file = ExportFile::create(&whole, format, &query(), origin()).unwrap();
    write(&mut file, records);
    let expected = file.finish().unwrap();

    let path = folder.join("cut");
    let mut file = ExportFile::create(&path, format, &query(), origin()).unwrap();
    let mut at = 0;
    // Twice, so that what went on can go on, too.
    for (cut, rest) in breaks {
        write(&mut file, &records[at..cut]);
        // As when the process is killed: nothing is flushed that was not.
        killed(file, &path);
        let (resumed, asked, _cursor) = ExportFile::resume(&path, &origin()).unwrap();
        assert_eq!(asked, query());
        at = usize::try_from(resumed.records()).unwrap();
        assert_eq!(at, rest);
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
fn lines_that_broke_off_become_the_same_file() {
    let records = some(10_000, "because");
    for format in Format::ALL {
        if format == Format::Parquet {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let breaks = [(5_000, 4_096), (9_000, 8_192)];
        let [whole, cut] = whole_and_cut(folder.path(), format, &records, breaks);
        assert_eq!(whole.1.sha256, cut.1.sha256, "{format}");
    }
}

#[test]
fn a_table_that_broke_off_holds_the_same_rows() {
    // A row group is full at 32 MiB of text.
    let records = some(11_000, &"x".repeat(8192));
    let folder = tempfile::tempdir().unwrap();
    let breaks = [(5_000, 3_926), (9_000, 7_852)];
    let files = whole_and_cut(folder.path(), Format::Parquet, &records, breaks);
    let [whole, cut] = files.map(|(path, _)| readers::read("parquet", &path));
    assert_eq!(whole, cut);
    assert_eq!(whole["rows"].as_array().unwrap().len(), 11_000);
    assert_eq!(whole["spans"].as_array().unwrap().len(), 3);
}

#[test]
fn what_cannot_go_on_says_so() {
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
    // The records of two logs in one file would be neither's.
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
    // To begin again is always possible.
    let again = ExportFile::create(&path, Format::JsonLines, &query(), origin()).unwrap();
    again.finish().unwrap();
    let there = ExportFile::resume(&path, &origin()).unwrap_err();
    assert!(matches!(there, ExportError::Exists(_)), "{there}");
}
