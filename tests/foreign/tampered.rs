//! What is altered is refused by the programs that read it.

use std::path::Path;

use platform_audit::seal::new_key;
use sqlx::Sqlite;

use crate::checkers::check;
use crate::published::{ORIGIN, Published};

const EVERY_CHECK: [&str; 4] = ["aics-tlog", "metamorphic-log", "pymerkle", "tlog-scales"];
const EVERY_CHECK_OF_A_PROOF: [&str; 3] = [
    "proof by aics-tlog",
    "proof by metamorphic-log",
    "proof by tlog-scales",
];

/// Alters one byte of a file.
fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

async fn published() -> Published<Sqlite> {
    Published::sqlite().await
}

#[tokio::test]
async fn every_program_refuses_a_tile_with_another_hash() {
    let published = published().await;
    flip(&published.directory().join("tile/0/001"), 32 * 70);
    assert_eq!(published.check(&[]).refused(), EVERY_CHECK);
}

#[tokio::test]
async fn every_program_refuses_another_entry() {
    let published = published().await;
    // The last byte of a digest: each entry has a length of two bytes, and 50 bytes.
    flip(&published.directory().join("tile/entries/002"), 52 * 10 - 1);
    assert_eq!(published.check(&[]).refused(), EVERY_CHECK);
}

#[tokio::test]
async fn every_program_refuses_a_checkpoint_of_another_size() {
    let published = published().await;
    let file = published.directory().join("checkpoint");
    let note = std::fs::read_to_string(&file).unwrap();
    assert!(note.contains("\n1001\n"));
    std::fs::write(&file, note.replace("\n1001\n", "\n1000\n")).unwrap();
    assert_eq!(published.check(&[]).refused(), EVERY_CHECK);
}

#[tokio::test]
async fn a_checkpoint_that_another_key_signed_is_refused() {
    let published = published().await;
    let other = new_key(ORIGIN).unwrap();
    let directory = published.directory();
    let report = check(
        directory.to_str().unwrap(),
        &other.verifier_key().to_string(),
        &[],
    );
    // pymerkle verifies trees, and no signatures.
    assert_eq!(
        report.refused(),
        ["aics-tlog", "metamorphic-log", "tlog-scales"]
    );
}

#[tokio::test]
async fn every_program_refuses_an_altered_proof() {
    let published = published().await;
    let proof = published.prove().await;
    let genuine = std::fs::read_to_string(&proof).unwrap();
    let lines: Vec<&str> = genuine.split('\n').collect();
    let index: u64 = lines[2].strip_prefix("index ").unwrap().parse().unwrap();
    // Another letter in the middle of a line: of the record's values, and of a hash.
    let altered = |line: usize| {
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let middle = lines[line].len() / 2;
        let other = match &lines[line][middle..=middle] {
            "A" => "B",
            _ => "A",
        };
        lines[line].replace_range(middle..=middle, other);
        lines.join("\n")
    };
    let forgeries = [
        altered(1),
        altered(3),
        genuine.replace(
            &format!("\nindex {index}\n"),
            &format!("\nindex {}\n", index + 1),
        ),
        genuine.replace("\n1001\n", "\n1002\n"),
    ];
    for forgery in forgeries {
        assert_ne!(forgery, genuine);
        std::fs::write(&proof, &forgery).unwrap();
        let report = published.check(&[&proof]);
        assert_eq!(report.refused(), EVERY_CHECK_OF_A_PROOF, "{forgery}");
    }
}
