//! Parses `#[audit(…)]` on a struct and on its fields.

use crate::crate_path;
use crate::errors::Errors;
use crate::options::KnownOptions;
use proc_macro2::Ident;
use syn::parse::ParseStream;
use syn::{Attribute, LitStr, Path};

const CONTAINER: KnownOptions = KnownOptions {
    attribute: "`#[audit]` on a struct",
    options: &[
        ("resource", "resource = \"entry\""),
        ("crate_path", "crate_path = ::platform_audit"),
    ],
};

const FIELD: KnownOptions = KnownOptions {
    attribute: "`#[audit]` on a field",
    options: &[
        ("id", "id"),
        ("skip", "skip"),
        ("redact", "redact"),
        ("rename", "rename = \"name\""),
    ],
};

/// `#[audit(…)]` on the struct.
#[derive(Debug)]
pub(super) struct ContainerOptions {
    pub(super) resource: Option<LitStr>,
    /// Whether a resource was given, even if it could not be parsed.
    pub(super) has_resource: bool,
    pub(super) crate_path: Path,
}

impl ContainerOptions {
    pub(super) fn parse(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self {
            resource: None,
            has_resource: false,
            crate_path: crate_path::default(),
        };
        let given = CONTAINER.parse_attributes("audit", attributes, errors, |name, key, input| {
            match name {
                "resource" => options.resource = Some(key.string(input)?),
                _ => options.crate_path = key.path(input)?,
            }
            Ok(())
        });
        options.has_resource = given.has("resource");
        options
    }
}

/// `#[audit(…)]` on a field, with the keys that error messages point to.
#[derive(Debug, Default)]
pub(super) struct FieldOptions {
    pub(super) id: Option<Ident>,
    /// Whether `id` was given, even if misspelt.
    pub(super) has_id: bool,
    pub(super) skip: Option<Ident>,
    pub(super) redact: Option<Ident>,
    pub(super) rename: Option<(Ident, LitStr)>,
}

impl FieldOptions {
    pub(super) fn parse(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let given = FIELD.parse_attributes(
            "audit",
            attributes,
            errors,
            |name, key, input: ParseStream<'_>| {
                let ident = key.ident.clone();
                if name == "rename" {
                    options.rename = Some((ident, key.string(input)?));
                    return Ok(());
                }
                let flag = match name {
                    "id" => &mut options.id,
                    "skip" => &mut options.skip,
                    _ => &mut options.redact,
                };
                *flag = Some(ident);
                key.flag(input)
            },
        );
        options.has_id = given.has("id");
        options
    }
}
