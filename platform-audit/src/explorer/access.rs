//! Who may look.

use std::fmt;
use std::future::{Future, ready};

use headers::authorization::{Authorization, Basic, Bearer};
use headers::{HeaderMapExt, HeaderValue};
use http::request::Parts;
use subtle::ConstantTimeEq;

use crate::record::Actor;

/// Decides who may look at the records. Asked for every request but the stylesheet's.
///
/// A function of the request's [`Parts`] is one too.
pub trait Access: Send + Sync + 'static {
    /// Who reads, or why nobody may.
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send;

    /// What a 401 asks for, in `WWW-Authenticate` (RFC 9110, section 11.6.1).
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}

impl<F> Access for F
where
    F: Fn(&Parts) -> Result<Visitor, Refusal> + Send + Sync + 'static,
{
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        ready(self(parts))
    }
}

/// Who reads, which every reading leaves a record of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visitor {
    /// The actor.
    pub actor: Actor,
    /// Why they read, if that is known.
    pub reason: Option<String>,
}

impl Visitor {
    /// Somebody who reads for no stated reason.
    pub fn new(actor: Actor) -> Self {
        Self {
            actor,
            reason: None,
        }
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl From<Actor> for Visitor {
    fn from(actor: Actor) -> Self {
        Self::new(actor)
    }
}

/// Why a request is shown nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody is known to ask: answered 401.
    Unauthenticated,
    /// Whoever asks may not: answered 403.
    Forbidden,
}

/// Admits whoever sends `Authorization: Bearer <token>` (RFC 6750), all as one visitor. For a proxy
/// that has authenticated its users and holds the token; where the service knows its users itself,
/// write a function instead, so that the records of the readings name them.
///
/// The token is compared in constant time, which tells its length at most. An empty one admits
/// nobody.
pub struct BearerToken {
    token: String,
    visitor: Visitor,
}

impl BearerToken {
    /// Admits those who send `token` as `visitor`.
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
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        let given = parts.headers.typed_get::<Authorization<Bearer>>();
        let is_it = given.is_some_and(|it| !self.token.is_empty() && same(it.token(), &self.token));
        ready(admitted(is_it, &self.visitor))
    }
}

/// Admits whoever sends one name and password in `Authorization: Basic` (RFC 7617), which browsers
/// ask for by themselves. For a page that one person opens; over TLS or on the machine itself only,
/// as the password is sent with each request.
///
/// Both are compared in constant time, which tells their lengths at most. An empty password admits
/// nobody.
pub struct BasicAuth {
    name: String,
    password: String,
    visitor: Visitor,
}

impl BasicAuth {
    /// Admits those who send `name` and `password` as `visitor`.
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
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        let given = parts.headers.typed_get::<Authorization<Basic>>();
        let is_it = given.is_some_and(|it| {
            // Both, whatever the first says.
            same(it.username(), &self.name) & same(it.password(), &self.password)
        });
        let is_it = is_it && !self.password.is_empty();
        ready(admitted(is_it, &self.visitor))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Basic realm=\"audit log\", charset=\"UTF-8\"")
    }
}

fn same(given: &str, expected: &str) -> bool {
    bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
}

fn admitted(is_it: bool, visitor: &Visitor) -> Result<Visitor, Refusal> {
    if is_it {
        Ok(visitor.clone())
    } else {
        Err(Refusal::Unauthenticated)
    }
}
