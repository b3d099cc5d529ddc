//! Where the sources are that this program belongs to.

use std::path::PathBuf;

/// A file or folder of the workspace, as seen from its root.
pub(crate) fn path(inside: &str) -> PathBuf {
    // Of the checkout that cargo runs this in: with a folder of artifacts for several checkouts,
    // this program may have been built in another one.
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(package).join("../..").join(inside)
}
