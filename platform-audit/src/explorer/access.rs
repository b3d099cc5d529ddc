//! Access control.

use std::fmt;
use std::future::{Future, ready};

use headers::authorization::{Authorization, Basic, Bearer};
use headers::{HeaderMapExt, HeaderValue};
use http::request::Parts;
use subtle::ConstantTimeEq;

use crate::record::Actor;

/// Decides who may see the records. Called for every request except the stylesheet's.
pub trait Access: Send + Sync + 'static {
    /// Returns the visitor of an authorized request, or why it is refused.
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send;

    /// The challenge of a 401 response, in `WWW-Authenticate` (RFC 9110, section 11.6.1).
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}

impl<F> Access for F
where
    F: Fn(&Parts) -> Result<Visitor, Refusal> + Send + Sync + 'static,
{
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        ready(self(parts))
    }
}

/// An authorized visitor; every recorded read names the actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visitor {
    /// The actor.
    pub actor: Actor,
    /// The reason for reading, if known.
    pub reason: Option<String>,
}

impl Visitor {
    /// Creates a visitor without a stated reason.
    pub fn new(actor: Actor) -> Self {
        Self {
            actor,
            reason: None,
        }
    }

    /// Sets the reason for reading, which is recorded.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl From<Actor> for Visitor {
    fn from(actor: Actor) -> Self {
        Self::new(actor)
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not authenticated. The response is 401.
    Unauthenticated,
    /// The user is authenticated, but may not see the records. The response is 403.
    Forbidden,
}

/// Authorizes requests with one token in `Authorization: Bearer <token>` (RFC 6750), all as the
/// same visitor.
///
/// Use it behind a proxy that authenticates its users and sends the token. All reads are then
/// recorded with the same actor. If the service authenticates its users itself, implement
/// [`Access`] with a function instead, so that each read is recorded with its own actor.
///
/// The token is compared in constant time, which reveals at most its length. An empty token
/// authorizes no request.
pub struct BearerToken {
    token: String,
    visitor: Visitor,
}

impl BearerToken {
    /// Authorizes requests with `token` as `visitor`.
    pub fn new(token: impl Into<String>, visitor: impl Into<Visitor>) -> Self {
        Self {
            token: token.into(),
            visitor: visitor.into(),
        }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BearerToken");
        shown
            .field("visitor", &self.visitor)
            .finish_non_exhaustive()
    }
}

impl Access for BearerToken {
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        let given = parts.headers.typed_get::<Authorization<Bearer>>();
        let is_match = given
            .is_some_and(|it| !self.token.is_empty() && constant_time_eq(it.token(), &self.token));
        ready(visitor_if(is_match, &self.visitor))
    }
}

/// Authorizes requests with one user name and password in `Authorization: Basic` (RFC 7617), which
/// browsers prompt for.
///
/// Suitable for a single user. Use it only over TLS or on a loopback address: the password is sent
/// with each request.
///
/// Both are compared in constant time, which reveals at most their lengths. An empty password
/// authorizes no request.
pub struct BasicAuth {
    name: String,
    password: String,
    visitor: Visitor,
}

impl BasicAuth {
    /// Authorizes requests with `name` and `password` as `visitor`.
    pub fn new(
        name: impl Into<String>,
        password: impl Into<String>,
        visitor: impl Into<Visitor>,
    ) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            visitor: visitor.into(),
        }
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("name", &self.name)
            .field("visitor", &self.visitor)
            .finish_non_exhaustive()
    }
}

impl Access for BasicAuth {
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        let given = parts.headers.typed_get::<Authorization<Basic>>();
        let is_match = given.is_some_and(|it| {
            // Compares both without short-circuiting.
            constant_time_eq(it.username(), &self.name)
                & constant_time_eq(it.password(), &self.password)
        });
        let is_match = is_match && !self.password.is_empty();
        ready(visitor_if(is_match, &self.visitor))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Basic realm=\"audit log\", charset=\"UTF-8\"")
    }
}

fn constant_time_eq(given: &str, expected: &str) -> bool {
    bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
}

fn visitor_if(is_match: bool, visitor: &Visitor) -> Result<Visitor, Refusal> {
    if is_match {
        Ok(visitor.clone())
    } else {
        Err(Refusal::Unauthenticated)
    }
}
