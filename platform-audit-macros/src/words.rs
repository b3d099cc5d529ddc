use proc_macro2::{TokenStream, TokenTree};
use std::collections::HashSet;

/// Which names some code may use, those captured by `format!("{id}")` included.
#[derive(Debug, Default)]
pub(crate) struct Words {
    identifiers: HashSet<String>,
    literals: Vec<String>,
}

impl Words {
    pub(crate) fn of(tokens: TokenStream) -> Self {
        let mut words = Self::default();
        words.collect(tokens);
        words
    }

    pub(crate) fn mention(&self, name: &str) -> bool {
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
    fn a_captured_name_is_a_mention() {
        let words = Words::of("format!(\"{org}/{}\", user.id)".parse().expect("tokens"));
        assert!(words.mention("org"));
        assert!(words.mention("user"));
        assert!(!words.mention("entry"));
    }
}
