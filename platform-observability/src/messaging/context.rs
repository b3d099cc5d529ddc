use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};

use super::headers::MessageHeaders;
use crate::propagation;

/// Writes the context of the current span, and the baggage, into a message's headers. It replaces
/// another span's context.
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
