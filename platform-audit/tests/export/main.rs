//! Exported files, read back.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod fhir;
mod ocsf;
mod parquet;
mod resume;

use platform_audit::AuditRecord;
use platform_audit::export::{Encoder, ExportError, ExportFile, Format, from_row, verify};
use platform_audit::query::{AuditQuery, Origin};
use proptest::prelude::*;
use serde_json::{Value, json};

fn record(reason: Option<&str>, actor: &str, changes: Value) -> AuditRecord {
    serde_json::from_value(json!({
        "id": "019355d0-7b1d-7e3a-9c55-0242ac120002", "xid": "7", "occurred_at": "2026-11-23T17:00:00.123456Z",
        "recorded_at": "2026-11-23T17:00:00.2Z", "service": "ledger", "service_version": null, "actor_kind": "user",
        "actor_id": actor, "actor_session": null, "actor_tenant": null, "actor_on_behalf_of": null, "action": "entry.create",
        "resource_type": "entry", "resource_id": "=1+1", "outcome": "success", "status": 201, "error_type": null,
        "reason": reason, "request_id": null, "method": "POST", "route": "/entries", "path": "/entries",
        "client_address": "10.0.0.1", "user_agent": "-x", "trace_id": null, "span_id": null,
        "changes": {"amount": {"before": null, "after": changes}}, "details": {"note": "a,\"b\"\r\n"}, "cut": ["reason"],
    }))
    .unwrap()
}

/// Records of each kind that the formats distinguish: with and without a request, with and without
/// a resource; created, changed, deleted and denied; with and without `on_behalf_of`.
fn each_kind() -> Vec<AuditRecord> {
    let base = serde_json::to_value(record(Some("because"), "ada", 5.into())).unwrap();
    let with = |members: Value| {
        let mut fields = base.clone();
        for (name, value) in members.as_object().unwrap() {
            fields[name] = value.clone();
        }
        serde_json::from_value(fields).unwrap()
    };
    vec![
        with(json!({
            "request_id": "r-1", "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
            "actor_session": "s-1", "actor_tenant": "clinic-7", "actor_on_behalf_of": "grace", "service_version": "1.2.3",
            "changes": {"amount": {"after": 5}, "note": {"after": null}},
        })),
        with(json!({
            "action": "entry.update", "method": null, "route": null, "path": null, "status": null, "actor_kind": "system",
            "client_address": null, "user_agent": null, "changes": {"amount": {"before": 5, "after": 6}},
        })),
        with(json!({
            "action": "entry.delete", "method": "DELETE", "actor_kind": "service", "client_address": "gateway.internal",
            "changes": {"amount": {"before": 5}}, "details": {}, "cut": [], "reason": null,
        })),
        with(json!({
            "action": "ledger.close", "outcome": "denied", "status": 403, "error_type": "403", "changes": {},
            "actor_kind": "anonymous", "resource_id": null, "reason": "  ", "details": {"bell": "a\u{7}b", "list": [null]},
        })),
        with(json!({
            "action": "session.end", "outcome": "timed_out", "method": null, "resource_type": null, "resource_id": null,
            "client_address": null, "status": null, "changes": {}, "recorded_at": null,
        })),
    ]
}

fn origin() -> Origin {
    Origin::new("ledger", "ledger_audit", "grace")
}

fn encoded(format: Format, records: &[AuditRecord]) -> Vec<u8> {
    let mut encoder = Encoder::new(format, Vec::new()).unwrap();
    for record in records {
        encoder.write(record).unwrap();
    }
    encoder.finish().unwrap()
}

