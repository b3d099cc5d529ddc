use http::StatusCode;
use serde::{Deserialize, Serialize};

/// How an operation ended. The database accepts only these values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The change and this record were committed together.
    Success,
    /// Not authenticated or not authorised (401, 403, 407, or an extractor's redirect to a log-in
    /// page); nothing changed.
    Denied,
    /// The request was invalid (any other 4xx); nothing changed.
    Invalid,
    /// The service failed (5xx, or the database refused the change); nothing changed.
    Failed,
    /// The handler panicked; nothing changed.
    Panicked,
    /// Timed out or cancelled (408, 504, a timeout layer, a client that disconnected); nothing
    /// changed.
    TimedOut,
}

impl Outcome {
    /// Returns the outcome for a response's status code. Every status below 400 is a success.
    ///
    /// ```
    /// use http::StatusCode;
    /// use platform_audit::Outcome;
    ///
    /// assert_eq!(Outcome::from_status(StatusCode::CREATED), Outcome::Success);
    /// assert_eq!(Outcome::from_status(StatusCode::FORBIDDEN), Outcome::Denied);
    /// ```
    pub fn from_status(status: StatusCode) -> Self {
        match status.as_u16() {
            ..400 => Self::Success,
            401 | 403 | 407 => Self::Denied,
            408 | 504 => Self::TimedOut,
            400..500 => Self::Invalid,
            _ => Self::Failed,
        }
    }

    /// Returns the value stored in the database, such as `timed_out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use http::StatusCode;

    #[test]
    fn the_status_code_determines_the_outcome() {
        let outcome_of = |code| Outcome::from_status(StatusCode::from_u16(code).unwrap());
        for (code, outcome) in [
            (200, Outcome::Success),
            (303, Outcome::Success),
            (400, Outcome::Invalid),
            (401, Outcome::Denied),
            (403, Outcome::Denied),
            (404, Outcome::Invalid),
            (408, Outcome::TimedOut),
            (422, Outcome::Invalid),
            (500, Outcome::Failed),
            (504, Outcome::TimedOut),
        ] {
            assert_eq!(outcome_of(code), outcome, "{code}");
        }
    }

    #[test]
    fn the_stored_value_equals_the_serialised_one() {
        for outcome in [
            Outcome::Success,
            Outcome::Denied,
            Outcome::Invalid,
            Outcome::Failed,
            Outcome::Panicked,
            Outcome::TimedOut,
        ] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }
}
