//! The promises of auditing, each test over both stores.

mod postgres;
mod sqlite;
