//! The state of one request, shared by the audit layer, the handler and the typed router.

pub(crate) mod problem;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use axum::extract::{MatchedPath, NestedPath};
use http::request::Parts;
use http::{Extensions, Method, Request, StatusCode};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::action::ActionSpec;
use crate::action::{Catalogue, CatalogueEntry};
use crate::core::Core;
use crate::lock::lock;
use crate::operation::{Operation, RequestFacts, TraceIds, now};
use crate::rate_limit::LimitKey;
use crate::record::{Actor, ActorKind};

/// One request inside the audit layer. A [`Handle`] to it is in the request's extensions.
#[derive(Debug)]
pub(crate) struct AuditedRequest {
    pub(crate) core: Arc<Core>,
    /// The id of the first record of the current call. It is generated first, so that every
    /// response can contain it.
    record_id: Mutex<Uuid>,
    occurred_at: Timestamp,
    facts: RequestFacts,
    /// The matched route template. The layer knows it if it is inside the router; otherwise the
    /// typed router or the handler sets it.
    route: OnceLock<MatchedPath>,
    /// The catalogue of the innermost typed router that the request reached.
    catalogue: Mutex<Option<MountedCatalogue>>,
    state: Mutex<State>,
}

/// The catalogue of a typed router's routes, in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct MountedCatalogue {
    pub(crate) catalogue: Arc<Catalogue>,
    /// The prefix under which the router is nested.
    pub(crate) outside: Option<NestedPath>,
}

/// The progress of a request's audited handler.
#[derive(Debug)]
pub(crate) enum State {
    /// The layer of another `Audit`, inside this one, has taken the request over.
    Elsewhere,
    /// No audited handler was reached. Contains the actor, if one is known outside the layer.
    Untouched(Option<Actor>),
    /// An audited handler was reached. One of its extractors is running, or has rejected the
    /// request.
    Reached {
        spec: ActionSpec,
        actor: Option<Actor>,
        trace: Option<TraceIds>,
    },
    /// The handler's body is running. It runs to its end even if the client disconnects, and then
    /// records how it ended.
    Running {
        caller: watch::Sender<Caller>,
        /// The rate limit that its attempt would count against.
        limit: Option<Arc<LimitKey>>,
    },
    /// The operation was committed with its record.
    Committed,
    /// The operation was not committed, or its outcome is unknown. Contains the id of its record,
    /// if there is one.
    NotCommitted(Option<Uuid>),
}

/// Whether a caller still waits for the running handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Waiting,
    /// The client disconnected, or a layer between the audit layer and the handler stopped waiting.
    Gone,
    /// The client received this status without the handler.
    RespondedWithout(StatusCode),
}

#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(crate) Arc<AuditedRequest>);

impl AuditedRequest {
    pub(crate) fn new(core: Arc<Core>, parts: &Parts) -> Self {
        let request = Self {
            facts: RequestFacts::from_parts(parts, core.client_addresses.as_ref()),
            core,
            record_id: Mutex::new(Uuid::now_v7()),
            occurred_at: now(),
            route: OnceLock::new(),
            catalogue: Mutex::default(),
            state: Mutex::new(State::Untouched(None)),
        };
        request.learn_route(&parts.extensions);
        request
    }

    /// For a handler that is called without an HTTP request, as in a test.
    pub(crate) fn without_request(core: Arc<Core>) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::POST;
        Self::new(core, &parts)
    }

    /// Stores the actor, in case the request is rejected before its handler determines it.
    pub(crate) fn note_actor(&self, parts: &Parts) {
        let actor = self.actor(parts);
        *self.state() = State::Untouched(actor);
    }

    /// The actor as known outside the handler.
    pub(crate) fn noted_actor(&self) -> Option<Actor> {
        match &*self.state() {
            State::Untouched(actor) => actor.clone(),
            _ => None,
        }
    }

    /// Stores the route and the catalogue if `extensions` contain them.
    pub(crate) fn learn_route(&self, extensions: &Extensions) {
        if let Some(matched) = extensions.get::<MatchedPath>() {
            self.route.get_or_init(|| matched.clone());
        }
        if let Some(mounted) = extensions.get::<MountedCatalogue>() {
            *lock(&self.catalogue) = Some(mounted.clone());
        }
    }

    /// Called when an audited handler is reached. If a layer retries it within the same request,
    /// each call is an operation with a record of its own.
    pub(crate) fn reached(&self, spec: ActionSpec, actor: Option<Actor>, trace: Option<TraceIds>) {
        let reached = State::Reached { spec, actor, trace };
        let before = std::mem::replace(&mut *self.state(), reached);
        if !matches!(before, State::Untouched(_)) {
            *lock(&self.record_id) = Uuid::now_v7();
        }
    }

    /// The id of the current call's first record.
    pub(crate) fn record_id(&self) -> Uuid {
        *lock(&self.record_id)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The typed router's catalogue entry of the route, even if no handler was reached.
    pub(crate) fn catalogued(&self) -> Option<CatalogueEntry> {
        let mounted = lock(&self.catalogue).clone()?;
        let route = self.route.get()?.as_str();
        let outside = mounted.outside.as_ref().map_or("", NestedPath::as_str);
        let path = match route.strip_prefix(outside.trim_end_matches('/')) {
            // A nested `/` matches the prefix itself.
            Some("") => "/",
            Some(path) => path,
            None => route,
        };
        mounted.catalogue.find(self.method(), path).cloned()
    }

    /// The route template, for events. It contains no data of the client.
    pub(crate) fn route(&self) -> &str {
        self.route.get().map_or("", MatchedPath::as_str)
    }

    pub(crate) fn method(&self) -> &Method {
        &self.facts.method
    }

    /// An operation of this request.
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
            limit: (self.core.rate_limiter).key(&actor, action.clone(), self.facts.client_address),
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
        let mut facts = self.facts.clone();
        facts.route = self.route.get().cloned();
        facts
    }

    /// The actor, from the layer that authenticated the request or from the service's
    /// [`ActorSource`](crate::ActorSource).
    pub(crate) fn actor(&self, parts: &Parts) -> Option<Actor> {
        // An anonymous actor does not override a source that knows one.
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
