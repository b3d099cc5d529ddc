use std::sync::Arc;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use ipnet::IpNet;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower_layer::Layer;

use super::HttpService;
use super::endpoint::Endpoints;
use super::methods::Methods;
use super::proxies::{ForwardedBy, TrustedProxies};
use super::request_id::X_REQUEST_ID;
use crate::propagation::Propagation;
use crate::query::Redaction;
use crate::telemetry::SCOPE;
use crate::tracer::Tracer;

/// Records each request: a span, metrics and a request id. See [the module](super).
///
/// Made by [`Telemetry::layer`](crate::Telemetry::layer).
#[derive(Clone, Debug)]
pub struct HttpLayer {
    shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) endpoints: Arc<Endpoints>,
    /// None where nothing is traced.
    pub(super) tracer: Option<Tracer>,
    pub(super) propagation: Propagation,
    pub(super) sampling: Sampling,
    pub(super) methods: Methods,
    /// Whether each request is a line on the console.
    pub(super) shows_requests: bool,
    pub(super) options: Options,
}

/// What is known of the sampler; where it is not known, the sampler is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampling {
    /// Whether it decides as the caller did, where there is one.
    pub(crate) follows_callers: bool,
    /// Whether it samples every trace that begins here.
    pub(crate) keeps_roots: bool,
}

/// What a service may choose.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) public_endpoint: bool,
    pub(super) answers_trace: bool,
    pub(super) proxies: TrustedProxies,
    pub(super) query: Redaction,
    /// With the attribute's name of each.
    pub(super) request_headers: Vec<(HeaderName, String)>,
    pub(super) response_headers: Vec<(HeaderName, String)>,
}

impl HttpLayer {
    pub(crate) fn new(
        meter: &Meter,
        tracer: Option<Tracer>,
        propagation: Propagation,
        sampling: Sampling,
        shows_requests: bool,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                endpoints: Arc::new(Endpoints::new(meter)),
                tracer,
                propagation,
                sampling,
                methods: Methods::default(),
                shows_requests,
                options: Options::default(),
            }),
        }
    }

    /// Tells these methods apart.
    pub(crate) fn methods(mut self, methods: Methods) -> Self {
        Arc::make_mut(&mut self.shared).methods = methods;
        self
    }

    /// The layer of a service that set OpenTelemetry up by itself, with W3C Trace Context and
    /// Baggage. Others have it from [`Telemetry::layer`](crate::Telemetry::layer).
    #[must_use]
    pub fn of_providers(tracer: &SdkTracerProvider, meter: &SdkMeterProvider) -> Self {
        let tracer = Some(Tracer::of(tracer, SCOPE));
        let propagation = Propagation::new(true, true);
        let sampling = Sampling::default();
        Self::new(&meter.meter(SCOPE), tracer, propagation, sampling, false)
    }

    /// Says that the tracer's sampler is `ParentBased(AlwaysOn)`, OpenTelemetry's default. A span
    /// that its caller did not sample is then not even begun, which saves most of its cost. Not
    /// needed after [`Telemetry::layer`](crate::Telemetry::layer), which knows.
    #[must_use]
    pub fn parent_based(mut self) -> Self {
        Arc::make_mut(&mut self.shared).sampling = Sampling {
            follows_callers: true,
            keeps_roots: true,
        };
        self
    }

    /// For a service that anybody can call: each request starts a trace of its own, with a link
    /// to the caller's. By default the caller's trace goes on.
    #[must_use]
    pub fn public_endpoint(mut self) -> Self {
        self.options().public_endpoint = true;
        self
    }

    /// Says the trace's id on each response, in the header `traceresponse` (W3C Trace Context
    /// Level 2, appendix). By default it does not.
    #[must_use]
    pub fn answer_trace_id(mut self) -> Self {
        self.options().answers_trace = true;
        self
    }

    /// The networks of the proxies in front of the service, such as `10.0.0.0/8`, and the headers
    /// that these write. They are believed on who the client is: `client.address` is the last
    /// address that no such proxy has, and `url.scheme`, `server.address` and `server.port` are
    /// what the client asked for, as far as the proxies tell. Whoever else sends these headers is
    /// not believed. By default there are no proxies.
    ///
    /// A proxy that does not write `X-Forwarded-Proto` or `X-Forwarded-Host` may pass on what the
    /// client sent; its address it cannot choose.
    #[must_use]
    pub fn trusted_proxies(
        mut self,
        networks: impl IntoIterator<Item = IpNet>,
        by: ForwardedBy,
    ) -> Self {
        self.options().proxies.trust(networks, by);
        self
    }

    /// The query parameters whose values may be recorded in `url.query`, such as `page`. Every
    /// other value is recorded as `REDACTED`, and so are credentials
    /// ([`SENSITIVE_QUERY_PARAMETERS`](crate::client::SENSITIVE_QUERY_PARAMETERS)), named here or
    /// not. Names are case-sensitive.
    #[must_use]
    pub fn record_query_values_of<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            self.options().query.allow(name);
        }
        self
    }

    /// The request headers to record, as `http.request.header.<name>`; by default none but
    /// `User-Agent` and the request's id. `Authorization`, `Proxy-Authorization` and `Cookie` are
    /// never recorded, even if they are named here.
    #[must_use]
    pub fn record_request_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().filter(|name| name != X_REQUEST_ID);
        let chosen = &mut self.options().request_headers;
        choose(chosen, "http.request.header.", names);
        self
    }

    /// The response headers to record, as `http.response.header.<name>`; by default none.
    /// `Set-Cookie` is never recorded, even if it is named here.
    #[must_use]
    pub fn record_response_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let chosen = &mut self.options().response_headers;
        choose(chosen, "http.response.header.", names);
        self
    }

    fn options(&mut self) -> &mut Options {
        &mut Arc::make_mut(&mut self.shared).options
    }
}

/// Adds `names` to those that are `chosen`, each once.
fn choose(
    chosen: &mut Vec<(HeaderName, String)>,
    prefix: &str,
    names: impl IntoIterator<Item = HeaderName>,
) {
    const SECRET: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE];
    for name in names {
        let is_new = chosen.iter().all(|(known, _)| *known != name);
        if is_new && !SECRET.contains(&name) {
            let attribute = format!("{prefix}{name}");
            chosen.push((name, attribute));
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
