//! The attributes of spans and metrics.

use super::*;

#[tokio::test]
async fn a_request_has_a_server_span_by_the_conventions() {
    let capture = Capture::start();
    let entries = Router::new().route(
        "/entries/{id}",
        post(async |_: Bytes| (StatusCode::CREATED, "made")),
    );
    let mut sent = with(
        request("POST", "/v1/entries/7?page=2&token=secret"),
        &[
            ("user-agent", "tests/1"),
            ("x-request-id", "mine"),
            ("content-length", "3"),
        ],
    );
    *sent.body_mut() = Body::from("abc");
    let layer = capture.layer().record_query_parameters(["page", "token"]);
    let (status, _) = send(layer, Router::new().nest("/v1", entries), sent).await;
    assert_eq!(status, 201);
    let span = capture.span("POST /v1/entries/{id}");
    assert_eq!(span.0.span_kind, SpanKind::Server);
    assert!(!span.failed());
    let id = Value::Array(Array::String(vec!["mine".into()]));
    span.has("http.request.method", "POST")
        .has("http.route", "/v1/entries/{id}")
        .has("http.response.status_code", 201)
        .has("url.path", "/v1/entries/7")
        .has("url.query", "page=2&token=REDACTED")
        .has("url.scheme", "http")
        .has("server.address", "ledger.example")
        .has("server.port", 8443)
        .has("network.protocol.version", "1.1")
        .has("user_agent.original", "tests/1")
        .has("http.request.header.x-request-id", id)
        .lacks("error.type");
    assert_eq!(
        span.0.attributes.len(),
        11,
        "no other attributes: {:#?}",
        span.0.attributes
    );

    for (instrument, sum) in [(REQUEST_SIZE, 3.0), (RESPONSE_SIZE, 4.0)] {
        let size = capture.point(instrument);
        size.has("http.route", "/v1/entries/{id}");
        assert_eq!((size.count, size.sum), (1, sum), "{instrument}");
    }
    let duration = duration(&capture);
    duration
        .has("http.request.method", "POST")
        .has("http.route", "/v1/entries/{id}")
        .has("http.response.status_code", 201)
        .has("url.scheme", "http")
        .has("network.protocol.version", "1.1")
        .lacks("error.type");
    assert_eq!(duration.attributes.len(), 5);
}

#[tokio::test]
async fn a_request_without_a_route_has_no_route_attribute_and_an_unknown_method_is_other() {
    let capture = Capture::start();
    send(capture.layer(), Router::new(), request("BREW", "/pot")).await;
    capture
        .span("HTTP")
        .has("http.request.method", "_OTHER")
        .has("http.request.method_original", "BREW")
        .lacks("http.route");
    duration(&capture)
        .has("http.request.method", "_OTHER")
        .lacks("http.route");
}

#[tokio::test]
async fn the_known_methods_can_be_configured() {
    for (method, name) in [("PURGE", "PURGE"), ("GET", "_OTHER"), ("purge", "_OTHER")] {
        let capture = Capture::start();
        let layer = capture
            .layer()
            .known_methods(KnownMethods::only(vec!["PURGE".parse().unwrap()]));
        send(layer, Router::new(), request(method, "/")).await;
        only_span(&capture).has("http.request.method", name);
        duration(&capture).has("http.request.method", name);
    }
}

#[tokio::test]
async fn only_selected_headers_are_recorded_and_never_secret_ones() {
    let capture = Capture::start();
    let name = HeaderName::from_static;
    let secret = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ]
    .map(name);
    let layer = capture
        .layer()
        .record_request_headers(secret.iter().cloned().chain([name("x-tenant")]))
        .record_request_headers([name("x-tenant"), name("x-request-id")])
        .record_response_headers(
            secret
                .iter()
                .cloned()
                .chain([name("x-shard"), name("x-none")]),
        );
    let router = Router::new().route(
        "/",
        get(async || {
            (
                [
                    ("set-cookie", "s3cret"),
                    ("x-shard", "7"),
                    ("x-other", "s3cret"),
                ],
                (),
            )
        }),
    );
    let sent = with(
        request("GET", "/"),
        &[
            ("authorization", "s3cret"),
            ("cookie", "s3cret"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
        ],
    );
    send(layer, router, sent).await;
    let span = capture.span("GET /");
    let list = |values: &[&'static str]| {
        Value::Array(Array::String(
            values.iter().map(|value| (*value).into()).collect(),
        ))
    };
    span.has("http.request.header.x-tenant", list(&["a", "b"]))
        .has("http.response.header.x-shard", list(&["7"]))
        .lacks("http.response.header.x-none");
    let span = format!("{span:?}");
    assert!(!span.contains("s3cret"));
    for once in ["header.x-tenant", "header.x-request-id"] {
        assert_eq!(span.matches(once).count(), 1, "{span}");
    }
}

