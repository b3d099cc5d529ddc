//! Reads exports with third-party libraries, through `readers/read.py`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Returns the content of an export of this format, as `read.py` prints it.
///
/// # Panics
///
/// If the libraries cannot read the file, or `PLATFORM_TEST_PYTHON` is not set. `./test` sets it.
pub fn read(format: &str, file: &Path) -> Value {
    let python = std::env::var_os("PLATFORM_TEST_PYTHON").expect(
        "PLATFORM_TEST_PYTHON is not set: run the tests with ./test, or set it to a Python with the packages of \
         tests/harness/readers/requirements.txt",
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
