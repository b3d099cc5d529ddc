//! What becomes of the service's `tracing` spans and events.

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

use crate::console::{self, Console};
use crate::database::{self, Statements};
use crate::error::Error;
use crate::export::Providers;
use crate::http::{ACCESS, SPAN};
use crate::telemetry::SCOPE;
use crate::tracer::Tracer;
use crate::{client, messaging};

/// What is logged where neither the code nor `RUST_LOG` says more.
pub(crate) const DEFAULT_FILTER: &str = "info";

/// Before every filter: libraries that say much of little, and sqlx's statements, whose text may
/// hold a client's data. Whoever names one of them in the filter has it.
const QUIET: &str = "hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,rustls=warn,opentelemetry=warn,sqlx::query=off,platform_observability::panic=error";

/// Whose events are never exported, lest each export cause the next: what the exporters are made
/// of. Each stands for its submodules and for crates named after it, such as `hyper_util`.
const NEVER_EXPORTED: [&str; 5] = ["hyper", "h2", "reqwest", "rustls", "opentelemetry"];

/// Spans to the traces, events to the logs (never to both, lest they be paid twice), and to
/// standard error lines, or, where `shows_requests`, each request as a tree.
pub(crate) fn new(
    providers: &Providers,
    filter: Filter,
    shows_requests: bool,
    statements: Option<Statements>,
) -> Result<(Dispatch, LogFilter), Error> {
    let mut setters = Vec::new();
    // Only those that there are: one that is `None` makes `tracing` ask all filters about each
    // event anew, also about those that nobody listens to.
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if let Some(provider) = &providers.tracer {
        let layer = spans(Tracer::of(provider, SCOPE));
        // Whatever the filter says, the spans of calls and messages stay: without them,
        // traces would tear.
        let traced = settable(&filter, always(), &mut setters)?.and(filter_fn(|metadata| {
            metadata.is_span() && exported(metadata)
        }));
        layers.push(layer.with_filter(traced).boxed());
    }
    if let Some(provider) = &providers.logger {
        let events = settable(&filter, String::new(), &mut setters)?.and(filter_fn(|metadata| {
            metadata.is_event() && exported(metadata)
        }));
        let layer = OpenTelemetryTracingBridge::new(provider);
        layers.push(layer.with_filter(events).boxed());
    }
    let shows_statements = statements.is_some();
    if let Some(layer) = statements {
        layers.push(layer.with_filter(filter_fn(is_statement)).boxed());
    }
    if shows_requests {
        let more = quiet_but_shown(&filter, shows_statements, &mut setters);
        let shown = settable(&filter, String::new(), &mut setters)?.or(more);
        let layer = Console::new(console::is_coloured(), shows_statements);
        layers.push(layer.with_filter(shown).boxed());
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .compact()
            .fmt_fields(debug_fn(show))
            .with_ansi(console::is_coloured())
            .with_writer(std::io::stderr);
        let shown = settable(&filter, String::new(), &mut setters)?;
        layers.push(layer.with_filter(shown).boxed());
    }
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layers));
    Ok((dispatch, LogFilter(setters.into())))
}

/// What is logged, changeable while the service runs; from
/// [`Telemetry::log_filter`](crate::Telemetry::log_filter). Cheap to clone.
#[derive(Clone)]
pub struct LogFilter(Arc<[Setter]>);

type Setter = Box<dyn Fn(&Filter) -> Result<(), Error> + Send + Sync>;

impl LogFilter {
    /// Logs what `directives` say from now on, such as `info,my_service=debug`, in the syntax of
    /// tracing-subscriber's `EnvFilter`.
    ///
    /// # Errors
    ///
    /// When they cannot be read; what was logged before is logged on then.
    pub fn set(&self, directives: &str) -> Result<(), Error> {
        let filter = Filter {
            directives: directives.to_owned(),
            from_environment: false,
        };
        // Each is read by the same rules, so the first fails or none.
        self.0.iter().try_for_each(|set| set(&filter))
    }
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogFilter(..)")
    }
}

/// A filter by `filter` and `more`, and how to set another.
fn settable<S: 'static>(
    filter: &Filter,
    more: String,
    setters: &mut Vec<Setter>,
) -> Result<reload::Layer<EnvFilter, S>, Error> {
    let (settable, handle) = reload::Layer::new(filter.parse(&more)?);
    setters.push(Box::new(move |filter| {
        let filter = filter.parse(&more)?;
        // It fails only where the subscriber is gone, which logs nothing anyway.
        let _ = handle.reload(filter);
        Ok(())
    }));
    Ok(settable)
}

/// Lets through what is told at DEBUG, but is shown where INFO is: that an audit record was
/// committed, and statements.
fn quiet_but_shown<S>(
    filter: &Filter,
    shows_statements: bool,
    setters: &mut Vec<Setter>,
) -> impl layer::Filter<S> + use<S> {
    let shows_info = |filter: &Filter| {
        let most = filter.parse("").map(|it| it.max_level_hint());
        most.is_ok_and(|most| most.is_none_or(|most| most >= LevelFilter::INFO))
    };
    let shown = Arc::new(AtomicBool::new(shows_info(filter)));
    let set = Arc::clone(&shown);
    // Before those that make `tracing` ask the filters anew.
    setters.insert(
        0,
        Box::new(move |filter| {
            filter.parse("")?;
            set.store(shows_info(filter), Ordering::Relaxed);
            Ok(())
        }),
    );
    filter_fn(move |metadata| {
        let is_quiet = console::is_audit(metadata) || (shows_statements && is_statement(metadata));
        is_quiet && shown.load(Ordering::Relaxed)
    })
    .with_max_level_hint(LevelFilter::DEBUG)
}

