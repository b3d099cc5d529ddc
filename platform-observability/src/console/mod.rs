//! What a developer sees: each request as one line when it has ended, and below it what it did, in
//! the order of time.
//!
//! ```text
//! 14:03:07.123Z  201 POST    /entries                                    12.4ms  4bf92f35
//!        +0.3ms      ├─ insert amount=12 · 3.1ms
//!        +0.9ms      │  └─ INFO  booked  accounting::entries
//!        +3.6ms      └─ ✔ audit entry.create 0198c0de-7a1b-7000-8000-000000000001
//! ```
//!
//! A request is written in one piece, so that two never mix. What belongs to none is written at
//! once, and so is all of a request that has lasted longer than [`PATIENCE`].

mod clock;
mod colour;
mod ended;
mod entry;
mod escape;
mod layer;
mod render;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use colour::is_coloured;
pub(crate) use ended::RequestEnds;
pub(crate) use entry::is_audit;
pub(crate) use escape::escaped;
pub(crate) use layer::Console;

use std::time::Duration;

/// How long what a request logs may be held back.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of a request is held: entries, and bytes of text. The rest is counted.
const MOST_ENTRIES: usize = 256;
const MOST_BYTES: usize = 64 * 1024;

/// How much is shown of one event or span, in bytes.
const LONGEST: usize = 4096;
