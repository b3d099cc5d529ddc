//! What every part of one service's auditing shares, whichever database it is.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use http::request::Parts;
use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::error::{Error, kind};
use crate::flood::{Flood, Limited};
use crate::meters::Meters;
use crate::record::{Actor, AuditRecord, Outcome, bound_record};
use crate::store::AnyStore;

/// How long the record of an attempt may take before it counts as lost.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) service: String,
    pub(crate) service_version: Option<String>,
    pub(crate) store: Arc<dyn AnyStore>,
    pub(crate) actors: Option<Actors>,
    pub(crate) client_addresses: Option<ClientAddresses>,
    pub(crate) observe_only: bool,
    pub(crate) grace: Duration,
    /// How long a COMMIT may take to be answered.
    pub(crate) commit_within: Duration,
    pub(crate) meters: Meters,
    pub(crate) flood: Flood,
    /// What must not be cut off, and what a shutdown waits for.
    pub(crate) tasks: TaskTracker,
}

/// Derives the actor of a request that carries none in its extensions.
///
/// Implemented for closures. For authentication that waits for something, use a middleware that
/// inserts an [`Actor`] into the request's extensions instead.
pub trait ActorSource: Send + Sync + 'static {
    /// The actor of this request, if it can be told.
    fn actor(&self, request: &Parts) -> Option<Actor>;
}

impl<F: Fn(&Parts) -> Option<Actor> + Send + Sync + 'static> ActorSource for F {
    fn actor(&self, request: &Parts) -> Option<Actor> {
        self(request)
    }
}

#[derive(Clone)]
pub(crate) struct Actors(pub(crate) Arc<dyn ActorSource>);

impl std::fmt::Debug for Actors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Actors(..)")
    }
}

/// Who the client of a request is, behind the service's proxies.
#[derive(Clone)]
pub(crate) struct ClientAddresses(pub(crate) Arc<ClientAddressOf>);

type ClientAddressOf = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

/// No panic can happen while it is held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who the client is: as `told`, else the connection's other end.
pub(crate) fn client_address(told: Option<&ClientAddresses>, request: &Parts) -> Option<IpAddr> {
    let told = told.and_then(|ClientAddresses(source)| source(request));
    let peer = || {
        let info = request.extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|ConnectInfo(peer)| peer.ip())
    };
    // A listener for both families sees IPv4 inside IPv6.
    told.or_else(peer).map(|address| address.to_canonical())
}

impl std::fmt::Debug for ClientAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientAddresses(..)")
    }
}

/// One unit of work: what all its records share.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// The id of its first record, and the name of its transaction.
    pub(crate) id: Uuid,
    pub(crate) occurred_at: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) action: Cow<'static, str>,
    pub(crate) resource_type: Option<Cow<'static, str>>,
    pub(crate) resource_id: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) details: serde_json::Map<String, serde_json::Value>,
    pub(crate) request: Option<RequestFacts>,
    pub(crate) trace: Option<TraceIds>,
    /// What its attempt is limited by, if anything.
    pub(crate) limited: Option<Arc<Limited>>,
}

/// What the record keeps of the request.
#[derive(Clone, Debug)]
pub(crate) struct RequestFacts {
    pub(crate) request_id: Option<String>,
    pub(crate) method: String,
    pub(crate) route: Option<String>,
    pub(crate) path: String,
    pub(crate) client_address: Option<String>,
    pub(crate) user_agent: Option<String>,
    /// The fields that hold the first of several headers.
    pub(crate) repeated: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct TraceIds {
    pub(crate) trace: String,
    pub(crate) span: String,
}

impl TraceIds {
    /// Those of the span that is active now.
    pub(crate) fn current() -> Option<Self> {
        let context = opentelemetry::Context::current();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| Self {
            trace: span.trace_id().to_string(),
            span: span.span_id().to_string(),
        })
    }
}

/// Now, as finely as Postgres stores it: a finer time could never be compared again.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

impl Unit {
    pub(crate) fn new(flood: &Flood, actor: Actor, action: Cow<'static, str>) -> Self {
        Self {
            id: Uuid::now_v7(),
            occurred_at: now(),
            limited: flood.limit(&actor, action.clone(), None),
            actor,
            action,
            resource_type: None,
            resource_id: None,
            reason: None,
            details: serde_json::Map::new(),
            request: None,
            trace: TraceIds::current(),
        }
    }
}

