use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers of a request that carry context.
#[derive(Debug)]
pub(crate) struct ContextHeaders<'a> {
    all: &'a HeaderMap,
    /// `None` also if there are several.
    pub(super) traceparent: Option<&'a HeaderValue>,
    pub(super) has_tracestate: bool,
    pub(super) has_baggage: bool,
}

impl<'a> ContextHeaders<'a> {
    /// Finds the headers in one pass, which costs less than a lookup for each name, as lookups
    /// hash the name. `other` is called for each other header.
    #[inline]
    pub(crate) fn scan(all: &'a HeaderMap, mut other: impl FnMut(&str, &'a HeaderValue)) -> Self {
        let (mut traceparent, mut traceparents) = (None, 0);
        let (mut has_tracestate, mut has_baggage) = (false, false);
        for (name, value) in all {
            match name.as_str() {
                "traceparent" => (traceparent, traceparents) = (Some(value), traceparents + 1),
                "tracestate" => has_tracestate = true,
                "baggage" => has_baggage = true,
                name => other(name, value),
            }
        }
        Self {
            all,
            traceparent: traceparent.filter(|_| traceparents == 1),
            has_tracestate,
            has_baggage,
        }
    }

    /// The values of a header. A value that is not ASCII is `None`.
    pub(super) fn values(
        &self,
        name: &'static HeaderName,
    ) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let values = self.all.get_all(name).into_iter();
        values.map(|value| value.to_str().ok())
    }
}
