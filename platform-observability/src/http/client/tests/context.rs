//! The trace's context, and which hosts receive it.

use super::*;

#[tokio::test]
async fn a_requests_span_is_a_child_of_the_current_span() {
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
async fn only_configured_hosts_receive_the_traces_context() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, host, propagates) in [
        (&layer(&capture), "127.0.0.1", false),
        (&known, "127.0.0.1", true),
        (&known, "localhost", false),
    ] {
        let sent = request(format!("http://{host}:{port}/"));
        client(layer).oneshot(sent).await.unwrap();
        let headers = received.lock().unwrap().pop().unwrap();
        let spans = capture.spans();
        let sent = spans.iter().rfind(|span| span.0.name == "GET").unwrap();
        let context = &sent.0.span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        let expected = propagates.then_some(expected);
        let found = headers.get("traceparent").map(|id| id.to_str().unwrap());
        assert_eq!(found, expected.as_deref(), "{host}");
        assert!(!headers.contains_key("tracestate"), "it is empty");
    }
}

#[tokio::test]
async fn a_host_header_does_not_change_which_hosts_receive_the_context() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let layer = layer(&capture).propagate_to(["api.example.org"]);
    let mut sent = request(format!("http://127.0.0.1:{port}/"));
    sent.headers_mut()
        .insert("host", "api.example.org".parse().unwrap());
    // Without a host in the URL there is only the header, which a proxying service may have copied
    // from its client.
    let mock = tower::service_fn(async |request: http::Request<String>| {
        let has_context = request.headers().contains_key("traceparent");
        Ok::<_, std::convert::Infallible>(http::Response::new(has_context.to_string()))
    });
    let mut without_host = http::Request::new(String::new());
    without_host
        .headers_mut()
        .insert("host", "api.example.org".parse().unwrap());
    let response = layer.layer(mock).oneshot(without_host).await.unwrap();
    assert_eq!(response.body(), "false");
    let capture = Capture::start();
    client(&layer).oneshot(sent).await.unwrap();
    let headers = received.lock().unwrap().pop().unwrap();
    assert_eq!(headers["host"], "api.example.org");
    assert!(!headers.contains_key("traceparent"));
    assert_has(
        &only_span(&capture).attributes,
        "server.address",
        "127.0.0.1",
    );
}

#[tokio::test]
async fn an_existing_traceparent_is_replaced_for_configured_hosts_and_kept_for_others() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, kept) in [(&layer(&capture), true), (&known, false)] {
        let mut sent = request(format!("http://127.0.0.1:{port}/"));
        sent.headers_mut()
            .insert("traceparent", own.parse().unwrap());
        client(layer).oneshot(sent).await.unwrap();
        let headers = received.lock().unwrap().pop().unwrap();
        let found: Vec<_> = headers.get_all("traceparent").iter().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0] == own, kept);
    }
}

#[tokio::test]
async fn another_traces_tracestate_is_removed_for_configured_hosts() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let known = layer(&capture).propagate_to(["127.0.0.1"]);
    for (layer, kept) in [(&layer(&capture), true), (&known, false)] {
        let mut sent = request(format!("http://127.0.0.1:{port}/"));
        let state = "vendor=1".parse().unwrap();
        sent.headers_mut().insert("tracestate", state);
        client(layer).oneshot(sent).await.unwrap();
        let headers = received.lock().unwrap().pop().unwrap();
        assert_eq!(headers.contains_key("tracestate"), kept);
    }
}

#[tokio::test]
async fn baggage_is_propagated_with_the_trace() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let context = opentelemetry::Context::new();
    let context = context.with_baggage([KeyValue::new("tenant", "t1")]);
    // The test runs on one thread.
    let _attached = context.attach();
    let sent = request(format!("http://127.0.0.1:{port}/"));
    client(&layer).oneshot(sent).await.unwrap();
    let headers = received.lock().unwrap().pop().unwrap();
    assert_eq!(headers["baggage"], "tenant=t1");
    assert!(headers.contains_key("traceparent"));
}

#[tokio::test]
async fn an_unsampled_request_propagates_the_decision_and_is_measured() {
    let capture = Capture::with_sampler(Sampler::AlwaysOff);
    let (port, received) = recording_server().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let sent = request(format!("http://127.0.0.1:{port}/"));
    client(&layer).oneshot(sent).await.unwrap();
    let headers = received.lock().unwrap().pop().unwrap();
    assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"));
    assert!(capture.spans().is_empty());
    assert_has(&only_duration(&capture), "http.response.status_code", 200);
}

#[tokio::test]
async fn without_a_subscriber_requests_are_measured_and_propagate_the_current_context() {
    let capture = Capture::start();
    let (port, received) = recording_server().await;
    let layer = layer(&capture).propagate_to(["127.0.0.1"]);
    let none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ambient = Propagator::new(true, false).extract(&std::collections::HashMap::from([(
        "traceparent".to_owned(),
        own.to_owned(),
    )]));
    let sent = request(format!("http://127.0.0.1:{port}/"));
    let attached = ambient.attach();
    client(&layer).oneshot(sent).await.unwrap();
    drop(attached);
    drop(none);
    assert_eq!(received.lock().unwrap()[0]["traceparent"], own);
    assert_has(&only_duration(&capture), "http.response.status_code", 200);
}

#[tokio::test]
async fn the_client_runs_inside_the_span() {
    let capture = Capture::start();
    let mock = tower::service_fn(async |_: Request<String>| {
        let context = opentelemetry::Context::current();
        let id = context.span().span_context().span_id().to_string();
        Ok::<_, std::convert::Infallible>(http::Response::new(id))
    });
    let sent = request("http://a.example/");
    let response = layer(&capture).layer(mock).oneshot(sent).await.unwrap();
    let span = only_span(&capture);
    assert_eq!(*response.body(), span.span_context.span_id().to_string());
}
