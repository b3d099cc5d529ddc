//! Writes the figures of `figures.json`, the output of `all --json`, into the documents. A test
//! checks that the documents agree with that file.

use std::path::{Path, PathBuf};

use platform_audit::export::Format;
use serde_json::{Map, Value};

use crate::audit::CLIENTS;
use crate::audit::schemes::{HANDWRITTEN, SCHEMES};
use crate::http::{NAMES, OURS};
use crate::plot::Plot;
use crate::{checkout, commit, compile, instructions, query, queue};

const FIGURES: &str = include_str!("../figures.json");
/// The maximum width of Markdown in columns, which `.ci/width.py` enforces.
const WIDTH: usize = 100;
const DOCUMENTS: [&str; 2] = ["README.md", "COMPARE.md"];

/// Writes the figures into the documents, each between its markers, and the plots.
pub(crate) fn write() {
    for (name, svg) in Figures::read().plots() {
        let path = plot_file(name);
        std::fs::write(&path, svg).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    for document in DOCUMENTS {
        let path = checkout::path(document);
        let text = read(&path);
        std::fs::write(&path, with_figures(&text))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn plot_file(name: &str) -> PathBuf {
    checkout::path("tests/bench/plots")
        .join(name)
        .with_extension("svg")
}

/// Replaces the blocks between the markers in `text`.
fn with_figures(text: &str) -> String {
    let figures = Figures::read();
    let mut text = text.to_owned();
    for (name, block) in [
        ("summary", figures.summary()),
        ("run", figures.run()),
        ("http", figures.http()),
        ("socket", figures.socket()),
        ("dead", figures.dead()),
        ("audit", figures.audit()),
        ("work", figures.work()),
        ("instructions", figures.instructions()),
        ("query", figures.query()),
        ("scan", figures.scan()),
        ("export", figures.export()),
        ("compile", figures.compile()),
    ] {
        let (begin, end) = (
            format!("<!-- figures: {name} -->\n"),
            format!("<!-- end of {name} -->"),
        );
        let Some((before, rest)) = text.split_once(&begin) else {
            continue;
        };
        let (_, after) = rest
            .split_once(&end)
            .unwrap_or_else(|| panic!("add `{end}` after `{}`", begin.trim_end()));
        text = format!("{before}{begin}{}{end}{after}", wrapped(&block));
    }
    text
}

/// Wraps paragraphs and list items of Markdown, but not tables.
fn wrapped(block: &str) -> String {
    let mut text = String::new();
    for line in block.lines() {
        let mut width = 0;
        let indent = if line.starts_with("- ") { "  " } else { "" };
        for word in line.split(' ') {
            let columns = word.chars().count();
            if width > 0 && width + 1 + columns > WIDTH && !line.starts_with('|') {
                text += "\n";
                text += indent;
                width = indent.len();
            } else if width > 0 {
                text.push(' ');
                width += 1;
            }
            text += word;
            width += columns;
        }
        text.push('\n');
    }
    text
}

struct Figures(Map<String, Value>);

impl Figures {
    fn read() -> Self {
        Self(serde_json::from_str(FIGURES).expect("figures.json is one object"))
    }

    fn number(&self, key: &str) -> f64 {
        self.0
            .get(key)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("figures.json has no {key}"))
    }

    fn text(&self, key: &str) -> &str {
        self.0
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("figures.json has no {key}"))
    }

    fn run(&self) -> String {
        format!(
            "Measured on {} with version {}, {} cores ({}); `cargo run --release -p platform-bench -- all` repeats the measurement.\n",
            self.text("run.date"),
            self.text("run.version"),
            self.number("run.cores"),
            self.text("run.cpu")
        )
    }

    fn summary(&self) -> String {
        format!(
            "- Telemetry adds {:.2} of the time and {:.2} of the allocations that the best of three other layers adds to a request; {:.2} and {:.2} if the caller did not sample it.\n\
            - An audited request of one row has {:.2} of the throughput of one whose record is written by hand; without the check at COMMIT, {:.2}; with Postgres 1 ms away, {:.2}.\n\
            - In a log of {} million records, a page at a depth of up to 10,000 records takes at most {:.1} ms (p95), with any filter that has an index.\n\
            - An export of {} million records to CSV writes {:.0} records a second and needs {:.0} MiB of memory, which does not grow with the number of records.\n",
            self.number("http.added_time_vs_best_peer"),
            self.number("http.added_allocations_vs_best_peer"),
            self.number("http.sampled_out_vs_best_peer"),
            self.number("http.sampled_out_allocations_vs_best_peer"),
            self.number("audit.guarded_vs_handwritten.throughput"),
            self.number("audit.unguarded_vs_handwritten.throughput"),
            self.number("audit.guarded_vs_handwritten_1ms.throughput"),
            self.number("query.records") / 1e6,
            self.number("query.p95_ms"),
            self.number("export.records") / 1e6,
            self.number("export.csv.records_per_s"),
            self.number("export.csv.peak_mib"),
        )
    }

    fn http(&self) -> String {
        let mut table = format!(
            "| added to bare axum's {:.0} ns | sampled, ns | allocations | sampled out, ns | allocations |\n|---|---|---|---|---|\n",
            self.number("http.bare_ns")
        );
        for (at, name) in NAMES.iter().enumerate().skip(1) {
            let (sampled, out) = if at == OURS {
                ("http".to_owned(), "http.sampled_out".to_owned())
            } else {
                (
                    format!("http.peer.{name}"),
                    format!("http.sampled_out.peer.{name}"),
                )
            };
            let bold = if at == OURS { "**" } else { "" };
            table += &format!(
                "| {bold}{name}{bold} | {bold}{:.0}{bold} | {bold}{:.0}{bold} | {bold}{:.0}{bold} | {bold}{:.0}{bold} |\n",
                self.number(&format!("{sampled}.added_ns")),
                self.number(&format!("{sampled}.added_allocations")),
                self.number(&format!("{out}.added_ns")),
                self.number(&format!("{out}.added_allocations")),
            );
        }
        table
    }

    fn socket(&self) -> String {
        let mut table = "| one request over a socket, including its client | CPU time, µs | added, µs |\n|---|---|---|\n".to_owned();
        for (at, name) in NAMES.iter().enumerate() {
            let bold = if at == OURS { "**" } else { "" };
            let key = format!("http.socket.{name}");
            table += &format!(
                "| {bold}{name}{bold} | {bold}{:.1}{bold} | {bold}{:.1}{bold} |\n",
                self.number(&format!("{key}.cpu_us")),
                self.number(&format!("{key}.added_cpu_us")),
            );
        }
        table
    }

    /// The effect of an endpoint that accepts connections and never responds.
    fn dead(&self) -> String {
        let memory = |which: &str| self.number(&format!("dead.{which}_mebibytes"));
        format!(
            "The p99 latency is {:.2} of that with telemetry off, and {:.2} with a spool. Resident memory is {:.0} MiB, {:.0} MiB with a spool, and {:.0} MiB with telemetry off.\n",
            self.number("dead.p99_vs_off"),
            self.number("dead.spooling_p99_vs_off"),
            memory("dead"),
            memory("spooling"),
            memory("off"),
        )
    }

    /// CPU time of audited requests.
    fn work(&self) -> String {
        let clients = CLIENTS[1];
        let mut table = format!(
            "| CPU time of a request, µs; local Postgres, {clients} clients | service and its client | Postgres | sum, relative to (b) |\n|---|---|---|---|\n"
        );
        let of = |scheme: &str| {
            ["service", "postgres"].map(|whose| {
                self.number(&format!(
                    "audit.near.one_row.{clients}.{scheme}.{whose}_cpu_us"
                ))
            })
        };
        let by_hand: f64 = of(SCHEMES[HANDWRITTEN].key).iter().sum();
        for scheme in &SCHEMES {
            let [service, postgres] = of(scheme.key);
            table += &format!(
                "| {} | {service:.0} | {postgres:.0} | {:.2} |\n",
                scheme.name,
                (service + postgres) / by_hand
            );
        }
        table
    }

    /// Instructions of Postgres for audited requests, and COMMIT by the number of records.
    fn instructions(&self) -> String {
        if !self.0.contains_key("instructions.guarded") {
            return "The run did not count instructions, as valgrind was not installed.\n"
                .to_owned();
        }
        let mut table =
            "| Postgres' instructions for one request of one row | thousands | relative to (b) |\n|---|---|---|\n"
                .to_owned();
        let by_hand = self.number("instructions.handwritten");
        for at in instructions::COUNTED {
            let scheme = &SCHEMES[at];
            let count = self.number(&format!("instructions.{}", scheme.key));
            table += &format!(
                "| {} | {:.0} | {:.2} |\n",
                scheme.name,
                count / 1e3,
                count / by_hand
            );
        }
        let commits = commit::SIZES.map(|(records, _)| {
            let each = self.number(&format!("commit.ms_per_record.{records}"));
            format!(
                "{:.1} µs with {} records",
                each * 1e3,
                short(records.into())
            )
        });
        table += &format!(
            "\nOn a guarded table, COMMIT takes for each record {}.\n\
            A statement that changes 300,000 rows takes {:.2} of its time without `guard()`, including COMMIT.\n",
            commits.join(", "),
            self.number("bulk.guarded_vs_unguarded")
        );
        table
    }

    fn compile(&self) -> String {
        let mut table = "| a debug build from scratch | seconds | CPU seconds | rebuild after a change, s | crates | source, bytes | with macros expanded, bytes |\n|---|---|---|---|---|---|---|\n".to_owned();
        for (key, package) in compile::SERVICES {
            let figure = |what: &str| self.number(&format!("compile.{key}.{what}"));
            table += &format!(
                "| `{package}` | {:.0} | {:.0} | {:.1} | {} | {} | {} |\n",
                figure("seconds"),
                figure("cpu_seconds"),
                figure("again_seconds"),
                figure("crates"),
                figure("source_bytes"),
                figure("expanded_bytes"),
            );
        }
        table
    }

    fn audit(&self) -> String {
        let mut table = "| one row a request; throughput and p99, relative to (b) |".to_owned();
        for place in ["local Postgres", "1 ms away"] {
            for clients in CLIENTS {
                table += &format!(
                    " {place}, {clients} client{} |",
                    if clients == 1 { "" } else { "s" }
                );
            }
        }
        table += " round trips | WAL, bytes |\n|---|";
        table += &"---|".repeat(2 * CLIENTS.len() + 2);
        table += "\n";
        for scheme in &SCHEMES {
            table += &format!("| {} |", scheme.name);
            for place in ["near", "far"] {
                for clients in CLIENTS {
                    let key = format!("audit.{place}.one_row.{clients}.{}", scheme.key);
                    table += &format!(
                        " {:.2}, {:.2} |",
                        self.number(&format!("{key}.throughput_vs_handwritten")),
                        self.number(&format!("{key}.p99_vs_handwritten")),
                    );
                }
            }
            table += &format!(
                " {:.0} | {:.0} |\n",
                self.number(&format!("audit.{}.one_row.round_trips", scheme.key)),
                self.number(&format!("audit.{}.one_row.wal_bytes", scheme.key)),
            );
        }
        let ten_rows = |place: &str| {
            let throughput = SCHEMES.iter().map(|scheme| {
                let key = format!("audit.{place}.ten_rows.16.{}", scheme.key);
                let throughput = self.number(&format!("{key}.throughput_vs_handwritten"));
                let (letter, _) = scheme.name.split_once(' ').unwrap_or((scheme.name, ""));
                format!("{letter} {throughput:.2}")
            });
            throughput.collect::<Vec<_>>().join(", ")
        };
        table += &format!(
            "\nThroughput relative to (b) with ten rows a request, a record for each row, and 16 clients: local Postgres {}; 1 ms away {}.\n\
            The proxy that delays messages adds {:.0} µs of its own to a round trip, and {:.0} µs of CPU time.\n",
            ten_rows("near"),
            ten_rows("far"),
            self.number("audit.proxy.overhead_us"),
            self.number("audit.proxy.cpu_us")
        );
        table
    }

    fn query(&self) -> String {
        let mut table = format!(
            "| a page of 100 of {} million records | first page, p95 ms | deep page, p95 ms | rows read |\n|---|---|---|---|\n",
            self.number("query.records") / 1e6
        );
        for name in [
            "newest",
            "period",
            "actor",
            "resource",
            "action",
            "denied",
            "trace id",
            "request id",
            "record id",
        ] {
            let deep = self
                .0
                .get(&format!("query.{name}.deep.p95_ms"))
                .and_then(Value::as_f64);
            table += &format!(
                "| {name} | {:.1} | {} | {:.0} |\n",
                self.number(&format!("query.{name}.first.p95_ms")),
                deep.map_or("–".to_owned(), |ms| format!("{ms:.1}")),
                self.number(&format!("query.{name}.first.rows")),
            );
        }
        table
    }

    /// Queries that no index supports.
    fn scan(&self) -> String {
        let [month, year] =
            query::SCANS.map(|(name, _)| self.number(&format!("query.scan.{name}.p50_ms")) / 1e3);
        format!(
            "A query without an index reads all records of its period. A search for a text that no reason contains takes {month:.1} s for the last 30 days of a log of {} million records, and {year:.1} s for the whole log.\n",
            self.number("query.records") / 1e6
        )
    }

    fn plots(&self) -> [(&'static str, String); 3] {
        [
            ("clients", self.by_clients().svg()),
            ("log", self.by_size().svg()),
            ("queue", self.by_length().svg()),
        ]
    }

    fn by_clients(&self) -> Plot {
        let line = |scheme: &crate::audit::schemes::Scheme| {
            let throughput = CLIENTS.map(|clients| {
                self.number(&format!(
                    "audit.near.one_row.{clients}.{}.throughput",
                    scheme.key
                ))
            });
            (scheme.name.to_owned(), throughput.to_vec())
        };
        Plot {
            title: "Throughput by clients, one row a request, Postgres on the same machine"
                .to_owned(),
            x: (
                "clients",
                CLIENTS.map(|clients| clients.to_string()).to_vec(),
            ),
            y: "requests a second",
            lines: SCHEMES.iter().map(line).collect(),
        }
    }

    fn by_size(&self) -> Plot {
        let line = |(name, shown): (&str, &str)| {
            let p50 =
                query::SIZES.map(|size| self.number(&format!("query.size.{size}.{name}.p50_ms")));
            (shown.to_owned(), p50.to_vec())
        };
        let mut lines = vec![line(("write", "a transaction with one record"))];
        for name in query::GROWING {
            lines.push(line((name, &format!("a page, {name}"))));
        }
        Plot {
            title: "Latency by the size of the log (p50); pages of 100, up to 10,000 records deep"
                .to_owned(),
            x: ("records", query::SIZES.map(short).to_vec()),
            y: "milliseconds",
            lines,
        }
    }

    fn by_length(&self) -> Plot {
        let memory = queue::LENGTHS.map(|length| self.number(&format!("queue.{length}.mebibytes")));
        Plot {
            title: "Resident memory by the length of the full queue of spans".to_owned(),
            x: (
                "spans",
                queue::LENGTHS.map(|length| length.to_string()).to_vec(),
            ),
            y: "MiB",
            lines: vec![("memory".to_owned(), memory.to_vec())],
        }
    }

    fn export(&self) -> String {
        let records = self.number("export.records");
        let mut table = format!(
            "| an export of {} million records | records a second | bytes a record | peak MiB | peak MiB for a tenth of the records |\n|---|---|---|---|---|\n",
            records / 1e6
        );
        for format in Format::ALL {
            let figure = |what: &str| self.number(&format!("export.{format}.{what}"));
            table += &format!(
                "| {format} | {:.0} | {:.0} | {:.0} | {:.0} |\n",
                figure("records_per_s"),
                figure("bytes_per_record"),
                figure("peak_mib"),
                figure("peak_mib_of_a_tenth"),
            );
        }
        table
    }
}

/// Abbreviates a number, as in `10k` or `1M`.
fn short(number: i64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::{DOCUMENTS, Figures, plot_file, read, with_figures};
    use crate::checkout;

    #[test]
    fn the_plots_agree_with_the_figures() {
        for (name, svg) in Figures::read().plots() {
            assert!(
                read(&plot_file(name)) == svg,
                "tests/bench/plots/{name}.svg disagrees with tests/bench/figures.json: cargo run --release -p platform-bench -- docs"
            );
            let compare = read(&checkout::path("COMPARE.md"));
            assert!(
                compare.contains(&format!("(tests/bench/plots/{name}.svg)")),
                "COMPARE.md shows the plot {name}"
            );
        }
    }

    #[test]
    fn the_documents_agree_with_the_figures() {
        let mut blocks = 0;
        for document in DOCUMENTS {
            let text = read(&checkout::path(document));
            blocks += text.matches("<!-- figures: ").count();
            assert!(
                with_figures(&text) == text,
                "{document} disagrees with tests/bench/figures.json: cargo run --release -p platform-bench -- docs"
            );
        }
        assert_eq!(blocks, 12, "each block is in a document");
    }

    #[test]
    fn a_figure_that_was_changed_by_hand_is_noticed() {
        let text = "<!-- figures: query -->\n| 1.0 |\n<!-- end of query -->";
        assert_ne!(with_figures(text), text);
    }
}
