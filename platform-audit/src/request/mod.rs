//! What the guard, the handler and the routing tell each other about one request.

pub(crate) mod problem;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use axum::extract::{MatchedPath, NestedPath, OriginalUri};
use http::request::Parts;
use http::{Extensions, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::action::ActionSpec;
use crate::action::{Catalogue, CatalogueEntry};
use crate::actor_source::client_address;
use crate::core::Core;
use crate::lock::lock;
use crate::operation::{Operation, RequestFacts, TraceIds, now};
use crate::rate_limit::LimitKey;
use crate::record::{Actor, ActorKind};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request under the guard; a handle to it travels in the request's extensions.
#[derive(Debug)]
pub(crate) struct AuditedRequest {
    pub(crate) core: Arc<Core>,
    /// Minted before anything happens, so that any answer can name it.
    /// Of the call that is, or will be, at work.
    record_id: Mutex<Uuid>,
    pub(crate) method: Method,
    occurred_at: Timestamp,
    uri: Uri,
    request_id: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// Of which of these the client sent several, so that a record says that the others are not in it.
    repeated: Vec<&'static str>,
    client_address: Option<IpAddr>,
    /// The template as matched, known to the guard when it is inside the router, else told by what is.
    route: OnceLock<String>,
    /// What the innermost router told that the request came through.
    catalogue: Mutex<Option<MountedCatalogue>>,
    state: Mutex<State>,
}

/// What the typed router says of its routes; travels in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct MountedCatalogue {
    pub(crate) catalogue: Arc<Catalogue>,
    /// The part of a route that belongs to routers outside of it.
    pub(crate) outside: Option<NestedPath>,
}

/// How far an audited handler got.
#[derive(Debug)]
pub(crate) enum State {
    /// A guard of another `Audit`, inside this one, has taken it over.
    Elsewhere,
    /// No audited handler was reached; who acts, if that was known outside the guard.
    Untouched(Option<Actor>),
    /// An audited handler was reached, and one of its extractors is at work or refused.
    Reached {
        spec: ActionSpec,
        actor: Option<Actor>,
        trace: Option<TraceIds>,
    },
    /// Its body runs, to its end even if nobody waits for it, and then records how it ended.
    Running {
        caller: watch::Sender<Caller>,
        /// What its attempt would be limited by.
        limit: Option<Arc<LimitKey>>,
    },
    /// It committed, with its record.
    Committed,
    /// It ended without a commit, or with one whose outcome is unknown; under which id it was
    /// recorded, if it was.
    NotCommitted(Option<Uuid>),
}

/// What has become of the request that waits for a running handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Waiting,
    /// The client hung up, or something between the guard and the handler stopped waiting.
    Gone,
    /// The request was answered with this status without the handler.
    AnsweredWithout(StatusCode),
}

#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(crate) Arc<AuditedRequest>);

impl AuditedRequest {
    pub(crate) fn new(core: Arc<Core>, parts: &Parts) -> Self {
        let Parts {
            method,
            uri,
            headers,
            extensions,
            ..
        } = parts;
        let request = Self {
            client_address: client_address(core.client_addresses.as_ref(), parts),
            core,
            record_id: Mutex::new(Uuid::now_v7()),
            method: method.clone(),
            occurred_at: now(),
            uri: extensions
                .get::<OriginalUri>()
                .map_or_else(|| uri.clone(), |uri| uri.0.clone()),
            request_id: headers.get(REQUEST_ID).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            repeated: [
                ("request_id", REQUEST_ID),
                ("user_agent", header::USER_AGENT),
            ]
            .into_iter()
            .filter(|(_, header)| headers.get_all(header).iter().nth(1).is_some())
            .map(|(field, _)| field)
            .collect(),
            route: OnceLock::new(),
            catalogue: Mutex::default(),
            state: Mutex::new(State::Untouched(None)),
        };
        request.learn_route(extensions);
        request
    }

