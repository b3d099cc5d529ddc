//! Libraries of others that read what we export: `readers/`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What `read.py` found in an export of this format.
///
/// # Panics
///
/// When it cannot be read. `./test` prepares the Python that `PLATFORM_TEST_PYTHON` names.
pub fn read(format: &str, file: &Path) -> Value {
    let python = std::env::var_os("PLATFORM_TEST_PYTHON").expect(
        "PLATFORM_TEST_PYTHON is not set: call ./test, which prepares one, or name a Python that has what \
         tests/harness/readers/requirements.txt lists",
    );
    let read = Command::new(python)
        .args(["-c", include_str!("../readers/read.py"), format])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{format}: {}",
        String::from_utf8_lossy(&read.stderr)
    );
    serde_json::from_slice(&read.stdout).unwrap()
}
