//! The sealed log, checked by programs that others wrote: what they refuse if something is altered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what goes wrong fails the test, and the output shows what was checked"
)]

mod buckets;
mod checkers;
mod published;
mod served;
mod tampered;
mod witness;
mod witnessed;
