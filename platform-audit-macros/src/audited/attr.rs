//! Parses the options of `#[audited]`.

use crate::crate_path;
use crate::errors::Errors;
use crate::options::KnownOptions;
use proc_macro2::TokenStream;
use syn::{Expr, LitStr, Path};

const KNOWN: KnownOptions = KnownOptions {
    attribute: "`#[audited]`",
    options: &[
        ("action", "action = \"entry.create\""),
        ("resource", "resource = \"entry\""),
        ("resource_id", "resource_id = id"),
        ("reason", "reason = \"required\""),
        ("actor", "actor = \"optional\""),
        ("read", "read"),
        ("crate_path", "crate_path = ::platform_audit"),
    ],
};

/// The options, as far as they could be parsed.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) action: Option<LitStr>,
    /// Whether an action was given, even if it could not be parsed.
    pub(super) has_action: bool,
    pub(super) resource: Option<LitStr>,
    pub(super) resource_id: Option<Expr>,
    pub(super) reason_required: bool,
    pub(super) actor_optional: bool,
    pub(super) read: bool,
    pub(super) crate_path: Path,
}

impl Options {
    pub(super) fn parse(attributes: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            action: None,
            has_action: false,
            resource: None,
            resource_id: None,
            reason_required: false,
            actor_optional: false,
            read: false,
            crate_path: crate_path::default(),
        };
        let given = KNOWN.parse(attributes, errors, |name, key, input| {
            match name {
                "action" => options.action = Some(key.string(input)?),
                "resource" => options.resource = Some(key.string(input)?),
                "resource_id" => options.resource_id = Some(key.expression(input)?),
                "reason" => {
                    key.only(input, "required")?;
                    options.reason_required = true;
                }
                "actor" => {
                    key.only(input, "optional")?;
                    options.actor_optional = true;
                }
                "read" => {
                    options.read = true;
                    key.flag(input)?;
                }
                _ => options.crate_path = key.path(input)?,
            }
            Ok(())
        });
        options.has_action = given.has("action");
        options
    }
}
