//! Measures throughput and memory of exports: a tenth of a log and the whole log, in each format.
//! Each export runs in its own process, so that its peak memory is its own.

use std::path::Path;
use std::time::Instant;

use platform_audit::Actor;
use platform_audit::export::{ExportError, ExportFile, Format};
use platform_audit::query::{AuditQuery, AuditReader, Direction, SortBy};
use platform_harness::database::TestDatabase;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgPoolOptions;

use crate::{log, server, subprocess};

/// The first argument of the process that makes one export.
pub(crate) const ONE: &str = "export-one";
/// The periods of the exports in days: a tenth of the log, and all of it.
const DAYS: [i64; 2] = [39, 400];
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn run(records: Option<i64>) -> Map<String, Value> {
    runtime().block_on(measure(records.unwrap_or(1_000_000)))
}

/// The same runtime as that of `platform-audit export`.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn measure(records: i64) -> Map<String, Value> {
    say!("{}", server::describe().await);
    let database = TestDatabase::postgres().await;
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect(database.url())
        .await
        .expect("the server accepts connections");
    log::write(&pool, records).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut figures = Map::new();
    figures.insert("export.records".to_owned(), records.into());
    say!(
        "{:<10} {:>9} {:>10} {:>12} {:>9} {:>9}",
        "format",
        "records",
        "records/s",
        "bytes/record",
        "MiB",
        "peak MiB"
    );
    for format in Format::ALL {
        for days in DAYS {
            let made = run_one(database.url(), format, days, folder.path());
            let number = |key: &str| made[key].as_f64().expect("a number");
            let (count, bytes) = (number("records"), number("bytes"));
            let (rate, peak) = (count / number("seconds"), number("peak_bytes") / MIB);
            say!(
                "{:<10} {count:>9} {rate:>10.0} {:>12.0} {:>9.1} {peak:>9.1}",
                format.to_string(),
                bytes / count,
                bytes / MIB
            );
            let mut put = |what: &str, value: f64| {
                let key = format!("export.{format}.{what}");
                figures.insert(key, ((value * 10.0).round() / 10.0).into());
            };
            if days == DAYS[0] {
                put("peak_mib_of_a_tenth", peak);
            } else {
                put("peak_mib", peak);
                put("records_per_s", rate.round());
                put("bytes_per_record", bytes / count);
            }
        }
    }
    figures
}

fn run_one(url: &str, format: Format, days: i64, folder: &Path) -> Value {
    let file = folder.join(format!("{days}.{}", format.extension()));
    let mut command = subprocess::command([ONE, url, &format.to_string(), &days.to_string()]);
    let (_, made) = subprocess::run(command.arg(&file));
    std::fs::remove_file(&file).expect("the file was made");
    made
}

/// Makes one export (`URL FORMAT DAYS FILE`) of the last `DAYS` days, and prints size, duration and
/// peak memory as JSON.
pub(crate) fn one(arguments: &[String]) {
    let [url, format, days, file] = arguments else {
        panic!("{ONE} URL FORMAT DAYS FILE");
    };
    let format: Format = format.parse().expect("a format");
    let days: i64 = days.parse().expect("a number of days");
    let began = Instant::now();
    let manifest = runtime().block_on(async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect(url)
            .await
            .expect("the server accepts connections");
        let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        let query = AuditQuery::new()
            .since(since)
            .sort(SortBy::RecordedAt, Direction::Ascending);
        let reading = AuditReader::new(pool, "ledger")
            .expect("a reader")
            .read_as(Actor::system("bench"));
        let mut file = ExportFile::create(Path::new(file), format, &query, reading.origin())
            .expect("a new file");
        reading
            .for_each::<ExportError>(&query, |record| file.write(&record))
            .await
            .expect("the export succeeds");
        file.finish().expect("the file is complete")
    });
    let seconds = began.elapsed().as_secs_f64();
    say!(
        "{}",
        json!({ "records": manifest.records, "bytes": manifest.bytes, "seconds": seconds, "peak_bytes": peak() })
    );
}

/// The peak memory of this process, in bytes.
fn peak() -> u64 {
    let status =
        std::fs::read_to_string("/proc/self/status").expect("/proc has the memory, on Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("/proc has the memory, on Linux");
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().expect("a number") * 1024
}
