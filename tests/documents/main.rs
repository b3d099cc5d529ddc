//! What the documents name exists.
#![allow(clippy::panic, reason = "what goes wrong here fails the test")]

use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SECURITY: &str = include_str!("../../SECURITY.md");

/// The cells of the column `name`, of all tables that have it; `|` inside a cell is not understood.
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

/// `path` or `path::test`.
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
fn every_promise_of_the_security_document_names_tests_that_exist() {
    let cells = column(SECURITY, "Proved by");
    assert!(cells.len() >= 20, "{cells:?}");
    for cell in cells {
        let named: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "a promise that nothing proves: {cell}");
        for named in named {
            exists(named).unwrap_or_else(|missing| panic!("{missing}"));
        }
    }
}

#[test]
fn a_path_or_test_that_does_not_exist_is_noticed() {
    exists("tests/documents/main.rs::exists").unwrap();
    exists("tests/documents/mian.rs").unwrap_err();
    exists("tests/documents/main.rs::missing").unwrap_err();
    let table = "| a | Proved by |\n|---|---|\n| b | `c` |\n\n| a |\n|---|\n| b |\n";
    assert_eq!(column(table, "Proved by"), ["`c`"]);
}
