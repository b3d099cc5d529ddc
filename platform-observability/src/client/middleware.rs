//! For reqwest, whose own `tower` service has neither extensions nor its convenient requests:
//! reqwest-middleware has both, and others for it retry.

use std::borrow::Cow;
use std::future::poll_fn;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use super::HttpClientLayer;
use super::target::{Host, Target, extension};

/// See [the module](super). [`UrlTemplate`](super::UrlTemplate) and
/// [`ResendCount`](super::ResendCount) are set with
/// [`with_extension`](reqwest_middleware::RequestBuilder::with_extension).
#[async_trait]
impl Middleware for HttpClientLayer {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let name = self.method_name(request.method());
        let (mut in_flight, injection) = self.start(&target(&request, name, extensions));
        if let Some(injection) = injection {
            injection.into_headers(request.headers_mut());
        }
        // Declared later, it is dropped earlier: what is dropped with the request is part of it.
        let mut answer = in_flight.run(|| next.run(request, extensions));
        let result = poll_fn(|cx| in_flight.run(|| answer.as_mut().poll(cx))).await;
        match &result {
            Ok(response) => {
                let peer = response.remote_addr();
                in_flight.answered(response.status(), response.version(), peer);
            }
            Err(error) => in_flight.failed(error_type(error)),
        }
        result
    }
}

fn target<'a>(
    request: &'a Request,
    method_name: &'static str,
    extensions: &Extensions,
) -> Target<'a> {
    let url = request.url();
    Target {
        method: request.method(),
        method_name,
        scheme: Some(url.scheme()),
        has_user: !url.username().is_empty() || url.password().is_some(),
        host: url.host_str().map(|host| Host::Url(host, url.port())),
        path: url.path(),
        query: url.query(),
        template: extension(extensions),
        resent: extension(extensions),
    }
}

fn error_type(error: &Error) -> Cow<'static, str> {
    let Error::Reqwest(error) = error else {
        return Cow::Borrowed("reqwest_middleware::Error");
    };
    if let Some(status) = error.status() {
        return Cow::Owned(status.as_str().to_owned());
    }
    Cow::Borrowed(match error {
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "connect",
        error if error.is_redirect() => "redirect",
        error if error.is_body() => "body",
        error if error.is_decode() => "decode",
        error if error.is_builder() => "builder",
        _ => "request",
    })
}
