//! The paths and tests that SECURITY.md names exist, and the code of README.md is that of the
//! quickstart.
#![allow(clippy::panic, reason = "a failure here fails the test")]

use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SECURITY: &str = include_str!("../../SECURITY.md");
const README: &str = include_str!("../../README.md");

/// The cells of the column `name`, in all tables that have it. A cell cannot contain `|`.
fn column<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let mut cells = Vec::new();
    let mut at = None;
    for line in document.lines() {
        let row = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'));
        let Some(row) = row else {
            at = None;
            continue;
        };
        let row: Vec<_> = row.split('|').map(str::trim).collect();
        match at {
            None => at = Some(row.iter().position(|cell| *cell == name)),
            Some(Some(_)) if row.iter().all(|cell| *cell == "---") => {}
            Some(Some(at)) => cells.push(*row.get(at).unwrap_or_else(|| panic!("{line}"))),
            Some(None) => {}
        }
    }
    cells
}

/// Returns an error if `named`, a `path` or `path::test`, does not exist.
fn exists(named: &str) -> Result<(), String> {
    let (path, test) = match named.split_once("::") {
        Some((path, test)) => (path, Some(test)),
        None => (named, None),
    };
    let file = Path::new(ROOT).join(path);
    if !file.exists() {
        return Err(format!("{path} does not exist"));
    }
    let Some(test) = test else { return Ok(()) };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
    let is_there = text.contains(&format!("fn {test}(")) || text.contains(&format!("fn {test}<"));
    is_there
        .then_some(())
        .ok_or_else(|| format!("{path} has no test {test}"))
}

#[test]
fn every_promise_in_security_md_names_existing_tests() {
    let cells = column(SECURITY, "Proved by");
    assert!(cells.len() >= 20, "{cells:?}");
    for cell in cells {
        let named: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "a promise without a test: {cell}");
        for named in named {
            exists(named).unwrap_or_else(|missing| panic!("{missing}"));
        }
    }
}

#[test]
fn a_missing_path_or_test_is_an_error() {
    exists("tests/documents/main.rs::exists").unwrap();
    exists("tests/documents/mian.rs").unwrap_err();
    exists("tests/documents/main.rs::missing").unwrap_err();
    let table = "| a | Proved by |\n|---|---|\n| b | `c` |\n\n| a |\n|---|\n| b |\n";
    assert_eq!(column(table, "Proved by"), ["`c`"]);
}

/// An excerpt of a source file: the parts of a code block between lines with `// …`.
#[derive(Debug, PartialEq)]
struct Excerpt<'a> {
    path: &'a str,
    parts: Vec<&'a str>,
}

/// The code blocks after a line `<!-- from PATH -->`.
fn excerpts(document: &str) -> Vec<Excerpt<'_>> {
    let marked = document.split("<!-- from ").skip(1);
    marked
        .map(|text| {
            let block = text.split_once(" -->\n```rust\n");
            let (path, block) = block.unwrap_or_else(|| panic!("no code block: {text}"));
            let code = block.split("\n```").next().unwrap_or_default();
            let parts = code.split("// …\n").map(|part| part.trim_matches('\n'));
            Excerpt {
                path,
                parts: parts.collect(),
            }
        })
        .collect()
}

/// Returns the first line of an excerpt that is not in `source`, whose parts must follow each other
/// in the order of `parts`.
fn first_difference<'a>(parts: &[&'a str], source: &str) -> Option<&'a str> {
    let source: Vec<_> = source.lines().collect();
    let mut rest = source.as_slice();
    for part in parts {
        let lines: Vec<_> = part.lines().collect();
        let equal_lines =
            |from: &[&str]| from.iter().zip(&lines).take_while(|(a, b)| a == b).count();
        let starts: Vec<_> = (0..rest.len()).map(|at| equal_lines(&rest[at..])).collect();
        let longest = starts.iter().copied().max().unwrap_or_default();
        if longest < lines.len() {
            return Some(lines[longest]);
        }
        let found = starts.iter().position(|count| *count == longest);
        rest = &rest[found.unwrap_or_default() + longest..];
    }
    None
}

#[test]
fn the_code_of_the_readme_is_that_of_the_quickstart() {
    let excerpts = excerpts(README);
    assert!(!excerpts.is_empty());
    for Excerpt { path, parts } in excerpts {
        let source = std::fs::read_to_string(Path::new(ROOT).join(path));
        let source = source.unwrap_or_else(|error| panic!("{path}: {error}"));
        if let Some(line) = first_difference(&parts, &source) {
            panic!("README.md quotes a line that is not in {path}, or not in this place: {line}");
        }
    }
}

#[test]
fn a_line_that_differs_from_its_source_is_found() {
    let document =
        "<!-- from a.rs -->\n```rust\nfn a() {\n    b();\n}\n\n// …\n\nfn c() {}\n```\ntext\n";
    let [excerpt] = &excerpts(document)[..] else {
        panic!("one excerpt")
    };
    assert_eq!(excerpt.path, "a.rs");
    assert_eq!(excerpt.parts, ["fn a() {\n    b();\n}", "fn c() {}"]);
    let difference = |source| first_difference(&excerpt.parts, source);
    assert_eq!(
        difference("\nfn a() {\n    b();\n}\n\nfn x() {}\nfn c() {}\n"),
        None
    );
    assert_eq!(
        difference("fn a() {\n    c();\n}\nfn c() {}\n"),
        Some("    b();")
    );
    assert_eq!(
        difference("fn c() {}\nfn a() {\n    b();\n}\n"),
        Some("fn c() {}")
    );
}
