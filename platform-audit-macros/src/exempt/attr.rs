use crate::crate_path;
use crate::errors::Errors;
use crate::options::Known;
use proc_macro2::TokenStream;
use syn::{LitStr, Path};

const KNOWN: Known = Known {
    attribute: "`#[audit_exempt]`",
    options: &[
        ("reason", "reason = \"only checks the input\""),
        ("crate_path", "crate_path = ::platform_audit"),
    ],
};

/// What was written between the parentheses, as far as it could be read.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) reason: Option<LitStr>,
    /// Whether a reason was meant to be given, readable or not.
    pub(super) reason_given: bool,
    pub(super) crate_path: Path,
}

impl Options {
    pub(super) fn parse(attributes: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            reason: None,
            reason_given: false,
            crate_path: crate_path::default(),
        };
        let given = KNOWN.parse(attributes, errors, |name, key, input| {
            match name {
                "reason" => options.reason = Some(key.string(input)?),
                _ => options.crate_path = key.path(input)?,
            }
            Ok(())
        });
        options.reason_given = given.has("reason");
        options
    }
}
