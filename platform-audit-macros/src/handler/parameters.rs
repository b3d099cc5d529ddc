//! The parameters of a handler.

use crate::errors::Errors;
use syn::{Attribute, FnArg, Meta, Pat, Signature, Type};

/// One parameter of a handler.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
    pub(crate) role: Role,
}

/// What a parameter is for. Extractors are never references, so a mutable reference is the
/// transaction, whatever the name of its type: aliases and `AuditTx<Any>` work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `&mut _`
    Transaction,
    /// `&AuditTx`, an error.
    SharedTransaction,
    /// `AuditTx`, an error.
    OwnedTransaction,
    /// `&_` of another type, an error: axum cannot extract references.
    SharedReference,
    Extractor,
}

impl Parameter {
    pub(super) fn all(signature: &Signature, attribute: &str, errors: &mut Errors) -> Vec<Self> {
        let mut parameters = Vec::new();
        for input in &signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            for attribute_of_parameter in typed.attrs.iter().filter(|found| is_conditional(found)) {
                errors.at(
                    attribute_of_parameter,
                    format!(
                        "`{attribute}` does not support conditional parameters: put the `#[cfg]` on the whole function, and write one function for each condition"
                    ),
                );
            }
            parameters.push(Self {
                pattern: (*typed.pat).clone(),
                ty: (*typed.ty).clone(),
                role: role(&typed.ty),
            });
        }
        parameters
    }

    pub(crate) fn is_transaction(&self) -> bool {
        self.role == Role::Transaction
    }
}

fn is_conditional(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") || list.path.is_ident("cfg_attr"),
        _ => false,
    }
}

fn role(ty: &Type) -> Role {
    match ty {
        Type::Group(group) => role(&group.elem),
        Type::Paren(paren) => role(&paren.elem),
        Type::Reference(reference) if reference.mutability.is_some() => Role::Transaction,
        Type::Reference(reference) if is_audit_tx(&reference.elem) => Role::SharedTransaction,
        Type::Reference(_) => Role::SharedReference,
        ty if is_audit_tx(ty) => Role::OwnedTransaction,
        _ => Role::Extractor,
    }
}

fn is_audit_tx(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_audit_tx(&group.elem),
        Type::Paren(paren) => is_audit_tx(&paren.elem),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "AuditTx"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn a_mutable_reference_of_any_type_is_the_transaction() {
        for (ty, expected) in [
            (parse_quote!(&mut AuditTx), Role::Transaction),
            (
                parse_quote!(&'a mut platform_audit::AuditTx<Any>),
                Role::Transaction,
            ),
            (parse_quote!((&mut Tx)), Role::Transaction),
            (parse_quote!(&AuditTx), Role::SharedTransaction),
            (parse_quote!(AuditTx<Sqlite>), Role::OwnedTransaction),
            (parse_quote!(&Entry), Role::SharedReference),
            (parse_quote!(Json<&mut AuditTx>), Role::Extractor),
            (parse_quote!(State<S>), Role::Extractor),
        ] {
            assert_eq!(role(&ty), expected, "{ty:?}");
        }
    }
}
