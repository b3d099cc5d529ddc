use serde::{Deserialize, Serialize};

/// The kind of an actor. The database accepts only these values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActorKind {
    /// A person.
    User,
    /// Another service, identified by its machine-to-machine token.
    Service,
    /// The service itself: a job, a migration or a consumer.
    System,
    /// Not authenticated: the request had no actor, or the route does not require one (log-in,
    /// sign-up).
    Anonymous,
}

impl ActorKind {
    /// Returns the value stored in the database, such as `service`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

/// The user, service or job that performs an operation: PCI DSS 10.2.2 user identification, NIST
/// AU-3 identity of subjects, FHIR `AuditEvent.agent`.
///
/// The authentication middleware inserts one into the request's extensions:
///
/// ```
/// # use platform_audit::Actor;
/// # let mut request = http::Request::new(());
/// request.extensions_mut().insert(Actor::user("ada").with_tenant("clinic-7"));
/// ```
///
/// An actor with an empty `id` is treated as absent. Each text is truncated to 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Actor {
    /// User, service, system or anonymous.
    #[serde(rename = "actor_kind")]
    pub kind: ActorKind,
    /// The actor's identifier. Prefer an opaque one to a name or an e-mail address.
    #[serde(rename = "actor_id")]
    pub id: String,
    /// The identifier of the session or credential used, never the secret itself.
    #[serde(rename = "actor_session")]
    pub session: Option<String>,
    /// The tenant in which the actor acts.
    #[serde(rename = "actor_tenant")]
    pub tenant: Option<String>,
    /// The subject that the actor represents, such as the customer that support staff acts for,
    /// or the user that a service acts for.
    #[serde(rename = "actor_on_behalf_of")]
    pub on_behalf_of: Option<String>,
}

impl Actor {
    /// Creates an actor for a person.
    pub fn user(id: impl Into<String>) -> Self {
        Self::new(ActorKind::User, id)
    }

    /// Creates an actor for another service.
    pub fn service(id: impl Into<String>) -> Self {
        Self::new(ActorKind::Service, id)
    }

    /// Creates an actor for the service itself; `id` names the job, consumer or command.
    pub fn system(id: impl Into<String>) -> Self {
        Self::new(ActorKind::System, id)
    }

    /// Creates an actor for an unauthenticated request.
    pub fn anonymous() -> Self {
        Self::new(ActorKind::Anonymous, "anonymous")
    }

    fn new(kind: ActorKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            session: None,
            tenant: None,
            on_behalf_of: None,
        }
    }

    /// Sets the identifier of the session or credential (never the secret).
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Sets the tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Sets the subject on whose behalf the actor acts.
    #[must_use]
    pub fn acting_for(mut self, subject: impl Into<String>) -> Self {
        self.on_behalf_of = Some(subject.into());
        self
    }
}
