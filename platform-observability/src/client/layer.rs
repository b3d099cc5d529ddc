use std::sync::Arc;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderInjector;
use tower_layer::Layer;

use super::HttpClientService;
use super::hosts::Hosts;
use super::in_flight::InFlight;
use super::target::{Host, Target};
use crate::http::Methods;
use crate::propagation::{self, Propagation, TRACESTATE};
use crate::query::Redaction;

/// Records each request that is sent: a span and a duration. See [the module](super).
///
/// Made by [`Telemetry::client_layer`](crate::Telemetry::client_layer). Clones share nothing but
/// the instruments, so each may be set differently.
#[derive(Clone, Debug)]
pub struct HttpClientLayer {
    shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) duration: Histogram<f64>,
    propagator: Arc<Propagation>,
    methods: Methods,
    hosts: Hosts,
    pub(super) redaction: Redaction,
}

impl HttpClientLayer {
    pub(crate) fn new(meter: &Meter, propagator: Propagation) -> Self {
        let duration = meter
            .f64_histogram("http.client.request.duration")
            .with_unit("s")
            .with_description("Duration of HTTP client requests.")
            // The boundaries that the conventions advise.
            .with_boundaries(vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ])
            .build();
        Self {
            shared: Arc::new(Shared {
                duration,
                propagator: Arc::new(propagator),
                methods: Methods::default(),
                hosts: Hosts::default(),
                redaction: Redaction::default(),
            }),
        }
    }

    /// Tells these methods apart.
    pub(crate) fn methods(mut self, methods: Methods) -> Self {
        Arc::make_mut(&mut self.shared).methods = methods;
        self
    }

    /// Sends the trace's context and the baggage, by `OTEL_PROPAGATORS`, to these hosts also:
    /// `api.example.org` is that host, `.example.org` all hosts below it, but not itself. On any
    /// port, in any case of letters. By default it is sent to none. The host is the URL's: a request
    /// without one, which goes over a connection of the service's own, tells nobody.
    ///
    /// What is no host, such as a URL, matches nothing and is logged as a warning.
    #[must_use]
    pub fn propagate_to<H: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        for host in hosts {
            shared.hosts.add(host.as_ref());
        }
        self
    }

    /// Records the values of these query parameters also, unless they are
    /// [sensitive](super::SENSITIVE_QUERY_PARAMETERS). Names are compared decoded and exactly. By
    /// default no value is recorded.
    #[must_use]
    pub fn record_query_values_of<P: AsRef<str>>(
        mut self,
        parameters: impl IntoIterator<Item = P>,
    ) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        for parameter in parameters {
            shared.redaction.allow(parameter.as_ref());
        }
        self
    }

    /// Records the values of all query parameters but the
    /// [sensitive](super::SENSITIVE_QUERY_PARAMETERS) ones. Only where no query says anything about
    /// a person.
    #[must_use]
    pub fn record_query_values(mut self) -> Self {
        Arc::make_mut(&mut self.shared).redaction.allow_all();
        self
    }

    /// Takes these query parameters for sensitive, in any case of letters, instead of
    /// [the default ones](super::SENSITIVE_QUERY_PARAMETERS): their values are never recorded.
    #[must_use]
    pub fn sensitive_query_parameters<P: AsRef<str>>(
        mut self,
        parameters: impl IntoIterator<Item = P>,
    ) -> Self {
        let parameters = parameters.into_iter().map(|name| name.as_ref().into());
        let shared = Arc::make_mut(&mut self.shared);
        shared.redaction.set_sensitive(parameters.collect());
        self
    }

    /// What the method of a request is told apart as.
    pub(super) fn method_name(&self, method: &http::Method) -> &'static str {
        self.shared.methods.name(method)
    }

    /// Starts to record a request, and tells its host the context if it may.
    pub(super) fn start(&self, target: &Target<'_>) -> (InFlight, Option<Injection<'_>>) {
        let in_flight = InFlight::start(Arc::clone(&self.shared), target);
        // Not by a `Host` header, which a service that passes requests on has from its caller.
        let told = match &target.host {
            Some(Host::Url(host, _)) => self.shared.hosts.contain(host),
            Some(Host::Header(_)) | None => false,
        };
        let injection = told.then(|| Injection {
            propagator: &self.shared.propagator,
            context: in_flight.context(),
        });
        (in_flight, injection)
    }
}

/// What a host is told.
pub(super) struct Injection<'a> {
    propagator: &'a Propagation,
    context: opentelemetry::Context,
}

impl Injection<'_> {
    pub(super) fn into_headers(self, headers: &mut http::HeaderMap) {
        if propagation::replaces_state(self.propagator, &self.context) {
            headers.remove(&TRACESTATE);
        }
        let mut headers = HeaderInjector(headers);
        self.propagator.inject_context(&self.context, &mut headers);
    }
}

impl<S> Layer<S> for HttpClientLayer {
    type Service = HttpClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpClientService {
            inner,
            layer: self.clone(),
        }
    }
}
