//! Which trace a request belongs to, and who is told.

use super::*;

#[tokio::test]
async fn it_is_below_the_current_span() {
    let capture = Capture::start();
    let port = serve(Router::new()).await;
    let outer = tracing::info_span!("outer");
    let sent = client(&layer(&capture)).oneshot(request(format!("http://127.0.0.1:{port}/")));
    tracing::Instrument::instrument(sent, outer).await.unwrap();
    let (outer, sent) = (capture.span("outer").0, only_span(&capture));
    assert_eq!(sent.parent_span_id, outer.span_context.span_id());
    assert_eq!(sent.span_context.trace_id(), outer.span_context.trace_id());
}

#[tokio::test]
async fn only_known_hosts_are_told_the_trace() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, host, told) in [
        (&layer(&capture), "127.0.0.1", false),
        (&known, "127.0.0.1", true),
        (&known, "localhost", false),
    ] {
        let sent = request(format!("http://{host}:{port}/"));
        client(layer).oneshot(sent).await.unwrap();
        let headers = heard.lock().unwrap().pop().unwrap();
        let spans = capture.spans();
        let sent = spans.iter().rfind(|span| span.0.name == "GET").unwrap();
        let context = &sent.0.span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        let expected = told.then_some(expected);
        let found = headers.get("traceparent").map(|id| id.to_str().unwrap());
        assert_eq!(found, expected.as_deref(), "{host}");
        assert!(!headers.contains_key("tracestate"), "it is empty");
    }
}

#[tokio::test]
async fn a_host_header_does_not_change_who_is_told() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["api.example.org"]);
    let mut sent = request(format!("http://127.0.0.1:{port}/"));
    sent.headers_mut()
        .insert("host", "api.example.org".parse().unwrap());
    // Without a URL, as over a connection of the service's own, the header is all there is; a service
    // that passes requests on may have it from its caller.
    let told = tower::service_fn(async |request: http::Request<String>| {
        let told = request.headers().contains_key("traceparent");
        Ok::<_, std::convert::Infallible>(http::Response::new(told.to_string()))
    });
    let mut short = http::Request::new(String::new());
    short
        .headers_mut()
        .insert("host", "api.example.org".parse().unwrap());
    let told = layer.layer(told).oneshot(short).await.unwrap();
    assert_eq!(told.body(), "false");
    let capture = Capture::start();
    client(&layer).oneshot(sent).await.unwrap();
    let headers = heard.lock().unwrap().pop().unwrap();
    assert_eq!(headers["host"], "api.example.org");
    assert!(!headers.contains_key("traceparent"));
    holds(
        &only_span(&capture).attributes,
        "server.address",
        "127.0.0.1",
    );
}

#[tokio::test]
async fn a_trace_that_the_request_has_is_left_to_unknown_hosts_and_replaced_for_known_ones() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, kept) in [(&layer(&capture), true), (&known, false)] {
        let mut sent = request(format!("http://127.0.0.1:{port}/"));
        sent.headers_mut()
            .insert("traceparent", own.parse().unwrap());
        client(layer).oneshot(sent).await.unwrap();
        let headers = heard.lock().unwrap().pop().unwrap();
        let found: Vec<_> = headers.get_all("traceparent").iter().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0] == own, kept);
    }
}

#[tokio::test]
async fn the_state_of_another_trace_does_not_go_with_this_one() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, kept) in [(&layer(&capture), true), (&known, false)] {
        let mut sent = request(format!("http://127.0.0.1:{port}/"));
        let state = "vendor=1".parse().unwrap();
        sent.headers_mut().insert("tracestate", state);
        client(layer).oneshot(sent).await.unwrap();
        let headers = heard.lock().unwrap().pop().unwrap();
        assert_eq!(headers.contains_key("tracestate"), kept);
    }
}

#[tokio::test]
async fn baggage_goes_with_the_trace() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let context = opentelemetry::Context::new();
    let context = context.with_baggage([KeyValue::new("tenant", "t1")]);
    // Polled on this thread only.
    let _attached = context.attach();
    let sent = request(format!("http://127.0.0.1:{port}/"));
    client(&layer).oneshot(sent).await.unwrap();
    let headers = heard.lock().unwrap().pop().unwrap();
    assert_eq!(headers["baggage"], "tenant=t1");
    assert!(headers.contains_key("traceparent"));
}

#[tokio::test]
async fn a_request_that_is_not_sampled_says_so_to_known_hosts_and_is_measured() {
    let capture = Capture::sampled_by(Sampler::AlwaysOff);
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let sent = request(format!("http://127.0.0.1:{port}/"));
    client(&layer).oneshot(sent).await.unwrap();
    let headers = heard.lock().unwrap().pop().unwrap();
    assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"));
    assert!(capture.spans().is_empty());
    holds(&only_duration(&capture), "http.response.status_code", 200);
}

#[tokio::test]
async fn without_a_subscriber_requests_are_sent_measured_and_in_the_ambient_trace() {
    let capture = Capture::start();
    let (port, heard) = listen().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ambient = Propagation::new(true, false).extract(&std::collections::HashMap::from([(
        "traceparent".to_owned(),
        own.to_owned(),
    )]));
    let sent = request(format!("http://127.0.0.1:{port}/"));
    let attached = ambient.attach();
    client(&layer).oneshot(sent).await.unwrap();
    drop(attached);
    drop(none);
    assert_eq!(heard.lock().unwrap()[0]["traceparent"], own);
    holds(&only_duration(&capture), "http.response.status_code", 200);
}

#[tokio::test]
async fn what_the_client_does_is_inside_the_span() {
    let capture = Capture::start();
    let inside = tower::service_fn(async |_: Request<String>| {
        let context = opentelemetry::Context::current();
        let id = context.span().span_context().span_id().to_string();
        Ok::<_, std::convert::Infallible>(http::Response::new(id))
    });
    let sent = request("http://a.example/");
    let answer = layer(&capture).layer(inside).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(*answer.body(), span.span_context.span_id().to_string());
}