fn parse_csv(text: &[u8]) -> Vec<AuditRecord> {
    let mut reader = csv::Reader::from_reader(text);
    reader
        .records()
        .map(|row| from_row(row.unwrap().iter()).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn any_record_round_trips_through_json_and_csv(reason in proptest::option::of(any::<String>()), actor in any::<String>(), number in any::<i64>()) {
        let records = [record(reason.as_deref(), &actor, number.into()), record(None, "ada", Value::Null)];
        let lines = encoded(Format::JsonLines, &records);
        let back: Vec<AuditRecord> = String::from_utf8(lines).unwrap().lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        prop_assert_eq!(&back[..], &records[..]);
        let array: Vec<AuditRecord> = serde_json::from_slice(&encoded(Format::Json, &records)).unwrap();
        prop_assert_eq!(&array[..], &records[..]);
        prop_assert_eq!(&parse_csv(&encoded(Format::Csv, &records))[..], &records[..]);
    }
}

/// Characters that start a formula in a spreadsheet.
const COMMANDS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

#[test]
fn csv_is_escaped_against_formula_injection() {
    for text in [
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(1)",
        "\tx",
        "\rx",
        "\n=1",
        "'=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        "",
        "🦀",
        "\u{202e}=1",
        "x=1",
        "a;=cmd|' /C calc'!A0",
        "a;'=1",
        ";'",
        ";;+1\t-1\r\n@1\n＝1;",
        "\t=1",
        "a\t'x;'",
        "X;\"=1+1;Y",
        "\t\"=1\t",
        "a\n\"@x\";\"'\"",
    ] {
        let records = [record(Some(text), text, text.into())];
        let file = encoded(Format::Csv, &records);
        let mut reader = csv::Reader::from_reader(&file[..]);
        for cell in reader.records().next().unwrap().unwrap().iter() {
            let first = cell.chars().next();
            assert!(
                !first.is_some_and(|it| "\t\r\n".contains(it)),
                "{cell:?} of {text:?}"
            );
            // A spreadsheet may split cells at these characters.
            for part in cell.split([';', '\t', '\r', '\n']) {
                assert!(!part.starts_with(COMMANDS), "{cell:?} of {text:?}");
            }
        }
        // As a spreadsheet with another delimiter reads it.
        for delimiter in [b';', b'\t'] {
            let mut options = csv::ReaderBuilder::new();
            let options = options.delimiter(delimiter).flexible(true);
            for row in options.from_reader(&file[..]).records() {
                for cell in &row.unwrap() {
                    assert!(!cell.starts_with(COMMANDS), "{cell:?} of {text:?}");
                }
            }
        }
        assert_eq!(parse_csv(&file), records, "{text:?}");
    }
}

/// Counts writes and bytes.
#[derive(Default)]
struct CountingWriter {
    writes: usize,
    bytes: usize,
}

impl std::io::Write for CountingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writes += 1;
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A writer that rescans the rest of a cell for each piece takes quadratic time.
#[test]
fn the_number_of_writes_does_not_depend_on_the_length_of_a_cell() {
    let written = |length: usize| {
        let mut encoder = Encoder::new(Format::Csv, CountingWriter::default()).unwrap();
        let record = record(Some(&"x".repeat(length)), "ada", "y".repeat(length).into());
        encoder.write(&record).unwrap();
        encoder.finish().unwrap()
    };
    let (one, ten) = (written(100_000), written(1_000_000));
    assert_eq!(one.writes, ten.writes);
    assert_eq!(ten.bytes - one.bytes, 2 * 900_000);
}

#[test]
fn an_export_without_records_is_a_valid_file() {
    assert_eq!(encoded(Format::Json, &[]), b"[]\n");
    assert_eq!(encoded(Format::JsonLines, &[]), b"");
    assert_eq!(parse_csv(&encoded(Format::Csv, &[])), []);
}

#[test]
fn an_exported_file_appears_complete_with_its_manifest_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("october.csv");
    let records = [record(None, "ada", 5.into()), record(None, "bob", 6.into())];
    let query = AuditQuery::new().actor("ada");
    let create = || ExportFile::create(&path, Format::Csv, &query, origin());
    let mut interrupted = create().unwrap();
    interrupted.write(&records[0]).unwrap();
    drop(interrupted);
    assert!(!path.exists(), "an interrupted export has no final name");
    assert!(matches!(verify(&path), Err(ExportError::File { .. })));

    let mut file = create().unwrap();
    for record in &records {
        file.write(record).unwrap();
    }
    let manifest = file.finish().unwrap();
    assert_eq!(manifest.records, 2);
    assert_eq!(manifest.first.as_ref().unwrap().id, records[0].id);
    assert_eq!(manifest.query, query);
    assert_eq!(manifest.origin, origin());
    assert_eq!(verify(&path).unwrap(), manifest);
    assert_eq!(parse_csv(&std::fs::read(&path).unwrap()), records);
    assert!(matches!(create().unwrap_err(), ExportError::Exists(_)));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "only the owner can read it");
    }

    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let damaged = verify(&path).unwrap_err().to_string();
    assert!(damaged.contains("SHA-256"), "{damaged}");
    bytes.pop();
    std::fs::write(&path, &bytes).unwrap();
    assert!(verify(&path).unwrap_err().to_string().contains("bytes"));
}

