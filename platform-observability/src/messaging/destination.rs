use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute as attr;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The value of `messaging.system`.
pub(super) const SYSTEM: &str = "nats";

/// The prefix of reply subjects, unless a client sets another one.
const INBOX: &str = "_INBOX.";

/// The destination of a message: a NATS subject.
#[derive(Clone, Copy, Debug)]
#[must_use = "pass it to a function of this module"]
pub struct Destination<'a> {
    name: &'a str,
    template: Option<&'a str>,
    is_temporary: bool,
    server: Option<(&'a str, u16)>,
    group: Option<&'a str>,
}

impl<'a> Destination<'a> {
    /// A subject, such as `entries.booked`. It is part of the span's name, unless it is an inbox
    /// (`_INBOX.…`). If parts of it vary, set a [template](Self::template).
    pub fn new(subject: &'a str) -> Self {
        Self {
            name: subject,
            template: None,
            is_temporary: subject.starts_with(INBOX),
            server: None,
            group: None,
        }
    }

    /// Sets the template of the subject, such as `entries.{id}.booked`, for the span's name.
    pub fn template(mut self, template: &'a str) -> Self {
        self.template = Some(template);
        self
    }

    /// Marks the subject as temporary, like an inbox: it is not part of the span's name.
    pub fn temporary(mut self) -> Self {
        self.is_temporary = true;
        self
    }

    /// Sets `server.address` and `server.port`, which the client does not report.
    pub fn server(mut self, address: &'a str, port: u16) -> Self {
        self.server = Some((address, port));
        self
    }

    /// Sets the receiving queue group, `messaging.consumer.group.name`.
    pub fn consumer_group(mut self, name: &'a str) -> Self {
        self.group = Some(name);
        self
    }

    /// `{operation name} {destination}`, without a high-cardinality destination.
    pub(super) fn span_name(&self, operation: &str) -> String {
        let name = (!self.is_temporary).then_some(self.name);
        match self.template.or(name) {
            Some(destination) => format!("{operation} {destination}"),
            None => operation.to_owned(),
        }
    }

    /// The low-cardinality attributes, for metrics.
    pub(super) fn metric_attributes(&self) -> impl Iterator<Item = KeyValue> {
        let destination = match self.template {
            Some(template) => Some((attr::MESSAGING_DESTINATION_TEMPLATE, template)),
            None => (!self.is_temporary).then_some((attr::MESSAGING_DESTINATION_NAME, self.name)),
        };
        let destination = destination.map(|(key, value)| KeyValue::new(key, value.to_owned()));
        destination.into_iter().chain(self.server_and_group())
    }

    fn server_and_group(&self) -> impl Iterator<Item = KeyValue> {
        let server = self.server.map(|(address, port)| {
            [
                KeyValue::new(attr::SERVER_ADDRESS, address.to_owned()),
                KeyValue::new(attr::SERVER_PORT, i64::from(port)),
            ]
        });
        let group = self.group.map(str::to_owned);
        let group = group.map(|name| KeyValue::new(attr::MESSAGING_CONSUMER_GROUP_NAME, name));
        server.into_iter().flatten().chain(group)
    }

    pub(super) fn set_attributes(&self, span: &Span, operation: &'static str) {
        span.set_attribute(attr::MESSAGING_SYSTEM, SYSTEM);
        span.set_attribute(attr::MESSAGING_OPERATION_NAME, operation);
        span.set_attribute(attr::MESSAGING_OPERATION_TYPE, operation);
        span.set_attribute(attr::MESSAGING_DESTINATION_NAME, self.name.to_owned());
        if let Some(template) = self.template {
            span.set_attribute(attr::MESSAGING_DESTINATION_TEMPLATE, template.to_owned());
        }
        if self.is_temporary {
            span.set_attribute(attr::MESSAGING_DESTINATION_TEMPORARY, true);
        }
        for KeyValue { key, value, .. } in self.server_and_group() {
            span.set_attribute(key, value);
        }
    }
}

impl<'a> From<&'a str> for Destination<'a> {
    fn from(subject: &'a str) -> Self {
        Self::new(subject)
    }
}
