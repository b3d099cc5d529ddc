use http::StatusCode;
use serde::{Deserialize, Serialize};

/// How it ended. A closed set, also in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The change and this record were committed together.
    Success,
    /// Refused for want of rights or of an actor (401, 403, 407, a redirect by an extractor to where one
    /// signs in); nothing changed.
    Denied,
    /// Refused as it made no sense (any other 4xx); nothing changed.
    Invalid,
    /// Failed in the service (5xx, a database that refused); nothing changed.
    Failed,
    /// The handler panicked; nothing changed.
    Panicked,
    /// Took too long (408, 504, a time-out layer, an abandoned request); nothing changed.
    TimedOut,
}

impl Outcome {
    /// The outcome that a response's status stands for: below 400 is a success.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            ..400 => Self::Success,
            401 | 403 | 407 => Self::Denied,
            408 | 504 => Self::TimedOut,
            400..500 => Self::Invalid,
            _ => Self::Failed,
        }
    }

    /// The word stored, such as `timed_out`.
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
    fn the_status_decides_the_outcome() {
        let of = |code| Outcome::of_status(StatusCode::from_u16(code).unwrap());
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
            assert_eq!(of(code), outcome, "{code}");
        }
    }

    #[test]
    fn the_stored_word_is_the_serialised_one() {
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