impl Core {
    /// A record of `unit`, to be completed and [bounded](bound_record).
    pub(crate) fn record(&self, unit: &Unit, outcome: Outcome, status: Option<u16>) -> AuditRecord {
        let request = unit.request.as_ref();
        let trace = unit.trace.as_ref();
        AuditRecord {
            id: unit.id,
            xid: None,
            occurred_at: unit.occurred_at,
            recorded_at: None,
            service: self.service.clone(),
            service_version: self.service_version.clone(),
            actor: unit.actor.clone(),
            action: unit.action.clone().into_owned(),
            resource_type: unit.resource_type.clone().map(Cow::into_owned),
            resource_id: unit.resource_id.clone(),
            outcome,
            status,
            error_type: None,
            reason: unit.reason.clone(),
            request_id: request.and_then(|request| request.request_id.clone()),
            method: request.map(|request| request.method.clone()),
            route: request.and_then(|request| request.route.clone()),
            path: request.map(|request| request.path.clone()),
            client_address: request.and_then(|request| request.client_address.clone()),
            user_agent: request.and_then(|request| request.user_agent.clone()),
            trace_id: trace.map(|trace| trace.trace.clone()),
            span_id: trace.map(|trace| trace.span.clone()),
            changes: std::collections::BTreeMap::new(),
            details: unit.details.clone(),
            cut: request.map_or_else(Vec::new, |request| {
                let repeated = request.repeated.iter();
                repeated.map(|field| (*field).to_owned()).collect()
            }),
        }
    }

    /// Records an attempt that changed nothing, in a transaction of its own. What goes wrong
    /// here changes no response; it is loud instead.
    ///
    /// Answers with the id by which the attempt can be found, in the table or, if it was lost, in
    /// the event; `None` if it was one of too many, and only counted.
    pub(crate) async fn record_attempt(
        &self,
        unit: &Unit,
        outcome: Outcome,
        status: Option<u16>,
        error_type: &str,
    ) -> Option<Uuid> {
        if let Some(limited) = &unit.limited
            && !self.flood.admits(Some(limited))
        {
            self.flood.suppress(limited);
            self.meters.suppressed();
            return None;
        }
        let mut record = self.record(unit, outcome, status);
        record.error_type = Some(error_type.to_owned());
        bound_record(&mut record);
        match self.write_alone(&record).await {
            Ok(()) => self.meters.attempt(outcome),
            Err(error) => self.report_lost(&record, &error),
        }
        Some(unit.id)
    }

    /// As [`record_attempt`](Self::record_attempt), on a task of its own, which nobody waits for.
    pub(crate) fn record_later(
        self: &Arc<Self>,
        unit: Unit,
        outcome: Outcome,
        status: Option<u16>,
        error_type: &'static str,
    ) -> Option<Uuid> {
        let admitted = self.flood.admits(unit.limited.as_deref());
        let recorded = admitted.then_some(unit.id);
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            core.record_attempt(&unit, outcome, status, error_type)
                .await
        });
        recorded
    }

    /// Writes `record` in a transaction of its own, within [`ATTEMPT_TIMEOUT`], or says why not.
    pub(crate) async fn write_alone(&self, record: &AuditRecord) -> Result<(), String> {
        let records = std::slice::from_ref(record);
        match tokio::time::timeout(ATTEMPT_TIMEOUT, self.store.write(records)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Error::Record(error) | Error::Store(error) | Error::Begin(error))) => {
                Err(kind(&error))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        }
    }

    /// Records that something sensitive was read.
    pub(crate) async fn record_read(
        &self,
        unit: &Unit,
        status: http::StatusCode,
    ) -> Result<(), Error> {
        let mut record = self.record(unit, Outcome::Success, Some(status.as_u16()));
        bound_record(&mut record);
        let records = [record];
        let writing = self.store.write(&records);
        tokio::time::timeout(ATTEMPT_TIMEOUT, writing)
            .await
            .map_err(|_| Error::Record(sqlx::Error::PoolTimedOut))??;
        self.meters.committed(1);
        Ok(())
    }

    /// Says that an attempt's record could not be stored, with the record itself.
    pub(crate) fn report_lost(&self, record: &AuditRecord, error: &str) {
        self.meters.lost();
        let text = serde_json::to_string(record).unwrap_or_default();
        tracing::error!(
            audit.record = text,
            error,
            "the audit record of an attempt could not be stored; this event is all that is left of it"
        );
    }
}
