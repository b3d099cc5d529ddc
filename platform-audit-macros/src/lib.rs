//! `#[audited]`, `#[audit_exempt]` and `#[derive(Auditable)]` for `platform-audit`.
//!
//! Use them through that crate, which re-exports them. A handler with `#[audited]` borrows a
//! transaction. Its changes in that transaction and its audit record are committed together or not
//! at all:
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
mod identifiers;
mod names;
mod options;

use errors::Errors;
use proc_macro::TokenStream;

/// Runs a handler in a transaction that commits its change and its audit record together.
///
/// The handler is an `async fn` with up to 15 extractors and, at any position, the transaction: the
/// parameter whose type is `&mut _`. Its first statement begins the transaction. If the response's
/// status is below 400, it is committed together with the record; otherwise it is rolled back, and
/// the attempt is recorded.
///
/// The macro emits an `async fn` without the transaction parameter. Its return type declares the
/// action, which the functions of `platform_audit::routing` require.
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
///   letter, at most 100 bytes. Required.
/// - `resource = "entry"`: the type of the affected resource, in lower-case ASCII letters, digits
///   and underscores, at most 100 bytes.
/// - `resource_id = id`: the resource's identifier, an expression over references to the
///   extractors' values, formatted with `Display`. It is evaluated before the transaction begins,
///   so the records of failed attempts contain it too. Name a resource that does not exist yet in
///   the body, for example with `tx.created(…)`.
/// - `reason = "required"`: responds with 400 to a request without an `Audit-Reason` header.
/// - `actor = "optional"`: accepts requests without an actor, for example for log-in and sign-up.
/// - `read`: for reading sensitive data. The record is committed before the response is sent, and
///   the transaction parameter is optional.
/// - `crate_path = ::platform_audit`: the path of `platform-audit` if it was renamed or
///   re-exported, as a path or a string.
///
/// # With other attributes
///
/// - Put `#[audited]` above `#[axum::debug_handler]`, which would otherwise treat the transaction
///   as an extractor.
/// - `#[utoipa::path]` can be above or below. With utoipa's feature `auto_into_responses`, it must
///   be above, since it reads the return type.
/// - Attributes named `instrument` move to the original function, and record its arguments under
///   their original names.
/// - All other attributes, such as documentation, conditions and lint levels, stay on the function
///   that axum calls. The original function is nested in it.
///
/// Generic parameters, `where` clauses and `impl IntoResponse` work. Type parameters must be
/// `Send + 'static`, as in every axum handler. Methods of an `impl` block are not supported, as the
/// macro also emits a type.
#[proc_macro_attribute]
pub fn audited(attributes: TokenStream, item: TokenStream) -> TokenStream {
    emit(audited::audited(attributes.into(), item.into()))
}

/// Declares that a handler of a state-changing method needs no audit record.
///
/// The handler is an `async fn` with up to 16 extractors and no transaction. The catalogue of
/// routes contains the reason.
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
/// - `reason = "…"`: why no record is needed. Required.
/// - `crate_path = ::platform_audit`: the path of `platform-audit` if it was renamed or
///   re-exported, as a path or a string.
///
/// Other attributes are handled as by [`macro@audited`].
#[proc_macro_attribute]
pub fn audit_exempt(attributes: TokenStream, item: TokenStream) -> TokenStream {
    emit(exempt::audit_exempt(attributes.into(), item.into()))
}

/// Implements `Auditable` for a struct, so that its changes are recorded field by field.
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
/// - `resource = "entry"`: the resource's type in the audit log, in lower-case ASCII letters,
///   digits and underscores, at most 100 bytes. Required.
/// - `crate_path = ::platform_audit`: the path of `platform-audit` if it was renamed or
///   re-exported, as a path or a string.
///
/// # Options of a field
///
/// - `id`: the resource's identifier, formatted with `Display` and recorded unredacted. Required on
///   exactly one field.
/// - `redact`: records that the field changed, but not its value. Not allowed on the id.
/// - `skip`: does not record the field. Not allowed on the id, or with other options.
/// - `rename = "name"`: records the field under this name.
///
/// # Values
///
/// A field that is `Auditable`, or a standard container of `Auditable` values, is recorded through
/// its own fields, so nested redactions apply. Any other field is recorded as it serialises with
/// `serde::Serialize`, including tuples and your own types: redact such a field as a whole if it
/// may contain secrets.
///
/// The macro adds no bounds to type parameters. A field whose type is a parameter with the bound
/// `Auditable` is recorded through its fields. With the bound `Serialize`, it is recorded as it
/// serialises, and redactions of the actual type do not apply.
#[proc_macro_derive(Auditable, attributes(audit))]
pub fn auditable(item: TokenStream) -> TokenStream {
    emit(auditable::auditable(item.into()))
}

fn emit((tokens, errors): (proc_macro2::TokenStream, Errors)) -> TokenStream {
    let errors = errors.to_compile_errors();
    quote::quote!(#errors #tokens).into()
}