#[test]
fn verify_compares_the_record_count_and_the_first_and_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut records = vec![record(None, "ada", 5.into()); 3];
    for (record, n) in records.iter_mut().zip(1..) {
        record.id = uuid::Uuid::from_u128(n);
    }
    for format in Format::ALL {
        let path = folder.path().join(format.to_string());
        let mut file = ExportFile::create(&path, format, &AuditQuery::new(), origin()).unwrap();
        for record in &records {
            file.write(record).unwrap();
        }
        let manifest = file.finish().unwrap();
        assert_eq!(verify(&path).unwrap(), manifest, "{format}");
        let manifest_path = folder.path().join(format!("{format}.manifest.json"));
        for (member, value, expected) in [
            ("records", json!(2), "3 records instead of 2"),
            ("records", json!(4), "3 records instead of 4"),
            ("first", record_reference(9), "the first record is"),
            ("last", record_reference(2), "the last record is"),
            ("last", Value::Null, "instead of none"),
        ] {
            let mut forged = serde_json::to_value(&manifest).unwrap();
            forged[member] = value;
            std::fs::write(&manifest_path, forged.to_string()).unwrap();
            let damaged = verify(&path).unwrap_err();
            assert!(matches!(damaged, ExportError::Damaged { .. }), "{damaged}");
            assert!(
                damaged.to_string().contains(expected),
                "{format}: {damaged}"
            );
        }
    }
    // Zero records are verified, too.
    for format in Format::ALL {
        let path = folder.path().join(format!("no-{format}"));
        let file = ExportFile::create(&path, format, &AuditQuery::new(), origin()).unwrap();
        let manifest = file.finish().unwrap();
        assert_eq!(verify(&path).unwrap(), manifest, "{format}");
    }
}

fn record_reference(id: u128) -> Value {
    json!({"id": uuid::Uuid::from_u128(id), "recorded_at": null})
}

#[test]
fn the_error_of_an_unknown_format_names_it_and_lists_the_formats() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    let refused = "xls".parse::<Format>().unwrap_err().to_string();
    assert!(
        refused.contains("xls") && refused.contains("csv"),
        "{refused}"
    );
}

#[test]
fn concurrent_exports_to_the_same_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let create = || ExportFile::create(&path, Format::JsonLines, &AuditQuery::new(), origin());
    let mut first = create().unwrap();
    for n in 0..5_000 {
        first.write(&record(None, "ada", n.into())).unwrap();
    }
    let busy = |error: ExportError| {
        assert!(matches!(error, ExportError::Busy(_)), "{error}");
    };
    busy(create().unwrap_err());
    busy(ExportFile::resume(&path, &origin()).unwrap_err());
    first.finish().unwrap();
    assert_eq!(verify(&path).unwrap().records, 5_000);
    // An export that was started earlier does not replace a file that exists by now.
    std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    std::fs::remove_file(path.with_added_extension("manifest.json")).unwrap();
    let second = create().unwrap();
    std::fs::write(&path, "of somebody else").unwrap();
    let error = second.finish().unwrap_err();
    assert!(matches!(error, ExportError::Exists(_)), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"of somebody else");
    // An interrupted export can be started again.
    std::fs::remove_file(&path).unwrap();
    create().unwrap().finish().unwrap();
    assert_eq!(verify(&path).unwrap().records, 0);
}

#[cfg(unix)]
#[test]
fn a_planted_symlink_or_world_readable_file_gets_no_records() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "kept").unwrap();
    for suffix in ["partial", "progress.json.draft", "manifest.json"] {
        let name = path.with_added_extension(suffix);
        match suffix {
            // An existing manifest is refused earlier.
            "manifest.json" => continue,
            "partial" => symlink(&elsewhere, name).unwrap(),
            _ => {
                std::fs::write(&name, "").unwrap();
                let all = std::fs::Permissions::from_mode(0o666);
                std::fs::set_permissions(&name, all).unwrap();
            }
        }
    }
    let mut file =
        ExportFile::create(&path, Format::JsonLines, &AuditQuery::new(), origin()).unwrap();
    for n in 0..5_000 {
        file.write(&record(None, "ada", n.into())).unwrap();
    }
    let progress = path.with_added_extension("progress.json");
    let mode = |path: &std::path::Path| {
        let kept = std::fs::symlink_metadata(path).unwrap();
        assert!(kept.is_file());
        kept.permissions().mode() & 0o777
    };
    assert_eq!(mode(&progress), 0o600);
    file.finish().unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"kept");
}
