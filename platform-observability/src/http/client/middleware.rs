//! The layer as a middleware of reqwest-middleware. reqwest's own `tower` service lacks request
//! extensions and the convenient request builder.

use std::borrow::Cow;
use std::future::poll_fn;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use super::extensions::extension;
use super::in_flight::InFlight;
use super::layer::HttpClientLayer;
use super::target::{Host, Target};

/// [`UrlTemplate`](crate::http::UrlTemplate) and [`ResendCount`](crate::http::ResendCount) are set
/// with [`with_extension`](reqwest_middleware::RequestBuilder::with_extension).
#[async_trait]
impl Middleware for HttpClientLayer {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let method = self.state.methods.name(request.method());
        let target = target(&request, method, extensions);
        let (mut in_flight, injection) = InFlight::start(&self.state, &target);
        if let Some(injection) = injection {
            injection.inject_into(request.headers_mut());
        }
        // Declared after `in_flight`, it is dropped before, while the span is still open.
        let mut response = in_flight.run(|| next.run(request, extensions));
        let result = poll_fn(|cx| in_flight.run(|| response.as_mut().poll(cx))).await;
        match &result {
            Ok(response) => {
                let peer = response.remote_addr();
                in_flight.responded(response.status(), response.version(), peer);
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
        has_user_info: !url.username().is_empty() || url.password().is_some(),
        host: url.host_str().map(|host| Host::Url(host, url.port())),
        path: url.path(),
        query: url.query(),
        template: extension(extensions),
        resend_count: extension(extensions),
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
