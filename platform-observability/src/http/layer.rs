use std::sync::Arc;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use tower_layer::Layer;

use super::HttpService;

/// Puts the [observation of HTTP requests](crate::http) around a router; made by
/// [`Telemetry::layer`](crate::Telemetry::layer).
#[derive(Clone, Debug)]
pub struct HttpLayer {
    pub(super) shared: Arc<Shared>,
}

/// What all requests share: made once, as making an instrument or taking the global propagator
/// costs more than using it.
pub(super) struct Shared {
    pub(super) duration: Histogram<f64>,
    pub(super) propagator: Box<dyn TextMapPropagator + Send + Sync>,
}

/// The boundaries that the semantic conventions advise, in seconds.
const BOUNDARIES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

impl HttpLayer {
    pub(crate) fn new(meter: &Meter, propagator: TextMapCompositePropagator) -> Self {
        let duration = meter
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_description("Duration of HTTP server requests.")
            .with_boundaries(BOUNDARIES.to_vec())
            .build();
        Self {
            shared: Arc::new(Shared {
                duration,
                propagator: Box::new(propagator),
            }),
        }
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> HttpService<S> {
        HttpService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}
