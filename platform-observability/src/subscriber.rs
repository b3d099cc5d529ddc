//! The `tracing` subscriber, which passes the service's spans and events to the exporters and to
//! standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{self, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use crate::console::{self, ConsoleLayer};
use crate::database::{StatementLayer, is_statement};
use crate::error::Error;
use crate::export::Providers;
use crate::http::{ACCESS_TARGET, CLIENT_TARGET, SERVER_TARGET};
use crate::instrumentation::SCOPE;
use crate::messaging::MESSAGING_TARGET;
use crate::tracer::Tracer;

/// The default directives, if neither the code nor `RUST_LOG` sets others.
pub(crate) const DEFAULT_FILTER: &str = "info";

/// The directives that precede every filter: for verbose libraries, and for sqlx's statements,
/// whose text may contain personal data. An explicit directive overrides them.
const BASE_DIRECTIVES: &str = "hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,rustls=warn,\
    opentelemetry=warn,sqlx::query=off,platform_observability::panic=error";

/// The exporters' own dependencies. Their events are never exported, as each export would cause the
/// next. Each name includes its submodules, and crates such as `hyper_util`.
const NEVER_EXPORTED: [&str; 5] = ["hyper", "h2", "reqwest", "rustls", "opentelemetry"];

/// Creates the subscriber: spans become traces, and events become logs, never both, so that an
/// event is not billed twice. Standard error receives log lines or, with the console, requests as
/// trees.
pub(crate) fn new(
    providers: &Providers,
    filter: Filter,
    has_console: bool,
    statements: Option<StatementLayer>,
) -> Result<(Dispatch, LogFilter), Error> {
    let mut setters = Vec::new();
    // A list, as an `Option` that is `None` would make `tracing` evaluate all filters for each
    // event, even for disabled ones.
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if let Some(provider) = &providers.tracer {
        let layer = span_layer(Tracer::new(provider, SCOPE));
        // The filter never disables the spans of client requests and messages, which would break
        // traces.
        let always = span_directives();
        let traced = reloadable(&filter, always, &mut setters)?.and(filter_fn(|metadata| {
            metadata.is_span() && is_exported(metadata)
        }));
        layers.push(layer.with_filter(traced).boxed());
    }
    if let Some(provider) = &providers.logger {
        let logged = reloadable(&filter, String::new(), &mut setters)?.and(filter_fn(|metadata| {
            metadata.is_event() && is_exported(metadata)
        }));
        let layer = OpenTelemetryTracingBridge::new(provider);
        layers.push(layer.with_filter(logged).boxed());
    }
    let shows_statements = statements.is_some();
    if let Some(layer) = statements {
        layers.push(layer.with_filter(filter_fn(is_statement)).boxed());
    }
    if has_console {
        let debug_events = console_debug_events(&filter, shows_statements, &mut setters);
        let shown = reloadable(&filter, String::new(), &mut setters)?.or(debug_events);
        let layer = ConsoleLayer::new(console::is_coloured(), shows_statements);
        layers.push(layer.with_filter(shown).boxed());
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .compact()
            .fmt_fields(debug_fn(format_field))
            .with_ansi(console::is_coloured())
            .with_writer(std::io::stderr);
        let shown = reloadable(&filter, String::new(), &mut setters)?;
        layers.push(layer.with_filter(shown).boxed());
    }
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layers));
    Ok((dispatch, LogFilter(setters.into())))
}

/// The log filter, which can be changed at runtime; from
/// [`Telemetry::log_filter`](crate::Telemetry::log_filter). Clones share it.
#[derive(Clone)]
pub struct LogFilter(Arc<[Setter]>);

type Setter = Box<dyn Fn(&Filter) -> Result<(), Error> + Send + Sync>;

impl LogFilter {
    /// Sets the directives, such as `info,my_service=debug`, in the syntax of tracing-subscriber's
    /// `EnvFilter`.
    ///
    /// # Errors
    ///
    /// If they are invalid. Then the filter does not change.
    pub fn set(&self, directives: &str) -> Result<(), Error> {
        let filter = Filter {
            directives: directives.to_owned(),
            from_environment: false,
        };
        // All parse the same directives, so either the first fails or none does.
        self.0.iter().try_for_each(|set| set(&filter))
    }
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogFilter(..)")
    }
}

