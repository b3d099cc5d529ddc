use std::sync::Arc;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::propagation::TextMapCompositePropagator;
use tower_layer::Layer;

use super::HttpService;

/// Records each request: a span, a duration and a request id. See [the module](super).
///
/// Made by [`Telemetry::layer`](crate::Telemetry::layer).
#[derive(Clone, Debug)]
pub struct HttpLayer {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) duration: Histogram<f64>,
    pub(super) propagator: TextMapCompositePropagator,
    /// Whether each request is a line on the console.
    pub(super) shows_requests: bool,
}

impl HttpLayer {
    pub(crate) fn new(
        meter: &Meter,
        propagator: TextMapCompositePropagator,
        shows_requests: bool,
    ) -> Self {
        let duration = meter
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_description("Duration of HTTP server requests.")
            // The boundaries that the conventions advise.
            .with_boundaries(vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ])
            .build();
        Self {
            shared: Arc::new(Shared {
                duration,
                propagator,
                shows_requests,
            }),
        }
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}
