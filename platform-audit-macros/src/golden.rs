//! Compares the expansion of each `tests/golden/<case>.rs` with `<case>.expanded.rs`.
//! `UPDATE_GOLDEN=1` overwrites the expected expansions; review the diff.

use crate::{auditable, audited, exempt};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use std::path::{Path, PathBuf};
use std::{env, fs};
use syn::{Attribute, Item, Meta};

#[test]
fn every_expansion_matches_its_golden_file() {
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases();
    assert!(cases.len() >= 8, "found only {cases:?}");
    let mut differing = Vec::new();
    for case in cases {
        let expanded = expand_file(&case);
        let file = case.with_extension("expanded.rs");
        if update {
            fs::write(&file, &expanded).expect("write the expansion");
        } else if fs::read_to_string(&file).unwrap_or_default() != expanded {
            differing.push(format!("{} should be:\n{expanded}", file.display()));
        }
    }
    assert!(
        differing.is_empty(),
        "{}\nIf this is intended, update the files with UPDATE_GOLDEN=1.",
        differing.join("\n")
    );
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir("tests/golden")
        .expect("tests/golden")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.to_string_lossy().ends_with(".expanded.rs"))
        .collect();
    cases.sort();
    cases
}

fn expand_file(case: &Path) -> String {
    let source = fs::read_to_string(case).expect("read the case");
    let file = syn::parse_file(&source).expect("parse the case");
    let expanded: TokenStream = file.items.into_iter().map(expand_item).collect();
    let expanded = syn::parse2(expanded).expect("parse the expansion");
    prettyplease::unparse(&expanded)
}

fn expand_item(item: Item) -> TokenStream {
    let (tokens, errors) = match item {
        Item::Fn(mut handler) => {
            let attribute = handler.attrs.remove(attribute_index(&handler.attrs));
            let options = match &attribute.meta {
                Meta::List(list) => list.tokens.clone(),
                _ => TokenStream::new(),
            };
            if attribute.path().is_ident("audited") {
                audited::audited(options, handler.into_token_stream())
            } else {
                exempt::audit_exempt(options, handler.into_token_stream())
            }
        }
        Item::Struct(item) => auditable::auditable(item.into_token_stream()),
        other => panic!("unexpected item in a case: {}", quote!(#other)),
    };
    assert_eq!(errors.messages(), Vec::<String>::new());
    tokens
}

fn attribute_index(attributes: &[Attribute]) -> usize {
    attributes
        .iter()
        .position(|found| found.path().is_ident("audited") || found.path().is_ident("audit_exempt"))
        .expect("a case has #[audited] or #[audit_exempt]")
}
