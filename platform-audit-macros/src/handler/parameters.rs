use crate::errors::Errors;
use syn::{Attribute, FnArg, Meta, Pat, Signature, Type};

/// One parameter of a handler.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
    pub(crate) role: Role,
}

/// An extractor is always a value, so the reference is the transaction, whatever its type is
/// called: aliases and `AuditTx<Any>` work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `&mut _`
    Lent,
    /// `&AuditTx`
    SharedTransaction,
    /// `AuditTx`
    OwnedTransaction,
    /// `&_` of something else, which axum has no way to make.
    SharedReference,
    Extractor,
}

impl Parameter {
    pub(super) fn all(signature: &Signature, attribute: &str, errors: &mut Errors) -> Vec<Self> {
        let mut parameters = Vec::new();
        for input in &signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            for condition in typed.attrs.iter().filter(|found| is_condition(found)) {
                errors.at(
                    condition,
                    format!(
                        "`{attribute}` cannot take a parameter under a condition: put the `#[cfg]` on the whole function, and write it twice"
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

    pub(crate) fn is_lent(&self) -> bool {
        self.role == Role::Lent
    }
}

fn is_condition(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") || list.path.is_ident("cfg_attr"),
        _ => false,
    }
}

fn role(ty: &Type) -> Role {
    match ty {
        Type::Group(group) => role(&group.elem),
        Type::Paren(paren) => role(&paren.elem),
        Type::Reference(reference) if reference.mutability.is_some() => Role::Lent,
        Type::Reference(reference) if is_transaction(&reference.elem) => Role::SharedTransaction,
        Type::Reference(_) => Role::SharedReference,
        ty if is_transaction(ty) => Role::OwnedTransaction,
        _ => Role::Extractor,
    }
}

fn is_transaction(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_transaction(&group.elem),
        Type::Paren(paren) => is_transaction(&paren.elem),
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
    fn the_transaction_is_the_mutable_reference_whatever_it_is_called() {
        for (ty, expected) in [
            (parse_quote!(&mut AuditTx), Role::Lent),
            (
                parse_quote!(&'a mut platform_audit::AuditTx<Any>),
                Role::Lent,
            ),
            (parse_quote!((&mut Tx)), Role::Lent),
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
