//! `#[audited]`, `#[audit_exempt]` and `#[derive(Auditable)]` for `platform-audit`.
//!
//! Use them through that crate, which re-exports them. A handler under `#[audited]` is lent
//! its transaction, and what it changes there is committed together with its audit record or
//! not at all:
//!
//! ```
//! use axum::Json;
//! use platform_audit::{AuditTx, audited};
//! # use axum::http::StatusCode;
//! # #[derive(platform_audit::Auditable, serde::Serialize)]
//! # #[audit(resource = "entry")]
//! # struct Entry { #[audit(id)] id: u64 }
//! # #[derive(serde::Deserialize)]
//! # struct NewEntry;
//! # async fn insert_entry(tx: &mut AuditTx, new: NewEntry) -> Result<Entry, StatusCode> { Ok(Entry { id: 7 }) }
//!
//! #[audited(action = "entry.create")]
//! async fn create_entry(tx: &mut AuditTx, Json(new): Json<NewEntry>) -> Result<Json<Entry>, StatusCode> {
//!     let entry = insert_entry(tx, new).await?;
//!     tx.created(&entry);
//!     Ok(Json(entry))
//! }
//! ```

mod auditable;
mod audited;
mod crate_path;
mod errors;
mod exempt;
#[cfg(test)]
mod golden;
mod handler;
mod names;
mod options;
mod words;

use errors::Errors;
use proc_macro::TokenStream;

/// Runs a handler in a transaction that commits its change and its audit record together.
///
/// The handler is an `async fn` with up to 15 extractors and, at any place among them, the
/// transaction: the one parameter of a type `&mut _`. It is begun once the extractors have
/// succeeded, lent to the body, and committed with the record if the response's status is
/// below 400; else it is rolled back, and the attempt is recorded. What comes out is again an
/// `async fn`, without the transaction among its parameters, whose return type names its
/// action: the functions of `platform_audit::routing` ask for that.
///
/// ```
/// use axum::{Json, extract::Path, http::StatusCode};
/// use platform_audit::{AuditTx, audited};
/// use uuid::Uuid;
/// # #[derive(platform_audit::Auditable)]
/// # #[audit(resource = "entry")]
/// # struct Entry { #[audit(id)] id: Uuid }
/// # #[derive(serde::Deserialize)]
/// # struct Correction;
/// # async fn update_entry(
/// #     tx: &mut AuditTx, id: Uuid, correction: Correction,
/// # ) -> Result<(Entry, Entry), StatusCode> { Ok((Entry { id }, Entry { id })) }
///
/// /// Corrects an entry.
/// #[audited(
///     action = "entry.correct",
///     resource = "entry",
///     resource_id = id,
///     reason = "required",
/// )]
/// #[tracing::instrument(skip_all)]
/// async fn correct_entry(
///     tx: &mut AuditTx,
///     Path(id): Path<Uuid>,
///     Json(correction): Json<Correction>,
/// ) -> Result<StatusCode, StatusCode> {
///     let (before, after) = update_entry(tx, id, correction).await?;
///     tx.updated(&before, &after);
///     Ok(StatusCode::NO_CONTENT)
/// }
/// ```
///
/// # Options
///
/// - `action = "entry.create"`: what the handler does, as `noun.verb`: at least two parts of
///   lower-case ASCII letters, digits and underscores, joined by dots, each beginning with a
///   letter, at most 100 bytes.
///   Required.
/// - `resource = "entry"`: the type of what it acts on, one such part.
/// - `resource_id = id`: which one, an expression over the other parameters, shown with
///   `Display`. It is read by reference before the transaction begins, so that failed
///   attempts carry it too. A resource that does not exist yet is named in the body, with
///   `tx.created(…)` or the like.
/// - `reason = "required"`: a request without the header `Audit-Reason` is answered 400.
/// - `actor = "optional"`: a request without an actor is let in, as for log-in and sign-up.
/// - `read`: for reading sensitive data. The record is committed before the response leaves,
///   and the transaction parameter may be left out.
/// - `crate_path = ::platform_audit`: where `platform-audit` is, if it was renamed or
///   re-exported; a path, or a string holding one.
///
/// # With other attributes
///
/// `#[audited]` goes above `#[axum::debug_handler]`, which would otherwise take the
/// transaction for an extractor. `#[utoipa::path]` may be above or below; above, if utoipa's
/// feature `auto_into_responses` is used, since it reads the return type. Attributes named
/// `instrument` move to the original function and record its arguments under their own
/// names; all others, such as documentation, conditions and lint levels, stay on the
/// function that axum calls, in which the original is nested.
///
/// Generic parameters, `where` clauses and `impl IntoResponse` work; type parameters
/// have to be `Send + 'static`, as for every axum handler. A method of an `impl` block cannot
/// be audited: what is emitted beside the handler has no place there.
#[proc_macro_attribute]
pub fn audited(attributes: TokenStream, item: TokenStream) -> TokenStream {
    emit(audited::audited(attributes.into(), item.into()))
}