/// This bounds the memory of a full queue of spans, whatever clients send.
#[tokio::test]
async fn attributes_that_a_client_controls_are_truncated() {
    let capture = Capture::start();
    let names = ["x-tenant", "x-short"].map(HeaderName::from_static);
    let layer = capture.layer().record_request_headers(names);
    let (long, third) = ("x".repeat(10_000), "x".repeat(3_000));
    let uri = format!("/{long}?{}", "a&".repeat(10_000));
    let mut sent = with(
        request("GET", &uri),
        &[
            ("user-agent", &*long),
            ("x-tenant", &*third),
            ("x-tenant", &*third),
        ],
    );
    for _ in 0..1000 {
        sent.headers_mut().append("x-short", "a".parse().unwrap());
    }
    sent.headers_mut().insert("host", long.parse().unwrap());
    *sent.method_mut() = long.parse().unwrap();
    send(layer, Router::new(), sent).await;
    let span = only_span(&capture);
    for name in [
        "url.path",
        "url.query",
        "user_agent.original",
        "server.address",
    ] {
        let text = span.get(name).unwrap().to_string();
        assert_eq!(text.len(), 4096, "{name}");
    }
    let method = span.get("http.request.method_original").unwrap();
    assert_eq!(method.to_string().len(), 4096);
    let values = |name: &str| match span.get(name) {
        Some(Value::Array(Array::String(values))) => values.len(),
        other => panic!("{name}: {other:?}"),
    };
    let tenants = values("http.request.header.x-tenant");
    assert_eq!(tenants, 1, "two together are too long");
    let short = values("http.request.header.x-short");
    assert!(short < 200, "{short} values, each with its overhead");
}

#[tokio::test]
async fn the_server_address_is_recorded_only_from_a_valid_host() {
    for (host, address, port) in [
        ("ledger.example", Some("ledger.example"), None),
        ("[::1]:80", Some("::1"), Some(80)),
        ("[::1]", Some("::1"), None),
        ("ledger.example:", Some("ledger.example"), None),
        ("ledger.example:99999", None, None),
        ("ledger.example:http", None, None),
        ("[::1", None, None),
        ("[::1]x", None, None),
        (":80", None, None),
        ("a/b", None, None),
        ("user@ledger.example", None, None),
        ("not a host", None, None),
    ] {
        let capture = Capture::start();
        let mut sent = request("GET", "/");
        sent.headers_mut().insert("host", host.parse().unwrap());
        send(capture.layer(), Router::new(), sent).await;
        let span = only_span(&capture);
        assert_eq!(
            span.get("server.address"),
            address.map(Value::from).as_ref(),
            "{host}"
        );
        assert_eq!(
            span.get("server.port"),
            port.map(Value::I64).as_ref(),
            "{host}"
        );
    }
}

#[tokio::test]
async fn an_http_3_request_has_protocol_version_3() {
    let capture = Capture::start();
    let mut sent = request("GET", "https://ledger.example/entries");
    *sent.version_mut() = axum::http::Version::HTTP_3;
    send(capture.layer(), Router::new(), sent).await;
    only_span(&capture).has("network.protocol.version", "3");
    duration(&capture).has("network.protocol.version", "3");
}

#[tokio::test]
async fn an_http_2_request_has_protocol_version_2_and_its_scheme_and_authority() {
    let capture = Capture::start();
    let mut sent = request("GET", "https://ledger.example:444/entries");
    *sent.version_mut() = axum::http::Version::HTTP_2;
    sent.headers_mut().remove("host");
    send(capture.layer(), Router::new(), sent).await;
    only_span(&capture)
        .has("network.protocol.version", "2")
        .has("url.scheme", "https")
        .has("server.address", "ledger.example")
        .has("server.port", 444);
    duration(&capture).has("url.scheme", "https");
}

