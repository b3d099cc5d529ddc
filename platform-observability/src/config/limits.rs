use opentelemetry_sdk::trace::SpanLimits;

use super::env::Env;
use crate::error::Error;

/// The maximum size of a span, its events and links, or a log record; the excess is dropped.
///
/// The defaults are those of OpenTelemetry's specification: 128 attributes, events and links each,
/// and values of any length. An environment variable, such as `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`,
/// overrides the limits that are set here.
///
/// ```
/// let limits = platform_observability::Limits::default().attribute_value_length(1024);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "pass it to the builder"]
pub struct Limits {
    pub(crate) spans: SpanLimits,
    pub(crate) log_attributes: usize,
    /// In characters.
    pub(crate) span_value_length: Option<usize>,
    /// In characters.
    pub(crate) log_value_length: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spans: SpanLimits::default(),
            log_attributes: 128,
            span_value_length: None,
            log_value_length: None,
        }
    }
}

impl Limits {
    /// The maximum number of attributes of a span, a span's event or link, or a log record.
    pub fn attributes(mut self, max: u32) -> Self {
        self.spans.max_attributes_per_span = max;
        self.spans.max_attributes_per_event = max;
        self.spans.max_attributes_per_link = max;
        self.log_attributes = to_usize(max);
        self
    }

    /// The maximum length of an attribute's text, in characters; longer text is truncated.
    pub fn attribute_value_length(mut self, max: usize) -> Self {
        self.span_value_length = Some(max);
        self.log_value_length = Some(max);
        self
    }

    /// The maximum number of events of a span.
    pub fn span_events(mut self, max: u32) -> Self {
        self.spans.max_events_per_span = max;
        self
    }

    /// The maximum number of links of a span.
    pub fn span_links(mut self, max: u32) -> Self {
        self.spans.max_links_per_span = max;
        self
    }

    /// Applies the environment. A variable for spans or log records overrides the one for all
    /// attributes.
    pub(super) fn or_environment(mut self, env: Env<'_>) -> Result<Self, Error> {
        let limit = |variable| limit(env, variable);
        if let Some(max) = limit("OTEL_ATTRIBUTE_COUNT_LIMIT")? {
            self = self.attributes(max);
        }
        if let Some(max) = limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")? {
            self = self.attribute_value_length(to_usize(max));
        }
        if let Some(max) = limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")? {
            self.spans.max_attributes_per_span = max;
        }
        if let Some(max) = limit("OTEL_SPAN_EVENT_COUNT_LIMIT")? {
            self.spans.max_events_per_span = max;
        }
        if let Some(max) = limit("OTEL_SPAN_LINK_COUNT_LIMIT")? {
            self.spans.max_links_per_span = max;
        }
        if let Some(max) = limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")? {
            self.spans.max_attributes_per_event = max;
        }
        if let Some(max) = limit("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT")? {
            self.spans.max_attributes_per_link = max;
        }
        if let Some(max) = limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")? {
            self.span_value_length = Some(to_usize(max));
        }
        if let Some(max) = limit("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT")? {
            self.log_attributes = to_usize(max);
        }
        if let Some(max) = limit("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT")? {
            self.log_value_length = Some(to_usize(max));
        }
        Ok(self)
    }
}

fn limit(env: Env<'_>, variable: &str) -> Result<Option<u32>, Error> {
    let max = env.integer(
        variable,
        0..=u32::MAX.into(),
        "which is not a limit",
        "set it to a number from 0 to 4294967295, or unset it",
    )?;
    Ok(max.and_then(|max| u32::try_from(max).ok()))
}

fn to_usize(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}