/// Says that a handler of an unsafe method changes nothing that needs an audit record, and why.
///
/// The handler is an `async fn` with up to 16 extractors and no transaction. The reason is
/// shown in the catalogue of routes, to whoever asks why this one leaves no record.
///
/// ```
/// use axum::Json;
/// use platform_audit::audit_exempt;
/// # #[derive(serde::Deserialize)]
/// # struct NewEntry;
/// # #[derive(serde::Serialize)]
/// # struct Preview;
/// # impl Preview { fn of(new: &NewEntry) -> Self { Self } }
///
/// #[audit_exempt(reason = "computes a preview and stores nothing")]
/// async fn preview_entry(Json(new): Json<NewEntry>) -> Json<Preview> {
///     Json(Preview::of(&new))
/// }
/// ```
///
/// # Options
///
/// - `reason = "…"`: why no record is needed, in words. Required.
/// - `crate_path = ::platform_audit`: where `platform-audit` is, if it was renamed or
///   re-exported; a path, or a string holding one.
///
/// Other attributes are treated as by [`macro@audited`].
#[proc_macro_attribute]
pub fn audit_exempt(attributes: TokenStream, item: TokenStream) -> TokenStream {
    emit(exempt::audit_exempt(attributes.into(), item.into()))
}

/// Shows a struct's fields to the audit log, so that a change is recorded field by field.
///
/// ```
/// use platform_audit::Auditable;
/// use serde::Serialize;
/// use uuid::Uuid;
///
/// #[derive(Serialize)]
/// struct Holder {
///     name: String,
/// }
///
/// #[derive(Auditable)]
/// #[audit(resource = "entry")]
/// struct Entry {
///     #[audit(id)]
///     id: Uuid,
///     amount: i64,
///     #[audit(redact)]
///     iban: String,
///     #[audit(rename = "owner")]
///     holder: Holder,
///     #[audit(skip)]
///     version: u32,
/// }
/// ```
///
/// # Options of the struct
///
/// - `resource = "entry"`: its type in the audit log, in lower-case ASCII letters, digits and
///   underscores, at most 100 bytes. Required.
/// - `crate_path = ::platform_audit`: where `platform-audit` is, if it was renamed or
///   re-exported; a path, or a string holding one.
///
/// # Options of a field
///
/// - `id`: the resource's id, through `Display`. On exactly one field, which is recorded in
///   clear as any other.
/// - `redact`: that the field changed is recorded, its value never. Not on the id.
/// - `skip`: nothing is recorded. Alone, and not on the id.
/// - `rename = "name"`: recorded under this name.
///
/// # Values
///
/// A field that is `Auditable` itself, or a standard container of such values, is shown through its
/// own fields, so its redactions hold; any other through `serde::Serialize`, such as a tuple and a
/// type of your own: redact the field as a whole where one of these holds secrets. No bounds are
/// added to type parameters: bound one by `Auditable` to show it that way. Bound by `Serialize` it
/// is written as serde writes it, whatever redactions the type put there may have.
#[proc_macro_derive(Auditable, attributes(audit))]
pub fn auditable(item: TokenStream) -> TokenStream {
    emit(auditable::auditable(item.into()))
}

fn emit((tokens, errors): (proc_macro2::TokenStream, Errors)) -> TokenStream {
    let errors = errors.to_compile_errors();
    quote::quote!(#errors #tokens).into()
}
