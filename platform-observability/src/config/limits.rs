use opentelemetry_sdk::trace::SpanLimits;

use super::Variables;
use crate::Error;

/// How much a span, an event of it or a log record may hold; the rest is dropped.
///
/// By default, and by OpenTelemetry's specification, 128 attributes, events and links each, and values
/// of any length. A variable of the environment, such as `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, goes
/// before what is set here.
///
/// ```
/// let limits = platform_observability::Limits::default().attribute_value_length(1024);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "it does nothing before it is given to the builder"]
pub struct Limits {
    pub(crate) spans: SpanLimits,
    pub(crate) log_attributes: usize,
    /// In characters.
    pub(crate) span_value_length: Option<usize>,
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
    /// How many attributes a span, an event or link of it, or a log record has at most.
    pub fn attributes(mut self, most: u32) -> Self {
        self.spans.max_attributes_per_span = most;
        self.spans.max_attributes_per_event = most;
        self.spans.max_attributes_per_link = most;
        self.log_attributes = as_size(most);
        self
    }

    /// How many characters of an attribute's text are kept.
    pub fn attribute_value_length(mut self, most: usize) -> Self {
        self.span_value_length = Some(most);
        self.log_value_length = Some(most);
        self
    }

    /// How many events a span has at most.
    pub fn span_events(mut self, most: u32) -> Self {
        self.spans.max_events_per_span = most;
        self
    }

    /// How many links a span has at most.
    pub fn span_links(mut self, most: u32) -> Self {
        self.spans.max_links_per_span = most;
        self
    }

    /// The same, but for what the environment says. A variable for all attributes counts where
    /// there is none for those of spans or log records.
    pub(super) fn or_environment(mut self, variables: Variables<'_>) -> Result<Self, Error> {
        if let Some(most) = read(variables, "OTEL_ATTRIBUTE_COUNT_LIMIT")? {
            self = self.attributes(most);
        }
        if let Some(most) = read(variables, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")? {
            self = self.attribute_value_length(as_size(most));
        }
        let spans = &mut self.spans;
        for (variable, limit) in [
            (
                "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
                &mut spans.max_attributes_per_span,
            ),
            (
                "OTEL_SPAN_EVENT_COUNT_LIMIT",
                &mut spans.max_events_per_span,
            ),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", &mut spans.max_links_per_span),
            (
                "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
                &mut spans.max_attributes_per_event,
            ),
            (
                "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
                &mut spans.max_attributes_per_link,
            ),
        ] {
            *limit = read(variables, variable)?.unwrap_or(*limit);
        }
        let size = |variable| Ok::<_, Error>(read(variables, variable)?.map(as_size));
        if let Some(most) = size("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")? {
            self.span_value_length = Some(most);
        }
        if let Some(most) = size("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT")? {
            self.log_attributes = most;
        }
        if let Some(most) = size("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT")? {
            self.log_value_length = Some(most);
        }
        Ok(self)
    }
}

fn read(variables: Variables<'_>, variable: &str) -> Result<Option<u32>, Error> {
    let most = variables.number(
        variable,
        0..=u32::MAX.into(),
        "which is no limit",
        "set it to a number from 0 to 4294967295, or unset it",
    )?;
    Ok(most.and_then(|most| u32::try_from(most).ok()))
}

fn as_size(most: u32) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}
