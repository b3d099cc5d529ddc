use crate::crate_path;
use crate::errors::Errors;
use crate::options::Known;
use proc_macro2::Ident;
use syn::parse::ParseStream;
use syn::{Attribute, LitStr, Path};

const CONTAINER: Known = Known {
    attribute: "`#[audit]` on a struct",
    options: &[
        ("resource", "resource = \"entry\""),
        ("crate_path", "crate_path = ::platform_audit"),
    ],
};

const FIELD: Known = Known {
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
    /// Whether a resource was meant to be given, readable or not.
    pub(super) resource_given: bool,
    pub(super) crate_path: Path,
}

impl ContainerOptions {
    pub(super) fn parse(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self {
            resource: None,
            resource_given: false,
            crate_path: crate_path::default(),
        };
        let given = CONTAINER.parse_attributes("audit", attributes, errors, |name, key, input| {
            match name {
                "resource" => options.resource = Some(key.string(input)?),
                _ => options.crate_path = key.path(input)?,
            }
            Ok(())
        });
        options.resource_given = given.has("resource");
        options
    }
}

/// `#[audit(…)]` on a field; the keys are kept for the messages.
#[derive(Debug, Default)]
pub(super) struct FieldOptions {
    pub(super) id: Option<Ident>,
    /// Whether it was meant to be the id, misspelt or not.
    pub(super) id_given: bool,
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
        options.id_given = given.has("id");
        options
    }
}