#[tokio::test]
async fn client_scheme_and_host_are_the_connections_unless_a_trusted_proxy_reports_others() {
    let peer: std::net::SocketAddr = "192.0.2.7:5123".parse().unwrap();
    for (connected, trusted, client) in [
        (false, false, None),
        (true, false, Some("192.0.2.7")),
        (false, true, None),
        (true, true, Some("203.0.113.9")),
    ] {
        let capture = Capture::start();
        let forwarded = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:444"),
        ];
        let mut sent = with(request("GET", "/"), &forwarded);
        if connected {
            sent.extensions_mut().insert(ConnectInfo(peer));
        }
        let mut layer = capture.layer();
        if trusted {
            let networks = ["192.0.2.0/24".parse().unwrap()];
            layer = layer.trusted_proxies(networks, ForwardedBy::XForwarded);
        }
        send(layer, Router::new(), sent).await;
        let span = only_span(&capture);
        assert_eq!(span.get("client.address"), client.map(Value::from).as_ref());
        let network = connected.then(|| Value::from("192.0.2.7"));
        assert_eq!(span.get("network.peer.address"), network.as_ref());
        assert_eq!(span.get("network.peer.port").is_some(), connected);
        let (scheme, host, port) = match connected && trusted {
            true => ("https", "shop.example", 444),
            false => ("http", "ledger.example", 8443),
        };
        span.has("url.scheme", scheme)
            .has("server.address", host)
            .has("server.port", port);
        duration(&capture).has("url.scheme", scheme);
    }
}

#[tokio::test]
async fn an_invalid_forwarded_host_is_ignored() {
    let capture = Capture::start();
    let forwarded = [("x-forwarded-host", "<no host>")];
    let mut sent = with(request("GET", "/"), &forwarded);
    let peer: std::net::SocketAddr = "192.0.2.7:5123".parse().unwrap();
    sent.extensions_mut().insert(ConnectInfo(peer));
    let networks = ["192.0.2.0/24".parse().unwrap()];
    let layer = capture.layer();
    let layer = layer.trusted_proxies(networks, ForwardedBy::XForwarded);
    send(layer, Router::new(), sent).await;
    only_span(&capture).has("server.address", "ledger.example");
}

#[tokio::test]
async fn in_a_nested_router_path_and_route_include_the_prefix() {
    let capture = Capture::start();
    let inner = Router::new()
        .route("/entries/{id}", get(async || ()))
        .layer(capture.layer());
    let router = Router::new().nest("/v1", inner);
    router
        .oneshot(request("GET", "/v1/entries/7"))
        .await
        .unwrap();
    only_span(&capture)
        .has("http.route", "/v1/entries/{id}")
        .has("url.path", "/v1/entries/7");
}

#[tokio::test]
async fn requests_of_a_merged_router_have_its_routes() {
    let capture = Capture::start();
    let other = Router::new().route("/other/{id}", get(async || ()));
    send(
        capture.layer(),
        hello().merge(other),
        request("GET", "/other/1"),
    )
    .await;
    only_span(&capture).has("http.route", "/other/{id}");
}

#[tokio::test]
async fn routes_beyond_the_caches_capacity_are_recorded_too() {
    let capture = Capture::start();
    let mut router = Router::new();
    for n in 0..1030 {
        router = router.route(&format!("/{n}"), get(async || ()));
    }
    let router = router.layer(capture.layer());
    for n in 0..1030 {
        router
            .clone()
            .oneshot(request("GET", &format!("/{n}")))
            .await
            .unwrap();
    }
    assert_eq!(capture.spans().len(), 1030);
    capture.span("GET /1029").has("http.route", "/1029");
    assert_eq!(active(&capture), 0.0);
}

#[tokio::test]
async fn the_targets_authority_overrides_the_host_header() {
    for version in [axum::http::Version::HTTP_2, axum::http::Version::HTTP_11] {
        let capture = Capture::start();
        let mut sent = request("GET", "http://ledger.example:444/");
        *sent.version_mut() = version;
        sent.headers_mut()
            .insert("host", "evil.example".parse().unwrap());
        send(capture.layer(), Router::new(), sent).await;
        only_span(&capture)
            .has("server.address", "ledger.example")
            .has("server.port", 444);
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_does_not_set_the_scheme_in_http_1() {
    let capture = Capture::start();
    let sent = request("GET", "https://ledger.example/");
    send(capture.layer(), Router::new(), sent).await;
    only_span(&capture).has("url.scheme", "http");
    duration(&capture).has("url.scheme", "http");
}

#[tokio::test]
async fn an_ipv4_client_on_a_dual_stack_listener_has_its_ipv4_address() {
    let capture = Capture::start();
    let mut sent = request("GET", "/");
    let peer: std::net::SocketAddr = "[::ffff:203.0.113.9]:5123".parse().unwrap();
    sent.extensions_mut().insert(ConnectInfo(peer));
    send(capture.layer(), Router::new(), sent).await;
    only_span(&capture)
        .has("client.address", "203.0.113.9")
        .has("network.peer.address", "203.0.113.9");
}
