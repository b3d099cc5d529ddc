use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};

use crate::propagation;

/// The headers of a message.
pub trait MessageHeaders {
    /// The values of a header, without those that are not text. The name is case-insensitive, as
    /// clients in other languages may write `Traceparent`.
    fn get_all(&self, name: &str) -> Vec<&str>;

    /// The names of all headers.
    fn names(&self) -> Vec<&str>;

    /// Replaces the values of a header. An invalid name or value is ignored.
    fn set(&mut self, name: &str, value: &str);

    /// Removes a header. The name is case-insensitive.
    fn remove(&mut self, name: &str);
}

impl MessageHeaders for http::HeaderMap {
    fn get_all(&self, name: &str) -> Vec<&str> {
        let values = http::HeaderMap::get_all(self, name).iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(http::HeaderName::as_str).collect()
    }

    fn set(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(name.as_bytes()),
            http::HeaderValue::from_str(value),
        ) {
            self.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        http::HeaderMap::remove(self, name);
    }
}

#[cfg(feature = "nats")]
impl MessageHeaders for async_nats::HeaderMap {
    fn get_all(&self, name: &str) -> Vec<&str> {
        // async-nats's `get_all` panics on an invalid name. An exact match takes precedence, as a
        // forwarded message may have the header in both cases.
        let find =
            |is: fn(&str, &str) -> bool| self.iter().find(|(known, _)| is(as_text(known), name));
        let found = find(|a, b| a == b).or_else(|| find(str::eq_ignore_ascii_case));
        let values = found.into_iter().flat_map(|(_, values)| values);
        values.map(async_nats::HeaderValue::as_str).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.iter().map(|(name, _)| as_text(name)).collect()
    }

    fn set(&mut self, name: &str, value: &str) {
        // async-nats parses an empty name, and its `insert` panics on an invalid name or value.
        if name.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (
            name.parse::<async_nats::HeaderName>(),
            value.parse::<async_nats::HeaderValue>(),
        ) {
            self.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        // async-nats has no method that removes a header.
        let all = std::mem::take(self);
        for (known, values) in all.iter() {
            if !as_text(known).eq_ignore_ascii_case(name) {
                for value in values {
                    self.append(known.clone(), value.clone());
                }
            }
        }
    }
}

#[cfg(feature = "nats")]
fn as_text(name: &async_nats::HeaderName) -> &str {
    name.as_ref()
}

/// Writes the context of the current span, and the baggage, into a message's headers. A context
/// that they already contain is replaced.
pub fn inject<H: MessageHeaders>(headers: &mut H) {
    let context = Context::current();
    global::get_text_map_propagator(|propagator| {
        if propagation::replaces_tracestate(propagator, &context) {
            headers.remove(propagation::TRACESTATE.as_str());
        }
        propagator.inject_context(&context, &mut Carrier(&mut *headers));
    });
}

/// Reads the context that [`inject`] wrote. If it is missing or malformed, the returned context has
/// no span.
#[must_use]
pub fn extract<H: MessageHeaders>(headers: &H) -> Context {
    global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &Carrier(headers))
    })
}

struct Carrier<H>(H);

impl<H: MessageHeaders> Injector for Carrier<&mut H> {
    fn set(&mut self, key: &str, value: String) {
        self.0.set(key, &value);
    }
}

impl<H: MessageHeaders> Extractor for Carrier<&H> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get_all(key).first().copied()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        Some(self.0.get_all(key))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.names()
    }
}
