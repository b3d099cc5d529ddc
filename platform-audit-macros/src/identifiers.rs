//! Finds the identifiers that code mentions.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::HashSet;

/// The identifiers that some code may use, including those captured by `format!("{id}")`.
#[derive(Debug, Default)]
pub(crate) struct Identifiers {
    identifiers: HashSet<String>,
    literals: Vec<String>,
}

impl Identifiers {
    pub(crate) fn from_tokens(tokens: TokenStream) -> Self {
        let mut found = Self::default();
        found.collect(tokens);
        found
    }

    /// Returns whether the code may use `name`.
    pub(crate) fn may_contain(&self, name: &str) -> bool {
        self.identifiers.contains(name)
            || self.literals.iter().any(|literal| literal.contains(name))
    }

    fn collect(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.collect(group.stream()),
                TokenTree::Ident(ident) => {
                    self.identifiers.insert(ident.to_string());
                }
                TokenTree::Literal(literal) => self.literals.push(literal.to_string()),
                TokenTree::Punct(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_captured_by_a_format_string_are_found() {
        let identifiers =
            Identifiers::from_tokens("format!(\"{org}/{}\", user.id)".parse().expect("tokens"));
        assert!(identifiers.may_contain("org"));
        assert!(identifiers.may_contain("user"));
        assert!(!identifiers.may_contain("entry"));
    }
}
