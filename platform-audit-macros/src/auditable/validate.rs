//! Validates a struct for `#[derive(Auditable)]`.

use super::attr::{ContainerOptions, FieldOptions};
use crate::errors::Errors;
use crate::names;
use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use std::collections::HashMap;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Fields, FieldsNamed, Generics, Path, Type};

/// A struct to implement `Auditable` for. After errors, its resource and id may be missing.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) ident: Ident,
    pub(super) generics: Generics,
    pub(super) resource: String,
    pub(super) crate_path: Path,
    pub(super) id: Option<(Ident, Type)>,
    pub(super) fields: Vec<Field>,
}

/// A field that is recorded, perhaps redacted.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) ident: Ident,
    pub(super) ty: Type,
    pub(super) name: String,
    pub(super) redact: bool,
}

pub(super) fn resource(input: DeriveInput, errors: &mut Errors) -> Option<Resource> {
    let options = ContainerOptions::parse(&input.attrs, errors);
    let resource = check_resource(&options, &input.ident, errors);
    let named = match named_fields(&input) {
        Ok(named) => named,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let (id, fields) = check_fields(named, &input.ident, errors);
    Some(Resource {
        ident: input.ident,
        generics: input.generics,
        resource,
        crate_path: options.crate_path,
        id,
        fields,
    })
}

fn check_resource(options: &ContainerOptions, ident: &Ident, errors: &mut Errors) -> String {
    if let Some(resource) = &options.resource {
        if let Err(message) = names::check_resource(&resource.value()) {
            errors.at(resource, message);
        }
        return resource.value();
    }
    if !options.has_resource {
        let example = names::resource_for(&ident.unraw().to_string());
        errors.at(
            ident,
            format!(
                "missing `resource`, the name of this type in the audit log: write `#[audit(resource = \"{example}\")]` above the struct"
            ),
        );
    }
    String::new()
}

fn named_fields(input: &DeriveInput) -> syn::Result<&FieldsNamed> {
    let fix = "derive `Auditable` on a struct with named fields, whose fields are recorded";
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => Ok(named),
            Fields::Unnamed(fields) => Err(syn::Error::new_spanned(
                fields,
                format!("the fields of a tuple struct have no names to record: {fix}"),
            )),
            Fields::Unit => Err(syn::Error::new_spanned(
                &input.ident,
                format!("a unit struct has no fields to record: {fix}"),
            )),
        },
        Data::Enum(data) => Err(syn::Error::new(
            data.enum_token.span,
            format!(
                "an enum is not a resource with an id: {fix}, and make the enum one of the fields"
            ),
        )),
        Data::Union(data) => Err(syn::Error::new(
            data.union_token.span,
            format!("a union cannot be read safely: {fix}"),
        )),
    }
}

fn check_fields(
    named: &FieldsNamed,
    container: &Ident,
    errors: &mut Errors,
) -> (Option<(Ident, Type)>, Vec<Field>) {
    let mut id = None;
    let mut has_id = false;
    let mut fields = Vec::new();
    let mut names: HashMap<String, Ident> = HashMap::new();
    for field in &named.named {
        let Some(ident) = field.ident.clone() else {
            continue;
        };
        let options = FieldOptions::parse(&field.attrs, errors);
        check_conflicts(&options, errors);
        has_id |= options.has_id;
        if let Some(key) = &options.id {
            match &id {
                None => id = Some((ident.clone(), field.ty.clone())),
                Some((first, _)) => errors.at(
                    key,
                    format!("`{first}` is already the id, and a resource has only one: remove one of the two `id`"),
                ),
            }
        }
        if options.skip.is_some() {
            continue;
        }
        let (name, place) = match &options.rename {
            Some((_, name)) => (name.value(), name.to_token_stream()),
            None => (ident.unraw().to_string(), ident.to_token_stream()),
        };
        check_name(&name, &ident, place, &mut names, errors);
        fields.push(Field {
            ident,
            ty: field.ty.clone(),
            name,
            redact: options.redact.is_some(),
        });
    }
    if !has_id {
        errors.at(
            container,
            "missing the id of this resource in the audit log: write `#[audit(id)]` above one field",
        );
    }
    (id, fields)
}

fn check_conflicts(options: &FieldOptions, errors: &mut Errors) {
    if let (Some(_), Some(redact)) = (&options.id, &options.redact) {
        errors.at(
            redact,
            "every record contains the id unredacted: remove `redact`, or make another field the id",
        );
    }
    let Some(skip) = &options.skip else { return };
    let others = [&options.id, &options.redact]
        .into_iter()
        .flatten()
        .chain(options.rename.iter().map(|(key, _)| key));
    for other in others {
        errors.at(
            skip,
            match other {
                id if id == "id" => "every record contains the id, so it cannot be skipped: remove `skip`, or make another field the id".to_owned(),
                other => format!("a skipped field is not recorded at all, so `{other}` has no effect: remove one of them"),
            },
        );
    }
}

fn check_name(
    name: &str,
    field: &Ident,
    place: TokenStream,
    names: &mut HashMap<String, Ident>,
    errors: &mut Errors,
) {
    if name.trim().is_empty() {
        errors.at(
            place,
            "a field name cannot be empty: write `rename = \"name\"`",
        );
        return;
    }
    if let Some(other) = names.insert(name.to_owned(), field.clone()) {
        errors.at(
            place,
            format!("`{other}` is already recorded as `{name}`: give one of the two another name with `#[audit(rename = \"…\")]`"),
        );
    }
}
