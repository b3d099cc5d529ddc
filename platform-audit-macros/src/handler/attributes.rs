//! Splits a handler's attributes between the generated function and the original one.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token, parse_quote};

/// The attributes below `#[audited]` or `#[audit_exempt]`, by where they are emitted.
#[derive(Debug, Default)]
pub(crate) struct SplitAttributes {
    /// On the function that axum calls. Lint levels here also apply to the original, which is
    /// nested in it.
    pub(crate) outer: Vec<Attribute>,
    /// On the original function: `#[tracing::instrument]` records its arguments by name.
    pub(crate) inner: Vec<Attribute>,
    /// Conditions under which the function exists. They also apply to the items emitted next to it.
    pub(crate) conditions: Vec<Attribute>,
}

impl From<Vec<Attribute>> for SplitAttributes {
    fn from(attributes: Vec<Attribute>) -> Self {
        let mut split = Self::default();
        for attribute in attributes {
            split.add(attribute);
        }
        split
    }
}

impl SplitAttributes {
    fn add(&mut self, attribute: Attribute) {
        if ends_in(attribute.path(), "instrument") {
            self.inner.push(attribute);
        } else if attribute.path().is_ident("cfg") {
            self.conditions.push(attribute.clone());
            self.outer.push(attribute);
        } else if let Some(parts) = split_cfg_attr(&attribute) {
            for part in parts {
                self.add_conditional(part);
            }
        } else {
            self.outer.push(attribute);
        }
    }

    fn add_conditional(&mut self, (condition, meta): (Meta, Meta)) {
        let attribute: Attribute = parse_quote!(#[cfg_attr(#condition, #meta)]);
        if ends_in(meta.path(), "instrument") {
            self.inner.push(attribute);
        } else {
            if meta.path().is_ident("cfg") {
                self.conditions.push(attribute.clone());
            }
            self.outer.push(attribute);
        }
    }
}

/// Splits `cfg_attr(c, a, b)` into `(c, a)` and `(c, b)`, which may be emitted in different places.
fn split_cfg_attr(attribute: &Attribute) -> Option<Vec<(Meta, Meta)>> {
    if !attribute.path().is_ident("cfg_attr") {
        return None;
    }
    let metas = attribute
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .ok()?;
    let mut metas = metas.into_iter();
    let condition = metas.next()?;
    Some(metas.map(|meta| (condition.clone(), meta)).collect())
}

fn ends_in(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn text(attributes: &[Attribute]) -> Vec<String> {
        attributes
            .iter()
            .map(|attribute| quote!(#attribute).to_string().replace(' ', ""))
            .collect()
    }

    #[test]
    fn only_instrument_is_moved_to_the_original_function() {
        let split = SplitAttributes::from(vec![
            parse_quote!(#[doc = "Makes one"]),
            parse_quote!(#[tracing::instrument(skip_all)]),
            parse_quote!(#[allow(dead_code)]),
            parse_quote!(#[utoipa::path(post, path = "/")]),
            parse_quote!(#[instrument]),
            parse_quote!(#[unheard::of]),
        ]);
        assert_eq!(
            text(&split.outer),
            [
                "#[doc=\"Makesone\"]",
                "#[allow(dead_code)]",
                "#[utoipa::path(post,path=\"/\")]",
                "#[unheard::of]"
            ]
        );
        assert_eq!(
            text(&split.inner),
            ["#[tracing::instrument(skip_all)]", "#[instrument]"]
        );
        assert!(split.conditions.is_empty());
    }

    #[test]
    fn a_condition_applies_to_every_emitted_item() {
        let split = SplitAttributes::from(vec![
            parse_quote!(#[cfg(unix)]),
            parse_quote!(#[cfg_attr(test, cfg(windows))]),
        ]);
        assert_eq!(
            text(&split.conditions),
            ["#[cfg(unix)]", "#[cfg_attr(test,cfg(windows))]"]
        );
        assert_eq!(text(&split.outer), text(&split.conditions));
    }

    #[test]
    fn a_conditional_instrument_is_moved_without_its_neighbours() {
        let split = SplitAttributes::from(vec![parse_quote!(
            #[cfg_attr(feature = "spans", tracing::instrument(skip_all), inline)]
        )]);
        assert_eq!(
            text(&split.inner),
            ["#[cfg_attr(feature=\"spans\",tracing::instrument(skip_all))]"]
        );
        assert_eq!(
            text(&split.outer),
            ["#[cfg_attr(feature=\"spans\",inline)]"]
        );
    }
}
