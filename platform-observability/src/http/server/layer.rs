use std::sync::Arc;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use ipnet::IpNet;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower_layer::Layer;

use super::proxies::ForwardedBy;
use super::request_id::X_REQUEST_ID;
use super::route::RouteCache;
use super::service::HttpService;
use super::state::{Options, SamplingHint, ServerState};
use crate::http::common::KnownMethods;
use crate::instrumentation::SCOPE;
use crate::propagation::Propagator;
use crate::tracer::Tracer;

/// Records each received request, by OpenTelemetry's stable HTTP semantic conventions: a span,
/// metrics and a request id.
///
/// [`Telemetry::layer`](crate::Telemetry::layer) creates it. It belongs outside all other layers and inside axum's routing,
/// that is, in the last call of `Router::layer`: there the route is known. Requests that match no
/// route, and services without routes, are recorded without `http.route`. Add it only once: a
/// second layer, for example on a nested router, records each request again.
///
/// # When each hook is called
///
/// - **When the request arrives**, a server span `{method} {route}` starts as a child of the span
///   in the `traceparent` header or, for a [public endpoint](Self::public_endpoint), linked to it.
///   The request keeps its `x-request-id` if that is at most 128 visible ASCII characters, and
///   gets a UUID otherwise. `http.server.active_requests` counts the request.
/// - **While the request is handled**, and while its body is produced, the span is OpenTelemetry's
///   current span: the parent of `tracing`'s spans, and the span of its events. To add to it:
///   `opentelemetry::trace::get_active_span(|span| span.set_attribute(…))`.
/// - **When the response's head is ready**, it gets the request's `x-request-id` and, if
///   [enabled](Self::send_traceresponse), `traceresponse`.
/// - **When the body has been sent**, the span ends, and the metrics are recorded:
///   `http.server.request.duration` (seconds), `http.server.request.body.size` and
///   `http.server.response.body.size` (bytes at this layer, before any outer compression). Status
///   codes from 500 on are errors, and so is a failing body, whose `error.type` is the Rust type of
///   its error.
/// - **When the handler panics**, the client receives 500 as problem+json (RFC 9457), an error is
///   logged, and `error.type` is `panic`. A panic of the body aborts the connection.
/// - **When the client disconnects**, before the head or during the body, `error.type` is
///   `cancelled`.
///
/// The metric's duration ends with the response's head, the span with its body. So an event stream
/// that stays open for hours, or a slow download, does not distort the latencies. The
/// duration is recorded when the body ends; until then the request counts as active.
///
/// A request that is neither traced nor shown on the console, and whose response body is in
/// memory, ends with the head: nothing that is recorded differs, and it costs less.
///
/// # What is recorded
///
/// Query parameters are recorded by name, and by value only if
/// [allowed](Self::record_query_parameters). Headers are not recorded, except for `User-Agent`,
/// the request's id, and [selected](Self::record_request_headers) ones. An attribute that the
/// client controls is truncated at 4 KiB. The size of a request's body is known where the body is
/// axum's, as in a `Router`.
#[derive(Clone, Debug)]
pub struct HttpLayer {
    state: Arc<ServerState>,
}

impl HttpLayer {
    pub(crate) fn new(
        meter: &Meter,
        tracer: Option<Tracer>,
        propagator: Propagator,
        sampling: SamplingHint,
        has_console: bool,
    ) -> Self {
        Self {
            state: Arc::new(ServerState {
                routes: Arc::new(RouteCache::new(meter)),
                tracer,
                propagator,
                sampling,
                methods: KnownMethods::default(),
                has_console,
                options: Options::default(),
            }),
        }
    }

    pub(crate) fn known_methods(mut self, methods: KnownMethods) -> Self {
        Arc::make_mut(&mut self.state).methods = methods;
        self
    }

