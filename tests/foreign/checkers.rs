//! Runs `check.py`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// The Python with the packages of `requirements.txt`.
pub(crate) fn python() -> OsString {
    std::env::var_os("PLATFORM_TEST_LOG_PYTHON").expect(
        "PLATFORM_TEST_LOG_PYTHON is not set: run the tests with ./test, or set it to a Python with the packages of \
         tests/foreign/requirements.txt",
    )
}

/// What each program verified or refused.
#[derive(Debug)]
pub(crate) struct Report(BTreeMap<String, String>);

/// Checks the log at `location`, a directory or a URL, and proofs.
pub(crate) fn check(location: &str, verifier_key: &str, proofs: &[&Path]) -> Report {
    let ran = Command::new(python())
        .args(["-c", include_str!("check.py"), location, verifier_key])
        .args(proofs)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "check.py failed: {complaint}");
    let report = Report(serde_json::from_slice(&ran.stdout).unwrap());
    for (check, outcome) in &report.0 {
        println!("{check}: {outcome}");
    }
    report
}

impl Report {
    /// The checks that refused.
    pub(crate) fn refused(&self) -> Vec<&str> {
        let refused = self.0.iter().filter(|(_, it)| it.starts_with("refused: "));
        refused.map(|(check, _)| check.as_str()).collect()
    }

    /// Asserts that every check verified, and that each of them read `entries` entries.
    pub(crate) fn assert_verified(&self, entries: u64) {
        assert_eq!(self.refused(), Vec::<&str>::new(), "{self:#?}");
        for check in ["tlog-scales", "metamorphic-log", "pymerkle"] {
            let counted = self.0[check].starts_with(&format!("{entries} entries"));
            assert!(counted, "{self:#?}");
        }
    }
}
