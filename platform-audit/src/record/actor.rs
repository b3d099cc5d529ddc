use serde::{Deserialize, Serialize};

/// What kind of actor it is. A closed set, also in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActorKind {
    /// A person.
    User,
    /// Another service, by its machine-to-machine token.
    Service,
    /// The service itself: a job, a migration, a consumer.
    System,
    /// Nobody known: an attempt without an actor, or a route that allows it (log-in, sign-up).
    Anonymous,
}

impl ActorKind {
    /// The word stored, such as `service`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Who acts: PCI DSS 10.2.2 user identification, NIST AU-3 identity of subjects, FHIR
/// `AuditEvent.agent`.
///
/// Whatever authenticates the request inserts one into the request's extensions:
///
/// ```
/// # use platform_audit::Actor;
/// # let mut request = http::Request::new(());
/// request.extensions_mut().insert(Actor::user("ada").with_tenant("clinic-7"));
/// ```
///
/// An actor whose id is empty counts as none. Each part is cut at 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Actor {
    /// What kind of actor.
    #[serde(rename = "actor_kind")]
    pub kind: ActorKind,
    /// Which one: an opaque identifier, better not a name or an address.
    #[serde(rename = "actor_id")]
    pub id: String,
    /// The session or credential used: an identifier of it, never the secret itself.
    #[serde(rename = "actor_session")]
    pub session: Option<String>,
    /// The tenant acted in.
    #[serde(rename = "actor_tenant")]
    pub tenant: Option<String>,
    /// Whom the actor stands in for (support staff as a customer, a service for a user).
    #[serde(rename = "actor_on_behalf_of")]
    pub on_behalf_of: Option<String>,
}

impl Actor {
    /// A person.
    pub fn user(id: impl Into<String>) -> Self {
        Self::new(ActorKind::User, id)
    }

    /// Another service.
    pub fn service(id: impl Into<String>) -> Self {
        Self::new(ActorKind::Service, id)
    }

    /// The service itself; `id` names the job, consumer or command.
    pub fn system(id: impl Into<String>) -> Self {
        Self::new(ActorKind::System, id)
    }

    /// Nobody known.
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

    /// Names the session or credential (never the secret).
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Names the tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Names whom the actor stands in for.
    #[must_use]
    pub fn acting_for(mut self, subject: impl Into<String>) -> Self {
        self.on_behalf_of = Some(subject.into());
        self
    }
}
