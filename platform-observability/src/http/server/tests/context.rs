//! The trace's context, and the request's id.

use super::*;

#[tokio::test]
async fn the_callers_trace_is_continued_and_current_in_the_handler() {
    let capture = Capture::start();
    let inside = get(async || {
        tracing::info_span!("inner").in_scope(|| tracing::info!("seen"));
        let context = opentelemetry::Context::current();
        context.span().span_context().span_id().to_string()
    });
    let sent = with(request("GET", "/"), &[("traceparent", PARENT)]);
    let (_, seen) = send(capture.layer(), Router::new().route("/", inside), sent).await;
    let span = capture.span("GET /").0;
    assert_eq!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(
        seen,
        span.span_context.span_id().to_string(),
        "the handler runs inside the span"
    );
    let inner = capture.span("inner").0;
    assert_eq!(
        inner.parent_span_id,
        span.span_context.span_id(),
        "`tracing` spans are children of the request's span"
    );
    assert_eq!(
        inner.attributes,
        [],
        "`tracing` spans have only the attributes that the code sets"
    );
    assert_eq!(
        capture.logs()[0].trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
}

#[tokio::test]
async fn without_traces_the_callers_context_is_passed_on_except_at_a_public_endpoint() {
    let capture = Capture::start();
    let propagator = Propagator::new(true, true);
    let untraced = || {
        let propagator = propagator.clone();
        HttpLayer::new(
            &capture.meter(),
            None,
            propagator,
            SamplingHint::default(),
            false,
        )
    };
    let inside = async || {
        let mut sent = HashMap::new();
        let context = opentelemetry::Context::current();
        Propagator::new(true, true).inject_context(&context, &mut sent);
        format!("{:?} {:?}", sent.get("traceparent"), sent.get("baggage"))
    };
    let both = [("traceparent", PARENT), ("baggage", "tenant=t1")];
    let baggage = Some("tenant=t1");
    for (layer, sent, expected) in [
        (
            untraced(),
            &both[..],
            format!("Some({PARENT:?}) {baggage:?}"),
        ),
        (untraced(), &both[1..], format!("None {baggage:?}")),
        (untraced().public_endpoint(), &both, "None None".to_owned()),
    ] {
        let sent = with(request("GET", "/"), sent);
        let (_, seen) = send(layer, Router::new().route("/", get(inside)), sent).await;
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_public_endpoint_starts_a_trace_that_is_linked_to_the_callers() {
    let capture = Capture::start();
    let sent = with(
        request("GET", "/"),
        &[("traceparent", PARENT), ("baggage", "user=eve")],
    );
    let inside = get(async || {
        let context = opentelemetry::Context::current();
        opentelemetry::baggage::BaggageExt::baggage(&context)
            .len()
            .to_string()
    });
    let layer = capture.layer().public_endpoint();
    let (_, baggage) = send(layer, Router::new().route("/", inside), sent).await;
    assert_eq!(baggage, "0", "untrusted baggage is dropped");
    let span = capture.span("GET /").0;
    assert_ne!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id, opentelemetry::SpanId::INVALID);
    let links: Vec<_> = span
        .links
        .iter()
        .map(|link| link.span_context.span_id().to_string())
        .collect();
    assert_eq!(links, ["b7ad6b7169203331"]);
}

#[tokio::test]
async fn the_traceresponse_header_is_sent_only_if_enabled() {
    let capture = Capture::start();
    let plain = hello()
        .layer(capture.layer())
        .oneshot(request("GET", "/"))
        .await
        .unwrap();
    assert!(!plain.headers().contains_key("traceresponse"));
    let layer = capture.layer().send_traceresponse();
    let sent = with(request("GET", "/"), &[("traceparent", PARENT)]);
    let response = hello().layer(layer).oneshot(sent).await.unwrap();
    let text = response.headers()["traceresponse"]
        .to_str()
        .unwrap()
        .to_owned();
    response.into_body().collect().await.unwrap();
    let span = capture.spans().pop().unwrap().0.span_context.span_id();
    assert_eq!(
        text,
        format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01")
    );
}

#[tokio::test]
async fn the_request_id_is_passed_to_the_handler_and_set_on_the_response() {
    let capture = Capture::start();
    let echo = get(async |headers: axum::http::HeaderMap| {
        headers["x-request-id"].to_str().unwrap().to_owned()
    });
    let router = Router::new().route("/", echo).layer(capture.layer());
    let made = router.clone().oneshot(request("GET", "/")).await.unwrap();
    let id = made.headers()["x-request-id"].clone();
    let body = made.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, id.as_bytes());
    let sent = with(request("GET", "/"), &[("x-request-id", "mine")]);
    let kept = router.oneshot(sent).await.unwrap();
    assert_eq!(kept.headers()["x-request-id"], "mine");
}

#[tokio::test]
async fn without_a_subscriber_requests_are_still_traced_and_measured() {
    let capture = Capture::start();
    let none = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    send(capture.layer(), hello(), request("GET", "/")).await;
    drop(none);
    capture.span("GET /").has("http.response.status_code", 200);
    duration(&capture).has("http.response.status_code", 200);
}

#[tokio::test]
async fn an_unsampled_request_is_measured_and_has_a_context() {
    let capture = Capture::with_sampler(Sampler::AlwaysOff);
    let inside = get(async || {
        let context = opentelemetry::Context::current();
        let span = context.span();
        format!("{} {}", span.span_context().is_valid(), span.is_recording())
    });
    let (_, seen) = send(
        capture.layer(),
        Router::new().route("/", inside),
        request("GET", "/"),
    )
    .await;
    assert_eq!(seen, "true false");
    assert!(capture.spans().is_empty());
    duration(&capture).has("http.response.status_code", 200);
}

#[tokio::test]
async fn an_unsampled_callers_decision_and_context_are_propagated() {
    let capture = Capture::with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let parent = PARENT.replace("-01", "-00");
    // A layer that knows its sampler does not start a span.
    for layer in [capture.layer(), capture.layer().parent_based()] {
        let inside = get(async || {
            let context = opentelemetry::Context::current();
            let (mut sent, span) = (HashMap::new(), context.span());
            Propagator::new(true, true).inject_context(&context, &mut sent);
            assert!(!span.is_recording());
            format!(
                "{} {} {}",
                sent["traceparent"], sent["tracestate"], sent["baggage"]
            )
        });
        let sent = [
            ("traceparent", &*parent),
            ("tracestate", "vendor=1"),
            ("baggage", "tenant=t1"),
        ];
        let sent = with(request("GET", "/"), &sent);
        let (_, seen) = send(layer, Router::new().route("/", inside), sent).await;
        let (trace, rest) = seen.split_at(36);
        assert_eq!(trace, &parent[..36], "the caller's trace");
        assert_ne!(rest[..16], parent[36..52], "another span");
        assert_eq!(&rest[16..], "-00 vendor=1 tenant=t1");
        assert!(capture.spans().is_empty());
    }
    assert_eq!(capture.point(DURATION).count, 2);
}

/// Trace Context Level 2 requires this. It holds for every sampler, and for each kind of
/// propagation: from a `tracing` span, by an HTTP client, and in a message.
#[tokio::test]
async fn the_random_flag_of_a_trace_is_propagated_and_never_added() {
    opentelemetry::global::set_text_map_propagator(Propagator::new(true, true));
    let flags = |text: &str| u8::from_str_radix(&text[53..], 16).unwrap();
    for sampler in [
        Sampler::AlwaysOn,
        Sampler::AlwaysOff,
        Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        Sampler::TraceIdRatioBased(0.0),
    ] {
        let is_parent_based = matches!(sampler, Sampler::ParentBased(_));
        let capture = Capture::with_sampler(sampler.clone());
        let mut layers = vec![capture.layer()];
        layers.extend(is_parent_based.then(|| capture.layer().parent_based()));
        for (layer, sent) in layers
            .iter()
            .flat_map(|layer| (0..4_u8).map(move |sent| (layer, sent)))
        {
            let client = HttpClientLayer::new(&capture.meter(), Propagator::new(true, true))
                .propagate_to(["peer.example"]);
            let inside = get(async move || {
                let echo = tower::service_fn(async |request: Request<()>| {
                    let header = request.headers()["traceparent"]
                        .to_str()
                        .unwrap()
                        .to_owned();
                    Ok::<_, Infallible>(axum::http::Response::new(header))
                });
                let sent = Request::get("http://peer.example/").body(()).unwrap();
                let by_client = client.layer(echo).oneshot(sent).await.unwrap();
                let mut message = axum::http::HeaderMap::new();
                let span = messaging::producer_span("entries.booked");
                span.in_scope(|| messaging::inject(&mut message));
                let mut carrier = HashMap::new();
                tracing::info_span!("inner").in_scope(|| {
                    let context = opentelemetry::Context::current();
                    Propagator::new(true, true).inject_context(&context, &mut carrier);
                });
                let in_message = message["traceparent"].to_str().unwrap();
                format!(
                    "{} {in_message} {}",
                    by_client.body(),
                    carrier["traceparent"]
                )
            });
            let parent = PARENT.replace("-01", &format!("-{sent:02x}"));
            let request = with(request("GET", "/"), &[("traceparent", &*parent)]);
            let router = Router::new().route("/", inside);
            let (_, seen) = self::send(layer.clone(), router, request).await;
            let propagated: Vec<_> = seen.split(' ').collect();
            assert_eq!(propagated.len(), 3, "{seen}");
            for header in propagated {
                assert_eq!(header[..35], parent[..35], "the caller's trace");
                assert_eq!(
                    flags(header) & 2,
                    sent & 2,
                    "{sampler:?}: {sent} became {header}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_sampled_span_has_the_same_attributes_whether_or_not_the_layer_knows_its_sampler() {
    let capture = Capture::with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    for layer in [capture.layer(), capture.layer().parent_based()] {
        for headers in [&[("traceparent", PARENT)][..], &[]] {
            send(layer.clone(), hello(), with(request("GET", "/"), headers)).await;
        }
    }
    let mut attributes: Vec<_> = capture
        .spans()
        .into_iter()
        .map(|span| {
            let names = span.0.attributes.iter().map(|each| each.key.to_string());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        })
        .collect();
    assert_eq!(attributes.len(), 4);
    attributes.dedup();
    assert_eq!(attributes.len(), 1, "{attributes:?}");
}

/// axum's `Route` is called outside the span, as it calls its service only when it is polled.
#[tokio::test]
async fn a_service_is_called_inside_the_span_whether_it_is_a_route_or_not() {
    let called = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&called);
    let service = tower::service_fn(move |_: Request<Body>| {
        let context = opentelemetry::Context::current();
        *seen.lock().unwrap() = context.span().span_context().span_id().to_string();
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    for is_route in [false, true] {
        let capture = Capture::start();
        let layer = capture.layer();
        let sent = request("GET", "/");
        let _ = if is_route {
            let router = Router::new().route_service("/", service.clone());
            router.layer(layer).oneshot(sent).await.unwrap()
        } else {
            let service = tower_layer::Layer::layer(&layer, service.clone());
            service.oneshot(sent).await.unwrap()
        };
        let span = only_span(&capture).0.span_context.span_id().to_string();
        assert_eq!(*called.lock().unwrap(), span, "{is_route}");
    }
}

#[tokio::test]
async fn destructors_of_a_dropped_request_run_inside_its_span() {
    #[derive(Clone)]
    struct Seen(Arc<Mutex<String>>);
    impl Drop for Seen {
        fn drop(&mut self) {
            let context = opentelemetry::Context::current();
            *self.0.lock().unwrap() = context.span().span_context().span_id().to_string();
        }
    }
    async fn waits(_seen: Seen) {
        std::future::pending::<()>().await;
    }
    let dropped = Arc::new(Mutex::new(String::new()));
    for in_body in [false, true] {
        let capture = Capture::start();
        let seen = Arc::clone(&dropped);
        let router = Router::new().route(
            "/",
            get(async move || {
                let work = waits(Seen(seen));
                if in_body {
                    return Body::from_stream(stream::once(async move {
                        work.await;
                        Ok::<_, Infallible>("")
                    }))
                    .into_response();
                }
                work.await;
                ().into_response()
            }),
        );
        let mut sent = Box::pin(send(capture.layer(), router, request("GET", "/")));
        assert!(futures_util::poll!(&mut sent).is_pending());
        tokio::time::sleep(Duration::from_millis(30)).await;
        drop(sent);
        let span = only_span(&capture).0;
        assert_eq!(
            *dropped.lock().unwrap(),
            span.span_context.span_id().to_string(),
            "{in_body}"
        );
        let duration = span.end_time.duration_since(span.start_time).unwrap();
        assert!(
            duration >= Duration::from_millis(30),
            "the span ends with the drop: {duration:?}"
        );
    }
}
