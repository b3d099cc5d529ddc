use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::clock::Clock;
use super::ended;
use super::entry::{Fields, Line, name_and_fields};
use super::escape::escaped;
use super::render::{Renderer, Summary};
use super::request::Request;
use crate::database::Statement;
use crate::http::{ACCESS, SPAN};
use crate::subscriber::is_statement;

/// Shows requests as trees, and the rest line by line. See [the module](super).
pub(crate) struct Console {
    clock: Clock,
    renderer: Renderer,
    shows_statements: bool,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

/// What a span is here.
struct Shown {
    name: String,
    fields: String,
    /// The request that it is, or is below.
    request: Option<Arc<Mutex<Request>>>,
    /// The entry that what happens in it is below: its own, or, where there was no room for it,
    /// that of the span around it. None is the request itself.
    place: Option<usize>,
    is_held: bool,
    is_request: bool,
}

impl Console {
    /// On standard error.
    pub(crate) fn new(coloured: bool, shows_statements: bool) -> Self {
        let mut console = Self::writing(coloured, Clock::of_system(), |text| {
            // There is nowhere left to say that it failed.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        });
        console.shows_statements = shows_statements;
        console
    }

    pub(super) fn writing(
        coloured: bool,
        clock: Clock,
        write: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock,
            renderer: Renderer { coloured },
            shows_statements: true,
            write: Box::new(write),
        }
    }

    fn access<S>(&self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let line = Line::of(event);
        let Some(request) = context.event_span(event).and_then(|span| {
            let extensions = span.extensions();
            extensions.get::<Shown>()?.request.clone()
        }) else {
            return;
        };
        let now = self.clock.now();
        let mut request = lock(&request);
        let ended = ended::take(request.trace);
        let (entries, more) = request.show();
        let summary = Summary {
            now,
            started: request.started,
            trace: ended.as_ref().map(|it| it.trace).or(request.trace),
            name: request.name.clone(),
            ended,
            otherwise: line.text,
        };
        drop(request);
        (self.write)(&self.renderer.request(&summary, &entries, more));
    }

    /// Holds a statement below the request or span that sent it. Those of no request are many, and
    /// not shown.
    fn statement<S>(&self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let above = context.event_span(event).and_then(|span| {
            let extensions = span.extensions();
            let shown = extensions.get::<Shown>()?;
            Some((shown.request.clone()?, shown.place))
        });
        if let Some((request, parent)) = above
            && let Some(statement) = Statement::of(event, None)
        {
            let began = self.clock.now().saturating_sub(statement.elapsed);
            let name = escaped(statement.name(), super::LONGEST);
            let name = if name.is_empty() { "statement" } else { &name };
            let mut request = lock(&request);
            if let Some(own) = request.begin(parent, began, name, "") {
                request.end(own, began + statement.elapsed);
            }
        }
    }

    /// Shows what is held of a request that goes on, or that ended without a word.
    fn unfinished(&self, request: &mut Request, otherwise: &str) -> String {
        let (entries, more) = request.show();
        let summary = Summary {
            now: self.clock.now(),
            started: request.started,
            trace: request.trace,
            name: request.name.clone(),
            ended: None,
            otherwise: otherwise.to_owned(),
        };
        request.more = 0;
        self.renderer.request(&summary, &entries, more)
    }
}

impl<S> Layer<S> for Console
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let Some(span) = context.span(id) else {
            return;
        };
        let (name, fields) = name_and_fields(attributes);
        let now = self.clock.now();
        let metadata = attributes.metadata();
        let is_request = metadata.target() == SPAN && metadata.name() == "request";
        let (request, place, is_held) = if is_request {
            let request = Request::new(name.clone(), now);
            (Some(Arc::new(Mutex::new(request))), None, false)
        } else {
            let above = span.parent().and_then(|parent| {
                let extensions = parent.extensions();
                let shown = extensions.get::<Shown>()?;
                Some((shown.request.clone()?, shown.place))
            });
            match above {
                None => (None, None, false),
                Some((request, parent)) => {
                    let mut held = lock(&request);
                    note_trace(&mut held);
                    let own = held.begin(parent, now, &name, &fields);
                    drop(held);
                    (Some(request), own.or(parent), own.is_some())
                }
            }
        };
        span.extensions_mut().insert(Shown {
            name,
            fields,
            request,
            place,
            is_held,
            is_request,
        });
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::new();
        values.record(&mut fields);
        let more = fields.into_text();
        if more.is_empty() {
            return;
        }
        let mut extensions = span.extensions_mut();
        let Some(shown) = extensions.get_mut::<Shown>() else {
            return;
        };
        match (&shown.request, shown.place) {
            (Some(request), Some(own)) if shown.is_held => lock(request).add_fields(own, &more),
            _ if shown.fields.len() + more.len() < super::LONGEST => {
                if !shown.fields.is_empty() {
                    shown.fields.push(' ');
                }
                shown.fields.push_str(&more);
            }
            _ => {}
        }
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let extensions = span.extensions();
        if let Some(shown) = extensions.get::<Shown>()
            && shown.is_request
            && let Some(request) = &shown.request
        {
            note_trace(&mut lock(request));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() == ACCESS {
            return self.access(event, &context);
        }
        if self.shows_statements && is_statement(event.metadata()) {
            return self.statement(event, &context);
        }
        let line = Line::of(event);
        let now = self.clock.now();
        let mut spans = Vec::new();
        let mut place = None;
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            let Some(shown) = extensions.get::<Shown>() else {
                continue;
            };
            if let Some(request) = &shown.request {
                place.get_or_insert_with(|| (Arc::clone(request), shown.place));
            }
            if !shown.is_request {
                spans.push((shown.name.clone(), shown.fields.clone()));
            }
        }
        spans.reverse();
        let text = match place {
            None => self.renderer.alone(now, &line, &spans, None),
            Some((request, parent)) => {
                let mut request = lock(&request);
                let mut text = String::new();
                if request.is_late(now) {
                    text = self.unfinished(&mut request, "goes on");
                }
                let trace = request.trace;
                let Some(line) = request.add(parent, now, line) else {
                    return;
                };
                drop(request);
                text + &self.renderer.alone(now, &line, &spans, trace)
            }
        };
        (self.write)(&text);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        let Some(shown) = extensions.remove::<Shown>() else {
            return;
        };
        drop(extensions);
        let Some(request) = &shown.request else {
            return;
        };
        let mut request = lock(request);
        if shown.is_request {
            if !request.is_shown() && !request.entries.is_empty() {
                let text = self.unfinished(&mut request, "ended");
                drop(request);
                (self.write)(&text);
            }
        } else if let Some(own) = shown.place.filter(|_| shown.is_held) {
            let now = self.clock.now();
            request.end(own, now);
        }
    }
}

/// The request's span is the current one for OpenTelemetry when its line is entered, and the
/// line itself is none of its spans.
fn note_trace(request: &mut Request) {
    if request.trace.is_none() {
        let current = opentelemetry::Context::current();
        let span = current.span();
        let span = span.span_context();
        request.trace = span.is_valid().then(|| span.trace_id());
    }
}

fn lock(request: &Mutex<Request>) -> MutexGuard<'_, Request> {
    request.lock().unwrap_or_else(PoisonError::into_inner)
}
