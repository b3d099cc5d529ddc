//! The paths and tests that SECURITY.md names exist.
#![allow(clippy::panic, reason = "a failure here fails the test")]

use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SECURITY: &str = include_str!("../../SECURITY.md");

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