/// A filter with the directives of `filter` and `always`. Adds the function that changes the former
/// to `setters`.
fn reloadable<S: 'static>(
    filter: &Filter,
    always: String,
    setters: &mut Vec<Setter>,
) -> Result<reload::Layer<EnvFilter, S>, Error> {
    let (layer, handle) = reload::Layer::new(filter.parse(&always)?);
    setters.push(Box::new(move |filter| {
        let filter = filter.parse(&always)?;
        // Fails only if the subscriber no longer exists.
        let _ = handle.reload(filter);
        Ok(())
    }));
    Ok(layer)
}

/// Enables the DEBUG events that the console shows at INFO: committed audit records, and
/// statements.
fn console_debug_events<S>(
    filter: &Filter,
    shows_statements: bool,
    setters: &mut Vec<Setter>,
) -> impl layer::Filter<S> + use<S> {
    let shows_info = |filter: &Filter| {
        let max = filter.parse("").map(|filter| filter.max_level_hint());
        max.is_ok_and(|max| max.is_none_or(|max| max >= LevelFilter::INFO))
    };
    let is_shown = Arc::new(AtomicBool::new(shows_info(filter)));
    let set = Arc::clone(&is_shown);
    // Before the reloadable filters, which make `tracing` evaluate the filters again.
    setters.insert(
        0,
        Box::new(move |filter| {
            filter.parse("")?;
            set.store(shows_info(filter), Ordering::Relaxed);
            Ok(())
        }),
    );
    filter_fn(move |metadata| {
        let is_debug_event =
            console::is_audit_event(metadata) || (shows_statements && is_statement(metadata));
        is_debug_event && is_shown.load(Ordering::Relaxed)
    })
    .with_max_level_hint(LevelFilter::DEBUG)
}

/// Exports `tracing` spans, without the attributes that no convention defines and that are the most
/// expensive: code location, thread and idle time.
pub(crate) fn span_layer<S>(tracer: Tracer) -> OpenTelemetryLayer<S, Tracer>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
}

/// The directives that enable the spans of client requests and messages.
fn span_directives() -> String {
    let targets = [CLIENT_TARGET, MESSAGING_TARGET];
    targets.map(|target| format!(",{target}=info")).concat()
}

/// The log filter's directives.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) directives: String,
    /// Whether `RUST_LOG` set them.
    pub(crate) from_environment: bool,
}

impl Filter {
    fn parse(&self, always: &str) -> Result<EnvFilter, Error> {
        let directives = format!("{BASE_DIRECTIVES},{}{always}", self.directives);
        EnvFilter::builder().parse(directives).map_err(|error| {
            let problem = format!("is invalid: {error}");
            let remedy = "write it as `info`, or as `info,my_service=debug`";
            match self.from_environment {
                true => Error::variable("RUST_LOG", problem, remedy),
                false => Error::setting("log_filter", problem, remedy),
            }
        })
    }
}

/// Whether a span or event may be exported.
pub(crate) fn is_exported(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    // The HTTP layer exports the request's span itself; this one is for the console.
    target != ACCESS_TARGET
        && !(target == SERVER_TARGET && metadata.is_span())
        && !NEVER_EXPORTED.iter().any(|name| {
            let rest = target.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_', '-']))
        })
}

