use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry_semantic_conventions::metric;
use tower_layer::Layer;

use super::hosts::Hosts;
use super::in_flight::ClientState;
use super::service::HttpClientService;
use crate::http::common::{KnownMethods, QueryRedaction};
use crate::instrumentation::duration_histogram;
use crate::propagation::Propagator;

/// Records each sent request, by OpenTelemetry's stable HTTP semantic conventions for clients: a
/// span and a duration.
///
/// [`Telemetry::client_layer`](crate::Telemetry::client_layer) creates it. It wraps any
/// [`tower_service::Service`] of `http` requests, such as hyper-util's client. It belongs inside
/// layers that retry or follow redirects: then each attempt is a span. Clones share only their
/// instruments, and can have different settings.
///
/// # When each hook is called
///
/// - **When a request is sent**, a client span `{method}`, or `{method} {url.template}` if the
///   request has the extension [`UrlTemplate`](crate::http::UrlTemplate), starts as a child of the
///   current span. The sampler sees its name; the attributes are added after that.
/// - **When the response's head arrives**, the span gets the status and ends, and
///   `http.client.request.duration` (seconds) is recorded. Neither waits for the body. Status codes
///   from 400 on are errors, with the code as `error.type`. `network.peer.address` is recorded if
///   the client reports it, as hyper-util's and reqwest's do.
/// - **When there is no response**, `error.type` is the name of the error's Rust type, without its
///   message.
/// - **When the caller stops waiting**, as a timeout around this layer does, `error.type` is
///   `cancelled`.
/// - **When the client panics**, `error.type` is `panic`, and the panic continues.
///
/// # Which hosts receive the trace's context
///
/// The trace's context and the baggage are sent only to the hosts of
/// [`propagate_to`](Self::propagate_to), by default to none: trace ids and baggage do not concern
/// third parties. Context headers that a request already has are left unchanged for other hosts.
/// A client below this layer that follows redirects also sends the headers to the new host.
///
/// # What is recorded
///
/// Headers and bodies are never recorded. `url.full` contains scheme, host, port and path
/// unchanged, so keep personal data out of paths; `REDACTED:REDACTED@` for a user and password;
/// and the names of query parameters, with `REDACTED` for their values.
/// [`record_query_parameters`](Self::record_query_parameters) and
/// [`record_all_query_parameters`](Self::record_all_query_parameters) record values, except for
/// [sensitive parameters](crate::http::SENSITIVE_QUERY_PARAMETERS). The fragment is omitted.
///
/// The duration has the attributes `http.request.method`, `server.address`, `server.port` and, if
/// set, the template. A client whose hosts are chosen by users therefore creates metrics with high
/// cardinality.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use platform_observability::Telemetry;
/// use platform_observability::http::UrlTemplate;
/// use tower::{Layer, Service, ServiceExt};
///
/// # async fn example(
/// #     telemetry: Telemetry,
/// #     client: impl Service<Request<String>, Response = Response<String>, Error = std::io::Error>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// // `client` may be hyper-util's, or any service of `http` requests.
/// let mut client = telemetry
///     .client_layer()
///     .propagate_to(["api.example.org", ".internal.example.org"])
///     .layer(client);
///
/// let request = Request::get("https://api.example.org/entries/7?page=2")
///     .extension(UrlTemplate("/entries/{id}"))
///     .body(String::new())?;
/// let response = client.ready().await?.call(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// With the feature `reqwest-middleware`, the layer is a middleware for [`reqwest`] clients:
///
#[cfg_attr(feature = "reqwest-middleware", doc = "```")]
#[cfg_attr(not(feature = "reqwest-middleware"), doc = "```text")]
/// use platform_observability::Telemetry;
/// use platform_observability::http::UrlTemplate;
///
/// # async fn example(telemetry: Telemetry) -> Result<(), Box<dyn std::error::Error>> {
/// let layer = telemetry.client_layer().propagate_to(["api.example.org"]);
/// let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
///     .with(layer) // last, inside the middleware that retries
///     .build();
///
/// let request = client.get("https://api.example.org/entries/7");
/// let response = request.with_extension(UrlTemplate("/entries/{id}")).send().await?;
/// # Ok(())
/// # }
/// ```
///
/// reqwest follows redirects internally, so a chain of redirects is one span with the URL of the
/// first request and the peer of the last response, and the context for the first host is also
/// sent to the others. To prevent that, disable redirects with
/// `reqwest::redirect::Policy::none()`. `error.type` is one of `timeout`, `connect`, `redirect`,
/// `body`, `decode`, `builder` and `request`, a status code that an inner middleware turned into
/// an error, or `reqwest_middleware::Error` for an inner middleware's own error.
#[derive(Clone, Debug)]
pub struct HttpClientLayer {
    pub(super) state: Arc<ClientState>,
}

impl HttpClientLayer {
    pub(crate) fn new(meter: &Meter, propagator: Propagator) -> Self {
        let description = "Duration of HTTP client requests.";
        Self {
            state: Arc::new(ClientState {
                duration: duration_histogram(
                    meter,
                    metric::HTTP_CLIENT_REQUEST_DURATION,
                    description,
                ),
                propagator: Arc::new(propagator),
                methods: KnownMethods::default(),
                hosts: Hosts::default(),
                redaction: QueryRedaction::default(),
            }),
        }
    }

    pub(crate) fn known_methods(mut self, methods: KnownMethods) -> Self {
        Arc::make_mut(&mut self.state).methods = methods;
        self
    }

    /// Sends the trace's context and the baggage, in the formats of `OTEL_PROPAGATORS`, to these
    /// hosts. `api.example.org` matches this host, and `.example.org` all subdomains of
    /// `example.org`, but not `example.org`. Ports and case are ignored. By default no host receives
    /// the context.
    ///
    /// The host is taken from the URL. A request whose URL has no host receives no context; such
    /// requests are sent on connections that the service manages itself.
    ///
    /// Text that is not a host, such as a URL, matches nothing and is logged as a warning.
    #[must_use]
    pub fn propagate_to<H: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        let state = Arc::make_mut(&mut self.state);
        for host in hosts {
            state.hosts.add(host.as_ref());
        }
        self
    }

    /// Records the values of these query parameters, unless they are
    /// [sensitive](crate::http::SENSITIVE_QUERY_PARAMETERS). Decoded names are compared, and case
    /// matters. By default no value is recorded.
    #[must_use]
    pub fn record_query_parameters<P: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = P>,
    ) -> Self {
        let state = Arc::make_mut(&mut self.state);
        for name in names {
            state.redaction.allow(name.as_ref());
        }
        self
    }

    /// Records the values of all query parameters except for
    /// [sensitive](crate::http::SENSITIVE_QUERY_PARAMETERS) ones. Use it only if no query contains
    /// personal data.
    #[must_use]
    pub fn record_all_query_parameters(mut self) -> Self {
        Arc::make_mut(&mut self.state).redaction.allow_all();
        self
    }

    /// Replaces the [default list](crate::http::SENSITIVE_QUERY_PARAMETERS) of query parameters
    /// whose values are never recorded. Names are case-insensitive.
    #[must_use]
    pub fn sensitive_query_parameters<P: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = P>,
    ) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().into());
        let state = Arc::make_mut(&mut self.state);
        state.redaction.set_sensitive(names.collect());
        self
    }
}

impl<S> Layer<S> for HttpClientLayer {
    type Service = HttpClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpClientService {
            inner,
            state: Arc::clone(&self.state),
        }
    }
}