/// Whether sqlx tells of a statement, or asks whether to (which is neither an event nor a span).
pub(crate) fn is_statement(metadata: &Metadata<'_>) -> bool {
    !metadata.is_span() && metadata.target() == database::TARGET
}

/// The service's `tracing` spans, without the attributes that no convention knows and that cost
/// most: where in the code, on which thread, how long it was idle.
pub(crate) fn spans<S>(tracer: Tracer) -> OpenTelemetryLayer<S, Tracer>
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

/// The directives that keep the spans of calls and messages.
fn always() -> String {
    let targets = [client::SPAN, messaging::SPAN];
    targets.map(|target| format!(",{target}=info")).concat()
}

/// What is logged.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) directives: String,
    /// Whether `RUST_LOG` said so.
    pub(crate) from_environment: bool,
}

impl Filter {
    fn parse(&self, more: &str) -> Result<EnvFilter, Error> {
        let directives = format!("{QUIET},{}{more}", self.directives);
        EnvFilter::builder().parse(directives).map_err(|error| {
            let problem = format!("cannot be read: {error}");
            let remedy = "write it as `info`, or as `info,my_service=debug`";
            if self.from_environment {
                Error::Variable {
                    variable: "RUST_LOG".to_owned(),
                    problem,
                    remedy,
                }
            } else {
                Error::Setting {
                    setting: "log_filter",
                    problem,
                    remedy,
                }
            }
        })
    }
}

/// Whether such a span or event may leave the process.
pub(crate) fn exported(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target != ACCESS
        // The request's span is OpenTelemetry's own; this one is the console's.
        && !(target == SPAN && metadata.is_span())
        && !NEVER_EXPORTED.iter().any(|name| {
            let rest = target.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_', '-']))
        })
}

/// Fields on standard error: of those that tell OpenTelemetry about a span only the name.
fn show(writer: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    // What comes from elsewhere neither acts on a terminal nor begins a line.
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

    use super::{Filter, show};

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
    fn what_is_logged_neither_acts_on_a_terminal_nor_begins_a_line() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(debug_fn(show))
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
    fn a_filter_is_changed_while_it_is_used() {
        let filter = Filter {
            directives: "info".to_owned(),
            from_environment: false,
        };
        let mut setters = Vec::new();
        let layer = super::settable(&filter, ",always=info".to_owned(), &mut setters).unwrap();
        let registry = tracing_subscriber::registry::Registry::default();
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(registry, layer);
        let _scope = tracing::subscriber::set_default(subscriber);
        let log_filter = super::LogFilter(setters.into());
        let debugs = || tracing::enabled!(target: "mine", tracing::Level::DEBUG);
        assert!(!debugs());
        log_filter.set("off,mine=debug").unwrap();
        assert!(debugs());
        assert!(tracing::enabled!(target: "always", tracing::Level::INFO));
        // What speaks of one target only silences no panic; who names panics may.
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
        assert!(debugs(), "it stays as it was");
    }

    #[test]
    fn a_malformed_filter_is_an_error_that_names_where_it_was_set() {
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
    fn the_spans_of_calls_and_messages_stay_whatever_the_filter_says() {
        use crate::{client, messaging};
        let filter = Filter {
            directives: "off".to_owned(),
            from_environment: true,
        };
        let subscriber = tracing_subscriber::registry::Registry::default();
        let filter = filter.parse(&super::always()).unwrap();
        let filtered = tracing_subscriber::layer::SubscriberExt::with(subscriber, filter);
        let _scope = tracing::subscriber::set_default(filtered);
        assert!(tracing::enabled!(target: client::SPAN, tracing::Level::INFO));
        assert!(tracing::enabled!(target: messaging::SPAN, tracing::Level::INFO));
        assert!(!tracing::enabled!(target: "other", tracing::Level::INFO));
    }

    #[test]
    fn the_console_shows_audit_records_and_statements_where_it_shows_info() {
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
        let more = super::quiet_but_shown(&filter, true, &mut setters);
        let layer = super::settable(&filter, String::new(), &mut setters).unwrap();
        let layer = Counts(Arc::clone(&shown)).with_filter(layer.or(more));
        let subscriber = tracing_subscriber::registry().with(layer);
        let _scope = tracing::subscriber::set_default(subscriber);
        let log_filter = super::LogFilter(setters.into());
        let said = || {
            shown.store(0, Ordering::SeqCst);
            tracing::debug!(target: "platform_audit::work", record_id = 1, action = 2, records = 3, "audited");
            tracing::debug!(target: "sqlx::query", summary = "SELECT 1", db.statement = "");
            tracing::debug!(target: "platform_audit::work", "of no interest");
            shown.load(Ordering::SeqCst)
        };
        assert_eq!(said(), 0);
        log_filter.set("info").unwrap();
        assert_eq!(said(), 2);
        log_filter.set("warn").unwrap();
        assert_eq!(said(), 0);
    }

    #[test]
    fn sqls_text_is_logged_only_where_it_is_asked_for() {
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
