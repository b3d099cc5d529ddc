//! The checkout that this program was built from.

use std::path::PathBuf;

/// The path of a file or folder that is `relative` to the root of the workspace.
pub(crate) fn path(relative: &str) -> PathBuf {
    // `cargo run` sets this variable. It is preferred, as checkouts may share a target folder: the
    // program may have been built in another one.
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(package).join("../..").join(relative)
}
