//! What becomes of the service's `tracing` spans and events.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::Error;
use crate::config::{Destination, Destinations};
use crate::export::Providers;

/// The line that the console shows for each request.
pub(crate) const ACCESS: &str = "platform_observability::access";

/// Libraries that say much of little; sqlx's statement log would show SQL text.
const QUIET: &str = "hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,rustls=warn,tower=warn,sqlx=warn,sqlx::query=off";

/// Whose events never are exported: those of the exporters and of what they send with, lest each
/// export cause the next; those that hold SQL text; and what a span says already.
const NEVER_EXPORTED: [&str; 12] = [
    "hyper",
    "hyper_util",
    "h2",
    "reqwest",
    "rustls",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry_otlp",
    "opentelemetry_http",
    "opentelemetry-otlp",
    "sqlx::query",
    ACCESS,
];

/// Spans for the traces, events for the logs (never both, lest they be billed twice), and
/// lines on standard error.
pub(crate) fn new(
    providers: &Providers,
    destinations: &Destinations,
    log_filter: &str,
) -> Result<impl Subscriber + Send + Sync + use<>, Error> {
    let exports_logs = matches!(destinations.logs, Destination::Otlp(_));
    let traces = tracing_opentelemetry::layer()
        .with_tracer(providers.tracer.tracer("platform-observability"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Spans only, and by level rather than by the log filter: a filter that hid the request's
        // span would tear the trace.
        .with_filter(filter_fn(|metadata| {
            metadata.is_span() && *metadata.level() <= Level::INFO && !is_never_exported(metadata)
        }));
    let exported = filter(log_filter)?.and(filter_fn(|metadata| !is_never_exported(metadata)));
    let logs = providers
        .logger
        .as_ref()
        .map(|logger| OpenTelemetryTracingBridge::new(logger).with_filter(exported));
    // Where logs are exported, standard error keeps what must be seen if the export fails.
    let shown = if exports_logs {
        filter("warn")?
    } else {
        filter(log_filter)?
    };
    let console = tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(shown);
    Ok(tracing_subscriber::registry()
        .with(traces)
        .with(logs)
        .with(console))
}

fn filter(directives: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{directives}"))
        .map_err(|error| Error::Variable {
            variable: "RUST_LOG".to_owned(),
            problem: format!("cannot be read: {error}"),
            remedy: "write it as `info`, or as `info,my_service=debug`",
        })
}

fn is_never_exported(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    NEVER_EXPORTED.iter().any(|quiet| {
        target
            .strip_prefix(quiet)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_malformed_filter_is_an_error_that_names_it() {
        let error = super::filter("info,my_service=loud")
            .unwrap_err()
            .to_string();
        assert!(error.contains("RUST_LOG"), "{error}");
        assert!(super::filter("info,my_service=debug").is_ok());
    }
}
