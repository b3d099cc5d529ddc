//! The attributes of spans and durations.

use super::*;

#[tokio::test]
async fn a_request_has_a_client_span_by_the_conventions() {
    let capture = Capture::start();
    let port = serve(Router::new().route("/entries/{id}", get(async || "hello"))).await;
    let uri = format!("http://127.0.0.1:{port}/entries/7?patient=jane&page=2");
    let mut sent = request(uri);
    sent.headers_mut()
        .insert("authorization", "Bearer hidden".parse().unwrap());
    let response = client(&layer(&capture)).oneshot(sent).await.unwrap();
    assert_eq!(response.status(), 200);
    let span = only_span(&capture);
    assert_eq!(span.name, "GET");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.status, Status::Unset);
    let attributes = &span.attributes;
    assert_has(attributes, "http.request.method", "GET");
    assert_has(attributes, "server.address", "127.0.0.1");
    assert_has(attributes, "server.port", i64::from(port));
    let url = format!("http://127.0.0.1:{port}/entries/7?patient=REDACTED&page=REDACTED");
    assert_has(attributes, "url.full", url);
    assert_has(attributes, "http.response.status_code", 200);
    assert_has(attributes, "network.protocol.version", "1.1");
    assert_has(attributes, "network.peer.address", "127.0.0.1");
    assert_has(attributes, "network.peer.port", i64::from(port));
    let own = [
        "http.request.method",
        "http.response.status_code",
        "network.peer.address",
        "network.peer.port",
        "network.protocol.version",
        "server.address",
        "server.port",
        "url.full",
    ];
    assert_names(attributes, &own);
    let all = format!("{span:?}");
    assert!(!all.contains("jane") && !all.contains("hidden"), "{all}");

    let duration = only_duration(&capture);
    assert_has(&duration, "http.request.method", "GET");
    assert_has(&duration, "server.address", "127.0.0.1");
    assert_has(&duration, "server.port", i64::from(port));
    assert_has(&duration, "http.response.status_code", 200);
    assert_has(&duration, "network.protocol.version", "1.1");
    let shared = own.into_iter();
    let shared = shared.filter(|name| !name.starts_with("network.peer") && *name != "url.full");
    assert_names(&duration, &shared.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_long_url_is_truncated() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let long = format!("http://127.0.0.1:{port}/{}?a=1", "x".repeat(5000));
    client(&layer(&capture))
        .oneshot(request(long))
        .await
        .unwrap();
    let span = only_span(&capture);
    let url = value(&span.attributes, "url.full").unwrap().to_string();
    assert_eq!(url.len(), 4096);
}

#[tokio::test]
async fn a_url_template_is_recorded_on_the_span_and_the_duration() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let mut sent = request(format!("http://127.0.0.1:{port}/entries/7"));
    sent.extensions_mut().insert(UrlTemplate("/entries/{id}"));
    sent.extensions_mut().insert(ResendCount(2));
    client(&layer(&capture)).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(span.name, "GET /entries/{id}");
    assert_has(&span.attributes, "url.template", "/entries/{id}");
    assert_has(&span.attributes, "http.request.resend_count", 2);
    let duration = only_duration(&capture);
    assert_has(&duration, "url.template", "/entries/{id}");
    assert_eq!(value(&duration, "http.request.resend_count"), None);
}

#[tokio::test]
async fn an_unknown_method_is_other_and_a_resend_count_of_0_is_not_recorded() {
    let capture = Capture::start();
    let port = serve(Router::new().fallback(any(async || ()))).await;
    let mut sent = request(format!("http://127.0.0.1:{port}/pot"));
    *sent.method_mut() = "BREW".parse().unwrap();
    sent.extensions_mut().insert(ResendCount(0));
    client(&layer(&capture)).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(span.name, "HTTP");
    assert_has(&span.attributes, "http.request.method", "_OTHER");
    assert_has(&span.attributes, "http.request.method_original", "BREW");
    assert_eq!(value(&span.attributes, "http.request.resend_count"), None);
    assert_has(&only_duration(&capture), "http.request.method", "_OTHER");
}

