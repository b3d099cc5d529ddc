use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token, parse_quote};

/// The attributes found below ours, sorted by where they go.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// The function axum calls. Lint levels stay here too: the body is nested in it.
    pub(crate) outer: Vec<Attribute>,
    /// The developer's own function: `#[tracing::instrument]` records its arguments by name.
    pub(crate) inner: Vec<Attribute>,
    /// Conditions under which the function exists, and what is emitted beside it.
    pub(crate) conditions: Vec<Attribute>,
}

impl From<Vec<Attribute>> for Routed {
    fn from(attributes: Vec<Attribute>) -> Self {
        let mut routed = Self::default();
        for attribute in attributes {
            routed.add(attribute);
        }
        routed
    }
}

impl Routed {
    fn add(&mut self, attribute: Attribute) {
        if ends_in(attribute.path(), "instrument") {
            self.inner.push(attribute);
        } else if attribute.path().is_ident("cfg") {
            self.conditions.push(attribute.clone());
            self.outer.push(attribute);
        } else if let Some(parts) = conditional(&attribute) {
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

/// `cfg_attr(c, a, b)` as `(c, a)` and `(c, b)`: its parts may go to different places.
fn conditional(attribute: &Attribute) -> Option<Vec<(Meta, Meta)>> {
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
    fn instrument_goes_inside_and_everything_else_stays_outside() {
        let routed = Routed::from(vec![
            parse_quote!(#[doc = "Makes one"]),
            parse_quote!(#[tracing::instrument(skip_all)]),
            parse_quote!(#[allow(dead_code)]),
            parse_quote!(#[utoipa::path(post, path = "/")]),
            parse_quote!(#[instrument]),
            parse_quote!(#[unheard::of]),
        ]);
        assert_eq!(
            text(&routed.outer),
            [
                "#[doc=\"Makesone\"]",
                "#[allow(dead_code)]",
                "#[utoipa::path(post,path=\"/\")]",
                "#[unheard::of]"
            ]
        );
        assert_eq!(
            text(&routed.inner),
            ["#[tracing::instrument(skip_all)]", "#[instrument]"]
        );
        assert!(routed.conditions.is_empty());
    }

    #[test]
    fn a_condition_holds_for_everything_emitted() {
        let routed = Routed::from(vec![
            parse_quote!(#[cfg(unix)]),
            parse_quote!(#[cfg_attr(test, cfg(windows))]),
        ]);
        assert_eq!(
            text(&routed.conditions),
            ["#[cfg(unix)]", "#[cfg_attr(test,cfg(windows))]"]
        );
        assert_eq!(text(&routed.outer), text(&routed.conditions));
    }

    #[test]
    fn a_conditional_instrument_goes_inside_without_its_neighbours() {
        let routed = Routed::from(vec![parse_quote!(
            #[cfg_attr(feature = "spans", tracing::instrument(skip_all), inline)]
        )]);
        assert_eq!(
            text(&routed.inner),
            ["#[cfg_attr(feature=\"spans\",tracing::instrument(skip_all))]"]
        );
        assert_eq!(
            text(&routed.outer),
            ["#[cfg_attr(feature=\"spans\",inline)]"]
        );
    }
}
