//! The console output for developers: each request as one line when it has ended, followed by its
//! spans, events, statements and audit records in chronological order.
//!
//! ```text
//! 14:03:07.123Z  201 POST    /entries                                    12.4ms  4bf92f35
//!        +0.3ms      ├─ insert amount=12 · 3.1ms
//!        +0.9ms      │  └─ INFO  booked  accounting::entries
//!        +3.6ms      └─ ✔ audit entry.create 0198c0de-7a1b-7000-8000-000000000001
//! ```
//!
//! A request is written in one piece, so that concurrent requests do not mix. Events outside
//! requests are written immediately, and so are those of a request that takes longer than
//! [`MAX_BUFFERING`](limits::MAX_BUFFERING).

mod buffer;
mod clock;
mod colour;
mod entry;
mod escape;
mod layer;
mod limits;
mod render;
#[cfg(test)]
mod tests;

pub(crate) use colour::is_coloured;
pub(crate) use entry::is_audit_event;
pub(crate) use escape::escaped;
pub(crate) use layer::ConsoleLayer;
