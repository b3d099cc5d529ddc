//! Parses the options of `#[audit_exempt]`.

use crate::crate_path;
use crate::errors::Errors;
use crate::options::KnownOptions;
use proc_macro2::TokenStream;
use syn::{LitStr, Path};

const KNOWN: KnownOptions = KnownOptions {
    attribute: "`#[audit_exempt]`",
    options: &[
        ("reason", "reason = \"only checks the input\""),
        ("crate_path", "crate_path = ::platform_audit"),
    ],
};

/// The options, as far as they could be parsed.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) reason: Option<LitStr>,
    /// Whether a reason was given, even if it could not be parsed.
    pub(super) has_reason: bool,
    pub(super) crate_path: Path,
}

impl Options {
    pub(super) fn parse(attributes: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            reason: None,
            has_reason: false,
            crate_path: crate_path::default(),
        };
        let given = KNOWN.parse(attributes, errors, |name, key, input| {
            match name {
                "reason" => options.reason = Some(key.string(input)?),
                _ => options.crate_path = key.path(input)?,
            }
            Ok(())
        });
        options.has_reason = given.has("reason");
        options
    }
}
