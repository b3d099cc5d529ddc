use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::buffer::RequestBuffer;
use super::clock::{Clock, system_clock};
use super::entry::{EventLine, Fields, HttpFields, name_and_fields};
use super::escape::escaped;
use super::limits::MAX_TEXT_BYTES;
use super::render::{Renderer, RequestState, Summary};
use crate::database::{Statement, is_statement};
use crate::http::{ACCESS_TARGET, SERVER_TARGET};
use crate::sync::lock;

/// Writes requests as trees, and other events line by line. See [the module](super).
///
/// The HTTP layer emits a `tracing` span for each request, and an event when the request ends.
pub(crate) struct ConsoleLayer {
    clock: Clock,
    renderer: Renderer,
    shows_statements: bool,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

type SharedBuffer = Arc<Mutex<RequestBuffer>>;

/// What this layer stores in the extensions of each span.
struct SpanState {
    name: String,
    fields: String,
    /// The buffer of the request that this span represents, or belongs to.
    request: Option<SharedBuffer>,
    /// The index of the entry under which nested entries appear: this span's own entry or, if the
    /// buffer was full, that of the enclosing span. `None` is the request.
    parent_entry: Option<usize>,
    is_buffered: bool,
    is_request: bool,
}

impl ConsoleLayer {
    /// Writes to standard error.
    pub(crate) fn new(coloured: bool, shows_statements: bool) -> Self {
        let mut console = Self::with_writer(coloured, system_clock(), |text| {
            // An error on standard error cannot be reported anywhere.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        });
        console.shows_statements = shows_statements;
        console
    }

    pub(super) fn with_writer(
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

    /// Writes a request that has ended.
    fn on_access<S>(&self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let mut fields = HttpFields::default();
        event.record(&mut fields);
        let span = context.event_span(event);
        if let Some((request, _)) = span.as_ref().and_then(request_of) {
            let text = self.render(&mut lock(&request), RequestState::Ended(fields));
            (self.write)(&text);
        }
    }

    /// Buffers a statement under the request or span that sent it. Statements outside requests are
    /// not shown, as they are numerous.
    fn on_statement<S>(&self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let span = context.event_span(event);
        if let Some((request, parent)) = span.as_ref().and_then(request_of)
            && let Some(statement) = Statement::from_event(event, None)
        {
            let started = (self.clock)().saturating_sub(statement.elapsed);
            let name = escaped(statement.summary_text(), MAX_TEXT_BYTES);
            let name = if name.is_empty() { "statement" } else { &name };
            let mut request = lock(&request);
            if let Some(index) = request.start_span(parent, started, name, "") {
                request.end_span(index, started + statement.elapsed);
            }
        }
    }

    /// Renders the request with its buffered entries.
    fn render(&self, request: &mut RequestBuffer, state: RequestState) -> String {
        let (entries, omitted) = request.take_entries();
        let summary = Summary {
            now: (self.clock)(),
            started: request.started,
            trace: request.trace,
            method: request.method.clone(),
            path: request.path.clone(),
            state,
        };
        self.renderer.request(&summary, &entries, omitted)
    }

    /// Renders a request whose status is not known (yet).
    fn render_unfinished(&self, request: &mut RequestBuffer, reason: &'static str) -> String {
        let text = self.render(request, RequestState::Unfinished(reason));
        request.omitted = 0;
        text
    }
}

/// The state of a new span.
fn new_span_state<'a, S>(
    attributes: &span::Attributes<'_>,
    parent: Option<SpanRef<'a, S>>,
    now: Duration,
) -> SpanState
where
    S: Subscriber + LookupSpan<'a>,
{
    let (name, fields) = name_and_fields(attributes);
    let metadata = attributes.metadata();
    let is_request = metadata.target() == SERVER_TARGET && metadata.name() == "request";
    let mut state = SpanState {
        name,
        fields,
        request: None,
        parent_entry: None,
        is_buffered: false,
        is_request,
    };
    if is_request {
        let mut fields = HttpFields::default();
        attributes.record(&mut fields);
        let request = RequestBuffer::new(fields.method, fields.path, now);
        state.request = Some(Arc::new(Mutex::new(request)));
    } else if let Some((request, parent)) = parent.as_ref().and_then(request_of) {
        let mut buffer = lock(&request);
        note_trace_id(&mut buffer);
        let index = buffer.start_span(parent, now, &state.name, &state.fields);
        drop(buffer);
        state.request = Some(request);
        state.parent_entry = index.or(parent);
        state.is_buffered = index.is_some();
    }
    state
}

impl<S> Layer<S> for ConsoleLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let state = new_span_state(attributes, span.parent(), (self.clock)());
            span.extensions_mut().insert(state);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::new();
        values.record(&mut fields);
        let added = fields.into_text();
        if added.is_empty() {
            return;
        }
        let mut extensions = span.extensions_mut();
        let Some(state) = extensions.get_mut::<SpanState>() else {
            return;
        };
        match (&state.request, state.parent_entry) {
            (Some(request), Some(index)) if state.is_buffered => {
                lock(request).add_fields(index, &added);
            }
            _ if state.fields.len() + added.len() < MAX_TEXT_BYTES => {
                if !state.fields.is_empty() {
                    state.fields.push(' ');
                }
                state.fields.push_str(&added);
            }
            _ => {}
        }
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let extensions = span.extensions();
        if let Some(state) = extensions.get::<SpanState>()
            && state.is_request
            && let Some(request) = &state.request
        {
            note_trace_id(&mut lock(request));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() == ACCESS_TARGET {
            return self.on_access(event, &context);
        }
        if self.shows_statements && is_statement(event.metadata()) {
            return self.on_statement(event, &context);
        }
        let line = EventLine::new(event);
        let now = (self.clock)();
        let mut spans = Vec::new();
        let mut request = None;
        for span in context.event_scope(event).into_iter().flatten() {
            if request.is_none() {
                request = request_of(&span);
            }
            let extensions = span.extensions();
            if let Some(state) = extensions.get::<SpanState>()
                && !state.is_request
            {
                spans.push((state.name.clone(), state.fields.clone()));
            }
        }
        spans.reverse();
        let text = match request {
            None => self.renderer.event_line(now, &line, &spans, None),
            Some((request, parent)) => {
                let mut request = lock(&request);
                let mut text = String::new();
                if request.is_overdue(now) {
                    text = self.render_unfinished(&mut request, "still running");
                }
                let trace = request.trace;
                let Some(line) = request.add_event(parent, now, line) else {
                    return;
                };
                drop(request);
                text + &self.renderer.event_line(now, &line, &spans, trace)
            }
        };
        (self.write)(&text);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(state) = span.extensions_mut().remove::<SpanState>() else {
            return;
        };
        let Some(request) = &state.request else {
            return;
        };
        let mut request = lock(request);
        if state.is_request {
            if !request.is_written() && !request.entries.is_empty() {
                let text = self.render_unfinished(&mut request, "ended");
                drop(request);
                (self.write)(&text);
            }
        } else if let Some(index) = state.parent_entry.filter(|_| state.is_buffered) {
            request.end_span(index, (self.clock)());
        }
    }
}

/// The request to which a span belongs, and the entry under which its events appear.
fn request_of<'a, S>(span: &SpanRef<'a, S>) -> Option<(SharedBuffer, Option<usize>)>
where
    S: Subscriber + LookupSpan<'a>,
{
    let extensions = span.extensions();
    let state = extensions.get::<SpanState>()?;
    Some((Arc::clone(state.request.as_ref()?), state.parent_entry))
}

/// Sets the request's trace id from OpenTelemetry's current span: the HTTP layer attaches the
/// context of the request's span before it enters the console's span.
fn note_trace_id(request: &mut RequestBuffer) {
    if request.trace.is_none() {
        let current = opentelemetry::Context::current();
        let span = current.span();
        let span = span.span_context();
        request.trace = span.is_valid().then(|| span.trace_id());
    }
}