    /// Work that no HTTP request asked for, such as a test that calls a handler.
    pub(crate) fn without_request(core: Arc<Core>) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::POST;
        Self::new(core, &parts)
    }

    /// Keeps who acts, in case the request is refused before its handler can ask.
    pub(crate) fn note_actor(&self, parts: &Parts) {
        let actor = self.actor(parts);
        *self.state() = State::Untouched(actor);
    }

    /// Who acts as far as is known outside the handler.
    pub(crate) fn noted_actor(&self) -> Option<Actor> {
        match &*self.state() {
            State::Untouched(actor) => actor.clone(),
            _ => None,
        }
    }

    /// Keeps the route and the catalogue if `extensions` know them.
    pub(crate) fn learn_route(&self, extensions: &Extensions) {
        if let Some(matched) = extensions.get::<MatchedPath>() {
            self.route.get_or_init(|| matched.as_str().to_owned());
        }
        if let Some(told) = extensions.get::<MountedCatalogue>() {
            *lock(&self.catalogue) = Some(told.clone());
        }
    }

    /// An audited handler was reached. What calls it again in the same request, to try once more,
    /// does work of its own, which has a record of its own.
    pub(crate) fn reached(&self, spec: ActionSpec, actor: Option<Actor>, trace: Option<TraceIds>) {
        let reached = State::Reached { spec, actor, trace };
        let before = std::mem::replace(&mut *self.state(), reached);
        if !matches!(before, State::Untouched(_)) {
            *lock(&self.record_id) = Uuid::now_v7();
        }
    }

    /// The id of the first record of the call that is at work.
    pub(crate) fn record_id(&self) -> Uuid {
        *lock(&self.record_id)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What the typed router knows of the route, although no handler was reached.
    pub(crate) fn catalogued(&self) -> Option<CatalogueEntry> {
        let told = lock(&self.catalogue).clone()?;
        let route = self.route.get()?;
        let outside = told.outside.as_ref().map_or("", NestedPath::as_str);
        let path = match route.strip_prefix(outside.trim_end_matches('/')) {
            // A nested `/` answers at the prefix itself.
            Some("") => "/",
            Some(path) => path,
            None => route,
        };
        told.catalogue.find(&self.method, path).cloned()
    }

    /// The route's template, for events: it holds no data of the client's.
    pub(crate) fn route(&self) -> &str {
        self.route.get().map_or("", |route| route)
    }

    /// A operation of work of this request.
    pub(crate) fn operation(
        &self,
        spec: &ActionSpec,
        actor: Actor,
        trace: Option<TraceIds>,
    ) -> Operation {
        let action = Cow::Borrowed(spec.action);
        Operation {
            id: self.record_id(),
            occurred_at: self.occurred_at,
            limit: (self.core.rate_limiter).limit(&actor, action.clone(), self.client_address),
            actor,
            action,
            resource_type: spec.resource.map(Cow::Borrowed),
            resource_id: None,
            reason: None,
            details: serde_json::Map::new(),
            request: Some(self.facts()),
            trace,
        }
    }

    fn facts(&self) -> RequestFacts {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        RequestFacts {
            request_id: self.request_id.as_ref().map(text),
            method: self.method.as_str().to_owned(),
            route: self.route.get().cloned(),
            path: self.uri.path().to_owned(),
            client_address: self.client_address.map(|address| address.to_string()),
            user_agent: self.user_agent.as_ref().map(text),
            repeated: self.repeated.clone(),
        }
    }

    /// Who acts, by what authenticated the request or by the service's [`ActorSource`](crate::ActorSource).
    pub(crate) fn actor(&self, parts: &Parts) -> Option<Actor> {
        // Whoever says that nobody is known has not said who acts.
        let is_known = |actor: &Actor| actor.kind != ActorKind::Anonymous && !actor.id.is_empty();
        let known = parts.extensions.get::<Actor>().cloned().filter(is_known);
        let noted = || self.noted_actor();
        let derived = || {
            let source = self.core.actors.as_ref()?;
            source.0.actor(parts).filter(is_known)
        };
        known.or_else(noted).or_else(derived)
    }
}
