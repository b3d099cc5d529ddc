//! The machine that the figures were measured on.

use serde_json::{Map, Value};

pub(crate) fn describe() -> Map<String, Value> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
        .unwrap_or("unknown");
    let date = jiff::Zoned::now().date().to_string();
    say!("{date}: {cores} cores, {model}, {}", std::env::consts::OS);
    let mut figures = Map::new();
    for (key, value) in [
        ("run.date", Value::from(date)),
        ("run.cores", cores.into()),
        ("run.cpu", model.into()),
        ("run.version", env!("CARGO_PKG_VERSION").into()),
    ] {
        figures.insert(key.to_owned(), value);
    }
    figures
}

/// The resident memory of this process in bytes; 0 on systems without /proc.
pub(crate) fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes.unwrap_or_default() * 1024.0
}
