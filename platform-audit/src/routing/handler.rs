use axum::handler::Handler;

use crate::action::Declares;

/// A handler with `#[audited]` or `#[audit_exempt]`, which may change state.
///
/// Implemented for the functions that these macros generate. Do not implement it yourself.
#[diagnostic::on_unimplemented(
    message = "this handler may change state, but it is neither audited nor exempt",
    label = "not audited",
    note = "write `#[audited(action = \"noun.verb\")]` above the handler and take `tx: &mut AuditTx` for its changes",
    note = "or, if it changes nothing that needs a record, write `#[audit_exempt(reason = \"…\")]` above it"
)]
pub trait AuditedHandler<T, S>: Handler<T, S> {
    /// The handler's return type, which declares its action or exemption.
    #[doc(hidden)]
    type Output: Declares;
}

macro_rules! audited_handler {
    ([$($arguments:ident),*], [$($kind:tt)*]) => {
        #[diagnostic::do_not_recommend]
        impl<F, Fut, Out, S, Kind, $($arguments),*> AuditedHandler<($($kind)* $($arguments,)*), S> for F
        where
            F: FnOnce($($arguments),*) -> Fut + Handler<($($kind)* $($arguments,)*), S>,
            Fut: Future<Output = Out>,
            Out: Declares,
        {
            type Output = Out;
        }
    };
}

// The same arities as axum's implementations of `Handler`: up to sixteen arguments, and none.
macro_rules! audited_handlers {
    ($($argument:ident),*) => { audited_handlers!(@ [] $($argument),*); };
    (@ [$($before:ident),*]) => {};
    (@ [$($before:ident),*] $next:ident $(, $rest:ident)*) => {
        audited_handler!([$($before,)* $next], [Kind,]);
        audited_handlers!(@ [$($before,)* $next] $($rest),*);
    };
}
audited_handlers!(
    T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15, T16
);

#[diagnostic::do_not_recommend]
impl<F, Fut, Out, S> AuditedHandler<((),), S> for F
where
    F: FnOnce() -> Fut + Handler<((),), S>,
    Fut: Future<Output = Out>,
    Out: Declares,
{
    type Output = Out;
}
