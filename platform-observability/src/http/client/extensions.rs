use http::Extensions;

/// The template of a request's path, such as `/entries/{id}`; an extension of the request.
///
/// It becomes part of the span's name, and the attribute `url.template` of the span and the
/// duration. It must not contain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlTemplate(pub &'static str);

/// How many times this request was sent before; an extension of the request, which the code that
/// retries sets. It is recorded as `http.request.resend_count`, unless 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResendCount(pub u32);

pub(super) fn extension<T: Copy + Send + Sync + 'static>(extensions: &Extensions) -> Option<T> {
    extensions.get::<T>().copied()
}