    /// A layer for a service that sets up OpenTelemetry itself, with W3C Trace Context and W3C
    /// Baggage. Other services use [`Telemetry::layer`](crate::Telemetry::layer).
    #[must_use]
    pub fn from_providers(tracer: &SdkTracerProvider, meter: &SdkMeterProvider) -> Self {
        let tracer = Some(Tracer::new(tracer, SCOPE));
        let propagator = Propagator::new(true, true);
        let sampling = SamplingHint::default();
        Self::new(&meter.meter(SCOPE), tracer, propagator, sampling, false)
    }

    /// States that the tracer's sampler is `ParentBased(AlwaysOn)`, OpenTelemetry's default. Then
    /// no span is started for a request that its caller did not sample, which saves most of the
    /// cost. Layers from [`Telemetry::layer`](crate::Telemetry::layer) know their sampler.
    #[must_use]
    pub fn parent_based(mut self) -> Self {
        Arc::make_mut(&mut self.state).sampling = SamplingHint {
            parent_based: true,
            samples_all_roots: true,
        };
        self
    }

    /// Starts a new trace for each request, linked to the caller's; for a service that untrusted
    /// clients call. By default the caller's trace is continued.
    #[must_use]
    pub fn public_endpoint(mut self) -> Self {
        self.options().public_endpoint = true;
        self
    }

    /// Sets the header `traceresponse` with the trace's id on each response (W3C Trace Context
    /// Level 2, appendix). By default it is not set.
    #[must_use]
    pub fn send_traceresponse(mut self) -> Self {
        self.options().sends_traceresponse = true;
        self
    }

    /// Trusts the proxies in `networks`, such as `10.0.0.0/8`, and the kind of headers that they
    /// set, `by`. `client.address` is then the last address that is not one of these proxies, and
    /// `url.scheme`, `server.address` and `server.port` are those of the client's request, as far
    /// as the proxies report them. The headers are ignored on connections from other addresses. By
    /// default no proxies are trusted.
    ///
    /// A proxy that does not set `X-Forwarded-Proto` or `X-Forwarded-Host` may forward the client's
    /// own header, so the client can choose these two values. It cannot choose its address.
    #[must_use]
    pub fn trusted_proxies(
        mut self,
        networks: impl IntoIterator<Item = IpNet>,
        by: ForwardedBy,
    ) -> Self {
        self.options().proxies.trust(networks, by);
        self
    }

    /// Records the values of these query parameters, such as `page`, in `url.query`. All other
    /// values are recorded as `REDACTED`, and credentials
    /// ([`SENSITIVE_QUERY_PARAMETERS`](crate::http::SENSITIVE_QUERY_PARAMETERS)) even if they are
    /// named here. Names are case-sensitive.
    #[must_use]
    pub fn record_query_parameters<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            self.options().query.allow(name);
        }
        self
    }

    /// Records these request headers, as `http.request.header.<name>`. By default only
    /// `User-Agent` and the request's id are recorded. `Authorization`, `Proxy-Authorization` and
    /// `Cookie` are never recorded, even if they are named here.
    #[must_use]
    pub fn record_request_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().filter(|name| name != X_REQUEST_ID);
        let recorded = &mut self.options().request_headers;
        add_headers(recorded, "http.request.header.", names);
        self
    }

    /// Records these response headers, as `http.response.header.<name>`; by default none.
    /// `Set-Cookie` is never recorded, even if it is named here.
    #[must_use]
    pub fn record_response_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let recorded = &mut self.options().response_headers;
        add_headers(recorded, "http.response.header.", names);
        self
    }

    fn options(&mut self) -> &mut Options {
        &mut Arc::make_mut(&mut self.state).options
    }
}

/// Adds `names` without duplicates and without headers that contain secrets.
fn add_headers(
    recorded: &mut Vec<(HeaderName, String)>,
    prefix: &str,
    names: impl IntoIterator<Item = HeaderName>,
) {
    const SECRET: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE];
    for name in names {
        let is_new = recorded.iter().all(|(known, _)| *known != name);
        if is_new && !SECRET.contains(&name) {
            let attribute = format!("{prefix}{name}");
            recorded.push((name, attribute));
        }
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService {
            inner,
            state: Arc::clone(&self.state),
        }
    }
}