#[tokio::test]
async fn the_known_methods_can_be_configured() {
    let capture = Capture::start();
    let (port, _) = recording_server().await;
    let layer = layer(&capture).known_methods(crate::http::KnownMethods::only(vec![
        "PURGE".parse().unwrap(),
    ]));
    client(&layer)
        .oneshot(request(format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    assert_has(
        &only_span(&capture).attributes,
        "http.request.method",
        "_OTHER",
    );
    assert_has(&only_duration(&capture), "http.request.method", "_OTHER");
}

/// The span of a request that a mock service responds to.
async fn recorded(
    configure: &dyn Fn(HttpClientLayer) -> HttpClientLayer,
    sent: Request<String>,
) -> SpanData {
    let capture = Capture::start();
    let mock = tower::service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    });
    let layer = configure(layer(&capture));
    layer.layer(mock).oneshot(sent).await.unwrap();
    only_span(&capture)
}

#[tokio::test]
async fn user_and_password_are_redacted_from_the_url() {
    for user in ["jane:secret@", "jane@", ":secret@"] {
        let sent = request(format!("https://{user}a.example/x"));
        let span = recorded(&|layer| layer, sent).await;
        assert_has(
            &span.attributes,
            "url.full",
            "https://REDACTED:REDACTED@a.example/x",
        );
        assert_has(&span.attributes, "server.address", "a.example");
        let all = format!("{span:?}");
        assert!(!all.contains("jane") && !all.contains("secret"), "{all}");
    }
}

#[tokio::test]
async fn query_values_are_recorded_as_the_layer_is_configured() {
    let sent = || request("http://a.example/?page=2&name=jane&sig=3");
    let default = recorded(&|layer| layer, sent()).await;
    let some = recorded(
        &|layer| layer.record_query_parameters(["page", "sig"]),
        sent(),
    )
    .await;
    let most = recorded(&HttpClientLayer::record_all_query_parameters, sent()).await;
    let own = recorded(
        &|layer| {
            let layer = layer.record_all_query_parameters();
            layer.sensitive_query_parameters(["name"])
        },
        sent(),
    )
    .await;
    for (span, query) in [
        (default, "page=REDACTED&name=REDACTED&sig=REDACTED"),
        (some, "page=2&name=REDACTED&sig=REDACTED"),
        (most, "page=2&name=jane&sig=REDACTED"),
        (own, "page=2&name=REDACTED&sig=3"),
    ] {
        let url = format!("http://a.example/?{query}");
        assert_has(&span.attributes, "url.full", url);
    }
}

#[tokio::test]
async fn the_port_defaults_to_the_schemes() {
    for (uri, address, port) in [
        ("http://a.example/", "a.example", 80),
        ("https://a.example/", "a.example", 443),
        ("https://[::1]/", "::1", 443),
        ("https://a.example:8443/", "a.example", 8443),
    ] {
        let span = recorded(&|layer| layer, request(uri)).await;
        assert_has(&span.attributes, "server.address", address);
        assert_has(&span.attributes, "server.port", port);
        assert_has(&span.attributes, "url.full", uri);
    }
}

#[tokio::test]
async fn without_a_host_in_the_url_the_host_header_is_recorded() {
    let mut sent = request("/x?a=1");
    sent.headers_mut()
        .insert("host", "a.example:8080".parse().unwrap());
    let span = recorded(&|layer| layer, sent).await;
    assert_has(&span.attributes, "server.address", "a.example");
    assert_has(&span.attributes, "server.port", 8080);
    // The scheme is unknown.
    assert_eq!(value(&span.attributes, "url.full"), None);
    let span = recorded(&|layer| layer, request("/x")).await;
    assert_eq!(value(&span.attributes, "server.address"), None);
}

#[tokio::test]
async fn an_http_2_request_has_protocol_version_2() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let hyper = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<String>();
    let sent = request(format!("http://127.0.0.1:{port}/"));
    layer(&capture).layer(hyper).oneshot(sent).await.unwrap();
    let version = "network.protocol.version";
    assert_has(&only_span(&capture).attributes, version, "2");
    assert_has(&only_duration(&capture), version, "2");
}
