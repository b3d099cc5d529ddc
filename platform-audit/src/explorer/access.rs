//! Who may look.

use std::fmt;
use std::future::{Future, ready};

use http::header::AUTHORIZATION;
use http::request::Parts;
use subtle::ConstantTimeEq;

use crate::record::Actor;

/// Decides who may look at the records. Asked for every request but the stylesheet's.
///
/// A function of the request's [`Parts`] is one too.
pub trait Access: Send + Sync + 'static {
    /// Who reads, or why nobody may.
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send;
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

/// Why a request is shown nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody is known to ask: answered 401.
    Unauthenticated,
    /// Whoever asks may not: answered 403.
    Forbidden,
}

/// Admits whoever sends `Authorization: Bearer <token>`, all as one actor. For a proxy that has
/// authenticated its users and holds the token; where the service knows its users itself, write
/// a function instead, so that the records of the readings name them.
///
/// The token is compared in constant time, which tells its length at most. An empty one admits
/// nobody.
pub struct BearerToken {
    token: String,
    actor: Actor,
}

impl BearerToken {
    /// Admits those who send `token` as `actor`.
    pub fn new(token: impl Into<String>, actor: Actor) -> Self {
        let token = token.into();
        Self { token, actor }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BearerToken");
        shown.field("actor", &self.actor).finish_non_exhaustive()
    }
}

impl Access for BearerToken {
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Visitor, Refusal>> + Send {
        let given = parts.headers.get(AUTHORIZATION);
        let given = given.and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let answer = match given {
            None => Err(Refusal::Unauthenticated),
            Some(token) if !self.token.is_empty() && self.is(token) => {
                Ok(Visitor::new(self.actor.clone()))
            }
            Some(_) => Err(Refusal::Unauthenticated),
        };
        ready(answer)
    }
}

impl BearerToken {
    fn is(&self, token: &str) -> bool {
        bool::from(self.token.as_bytes().ct_eq(token.as_bytes()))
    }
}