/// Formats a field for standard error. Fields that start with `otel.` are not shown, except for the
/// name.
fn format_field(
    writer: &mut Writer<'_>,
    field: &Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    // Values may come from clients, and must not contain control characters.
    let value = console::escaped(&format!("{value:?}"), usize::MAX);
    match field.name() {
        "message" => writer.write_str(&value),
        "otel.name" => writer.write_str(value.trim_matches('"')),
        name if name.starts_with("otel.") => Ok(()),
        name => write!(writer, " {name}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::format::debug_fn;

    use super::{Filter, format_field};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn control_characters_in_log_lines_are_escaped() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(debug_fn(format_field))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "a\x1b]0;owned\x07\n2026 ERROR forged";
            tracing::info!(by = %name, "no account {name}");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let escaped = r"a\u{1b}]0;owned\u{7}\n2026 ERROR forged";
        assert!(
            written.ends_with(&format!("no account {escaped} by={escaped}\n")),
            "{written}"
        );
        assert_eq!(written.lines().count(), 1, "{written}");
    }

    #[test]
    fn the_log_filter_can_be_changed_at_runtime_and_an_invalid_one_changes_nothing() {
        let filter = Filter {
            directives: "info".to_owned(),
            from_environment: false,
        };
        let mut setters = Vec::new();
        let layer = super::reloadable(&filter, ",always=info".to_owned(), &mut setters).unwrap();
        let registry = tracing_subscriber::registry::Registry::default();
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(registry, layer);
        let _scope = tracing::subscriber::set_default(subscriber);
        let log_filter = super::LogFilter(setters.into());
        let debugs = || tracing::enabled!(target: "mine", tracing::Level::DEBUG);
        assert!(!debugs());
        log_filter.set("off,mine=debug").unwrap();
        assert!(debugs());
        assert!(tracing::enabled!(target: "always", tracing::Level::INFO));
        // A directive for one target does not silence panics; an explicit one does.
        let panics =
            || tracing::enabled!(target: "platform_observability::panic", tracing::Level::ERROR);
        assert!(panics());
        log_filter.set("mine=debug").unwrap();
        assert!(panics());
        log_filter.set("platform_observability::panic=off").unwrap();
        assert!(!panics());
        log_filter.set("off,mine=debug").unwrap();
        let error = log_filter.set("mine=loud").unwrap_err().to_string();
        assert!(
            error.contains("mine=loud") || error.contains("log_filter"),
            "{error}"
        );
        assert!(debugs(), "the filter has not changed");
    }

    #[test]
    fn an_invalid_filter_is_an_error_that_names_its_source() {
        let filter = |directives: &str, from_environment| Filter {
            directives: directives.to_owned(),
            from_environment,
        };
        let error = filter("info,my_service=loud", true).parse("").unwrap_err();
        assert!(error.to_string().contains("RUST_LOG"), "{error}");
        let error = filter("my_service=loud", false).parse("").unwrap_err();
        assert!(error.to_string().contains("log_filter"), "{error}");
        filter("info,my_service=debug", true).parse("").unwrap();
    }

    #[test]
    fn no_filter_disables_the_spans_of_client_requests_and_messages() {
        let filter = Filter {
            directives: "off".to_owned(),
            from_environment: true,
        };
        let subscriber = tracing_subscriber::registry::Registry::default();
        let filter = filter.parse(&super::span_directives()).unwrap();
        let filtered = tracing_subscriber::layer::SubscriberExt::with(subscriber, filter);
        let _scope = tracing::subscriber::set_default(filtered);
        assert!(tracing::enabled!(target: super::CLIENT_TARGET, tracing::Level::INFO));
        assert!(tracing::enabled!(target: super::MESSAGING_TARGET, tracing::Level::INFO));
        assert!(!tracing::enabled!(target: "other", tracing::Level::INFO));
    }

    #[test]
    fn the_console_shows_audit_records_and_statements_at_info() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        use tracing_subscriber::filter::FilterExt;
        use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

        struct Counts(Arc<AtomicUsize>);
        impl<S: tracing::Subscriber> Layer<S> for Counts {
            fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }

        let filter = Filter {
            directives: "error".to_owned(),
            from_environment: false,
        };
        let shown = Arc::new(AtomicUsize::new(0));
        let mut setters = Vec::new();
        let debug_events = super::console_debug_events(&filter, true, &mut setters);
        let layer = super::reloadable(&filter, String::new(), &mut setters).unwrap();
        let layer = Counts(Arc::clone(&shown)).with_filter(layer.or(debug_events));
        let subscriber = tracing_subscriber::registry().with(layer);
        let _scope = tracing::subscriber::set_default(subscriber);
        let log_filter = super::LogFilter(setters.into());
        let emitted = || {
            shown.store(0, Ordering::SeqCst);
            tracing::debug!(target: "platform_audit::commit", record_id = 1, action = 2, records = 3, "audited");
            tracing::debug!(target: "sqlx::query", summary = "SELECT 1", db.statement = "");
            tracing::debug!(target: "platform_audit::commit", "not an audit event");
            shown.load(Ordering::SeqCst)
        };
        assert_eq!(emitted(), 0);
        log_filter.set("info").unwrap();
        assert_eq!(emitted(), 2);
        log_filter.set("warn").unwrap();
        assert_eq!(emitted(), 0);
    }

    #[test]
    fn the_text_of_sql_is_logged_only_by_an_explicit_directive() {
        let shown = |directives: &str| {
            let filter = Filter {
                directives: directives.to_owned(),
                from_environment: true,
            };
            let subscriber = tracing_subscriber::registry::Registry::default();
            let filtered = tracing_subscriber::layer::SubscriberExt::with(
                subscriber,
                filter.parse("").unwrap(),
            );
            tracing::subscriber::with_default(
                filtered,
                || tracing::enabled!(target: "sqlx::query", tracing::Level::WARN),
            )
        };
        assert!(!shown("info"));
        assert!(!shown("debug"));
        assert!(shown("info,sqlx::query=warn"));
    }
}
