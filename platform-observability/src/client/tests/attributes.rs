//! What is said of a request.

use super::*;

#[tokio::test]
async fn a_request_is_a_client_span_by_the_conventions() {
    let capture = Capture::start();
    let port = serve(Router::new().route("/entries/{id}", get(async || "hello"))).await;
    let uri = format!("http://127.0.0.1:{port}/entries/7?patient=jane&page=2");
    let mut sent = request(uri);
    sent.headers_mut()
        .insert("authorization", "Bearer hidden".parse().unwrap());
    let answer = client(&layer(&capture)).oneshot(sent).await.unwrap();
    assert_eq!(answer.status(), 200);
    let span = only_span(&capture);
    assert_eq!(span.name, "GET");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.status, Status::Unset);
    let attributes = &span.attributes;
    holds(attributes, "http.request.method", "GET");
    holds(attributes, "server.address", "127.0.0.1");
    holds(attributes, "server.port", i64::from(port));
    let url = format!("http://127.0.0.1:{port}/entries/7?patient=REDACTED&page=REDACTED");
    holds(attributes, "url.full", url);
    holds(attributes, "http.response.status_code", 200);
    holds(attributes, "network.protocol.version", "1.1");
    holds(attributes, "network.peer.address", "127.0.0.1");
    holds(attributes, "network.peer.port", i64::from(port));
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
    names(attributes, &own);
    let all = format!("{span:?}");
    assert!(!all.contains("jane") && !all.contains("hidden"), "{all}");

    let duration = only_duration(&capture);
    holds(&duration, "http.request.method", "GET");
    holds(&duration, "server.address", "127.0.0.1");
    holds(&duration, "server.port", i64::from(port));
    holds(&duration, "http.response.status_code", 200);
    holds(&duration, "network.protocol.version", "1.1");
    let shared = own.into_iter();
    let shared = shared.filter(|name| !name.starts_with("network.peer") && *name != "url.full");
    names(&duration, &shared.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_url_is_not_recorded_at_any_length() {
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
async fn a_template_names_the_span_and_the_duration() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let mut sent = request(format!("http://127.0.0.1:{port}/entries/7"));
    sent.extensions_mut().insert(UrlTemplate("/entries/{id}"));
    sent.extensions_mut().insert(ResendCount(2));
    client(&layer(&capture)).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(span.name, "GET /entries/{id}");
    holds(&span.attributes, "url.template", "/entries/{id}");
    holds(&span.attributes, "http.request.resend_count", 2);
    let duration = only_duration(&capture);
    holds(&duration, "url.template", "/entries/{id}");
    assert_eq!(value(&duration, "http.request.resend_count"), None);
}

#[tokio::test]
async fn an_unknown_method_is_other_and_a_first_attempt_is_not_counted() {
    let capture = Capture::start();
    let port = serve(Router::new().fallback(any(async || ()))).await;
    let mut sent = request(format!("http://127.0.0.1:{port}/pot"));
    *sent.method_mut() = "BREW".parse().unwrap();
    sent.extensions_mut().insert(ResendCount(0));
    client(&layer(&capture)).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(span.name, "HTTP");
    holds(&span.attributes, "http.request.method", "_OTHER");
    holds(&span.attributes, "http.request.method_original", "BREW");
    assert_eq!(value(&span.attributes, "http.request.resend_count"), None);
    holds(&only_duration(&capture), "http.request.method", "_OTHER");
}

#[tokio::test]
async fn the_methods_that_are_told_apart_may_be_chosen() {
    let capture = Capture::start();
    let (port, _) = listen().await;
    let layer = layer(&capture).methods(crate::http::Methods::only(vec!["PURGE".parse().unwrap()]));
    client(&layer)
        .oneshot(request(format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    holds(
        &only_span(&capture).attributes,
        "http.request.method",
        "_OTHER",
    );
    holds(&only_duration(&capture), "http.request.method", "_OTHER");
}

/// Requests that no server on a port of the loopback can get.
async fn recorded(
    set: &dyn Fn(HttpClientLayer) -> HttpClientLayer,
    sent: Request<String>,
) -> SpanData {
    let capture = Capture::start();
    let answers = tower::service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    });
    let layer = set(layer(&capture));
    layer.layer(answers).oneshot(sent).await.unwrap();
    only_span(&capture)
}

#[tokio::test]
async fn user_and_password_are_redacted() {
    for user in ["jane:secret@", "jane@", ":secret@"] {
        let sent = request(format!("https://{user}a.example/x"));
        let span = recorded(&|layer| layer, sent).await;
        holds(
            &span.attributes,
            "url.full",
            "https://REDACTED:REDACTED@a.example/x",
        );
        holds(&span.attributes, "server.address", "a.example");
        let all = format!("{span:?}");
        assert!(!all.contains("jane") && !all.contains("secret"), "{all}");
    }
}

#[tokio::test]
async fn query_values_are_recorded_as_the_layer_says() {
    let sent = || request("http://a.example/?page=2&name=jane&sig=3");
    let default = recorded(&|layer| layer, sent()).await;
    let some = recorded(
        &|layer| layer.record_query_values_of(["page", "sig"]),
        sent(),
    )
    .await;
    let most = recorded(&HttpClientLayer::record_query_values, sent()).await;
    let own = recorded(
        &|layer| {
            let layer = layer.record_query_values();
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
        holds(&span.attributes, "url.full", url);
    }
}

#[tokio::test]
async fn the_port_is_the_schemes_unless_the_url_has_one() {
    for (uri, address, port) in [
        ("http://a.example/", "a.example", 80),
        ("https://a.example/", "a.example", 443),
        ("https://[::1]/", "::1", 443),
        ("https://a.example:8443/", "a.example", 8443),
    ] {
        let span = recorded(&|layer| layer, request(uri)).await;
        holds(&span.attributes, "server.address", address);
        holds(&span.attributes, "server.port", port);
        holds(&span.attributes, "url.full", uri);
    }
}

#[tokio::test]
async fn without_a_host_in_the_url_the_header_says_it() {
    let mut sent = request("/x?a=1");
    sent.headers_mut()
        .insert("host", "a.example:8080".parse().unwrap());
    let span = recorded(&|layer| layer, sent).await;
    holds(&span.attributes, "server.address", "a.example");
    holds(&span.attributes, "server.port", 8080);
    // Of which scheme it would be, nobody says.
    assert_eq!(value(&span.attributes, "url.full"), None);
    let span = recorded(&|layer| layer, request("/x")).await;
    assert_eq!(value(&span.attributes, "server.address"), None);
}

#[tokio::test]
async fn http_2_is_version_2() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let hyper = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<String>();
    let sent = request(format!("http://127.0.0.1:{port}/"));
    layer(&capture).layer(hyper).oneshot(sent).await.unwrap();
    let version = "network.protocol.version";
    holds(&only_span(&capture).attributes, version, "2");
    holds(&only_duration(&capture), version, "2");
}
