//! SQLite only: guards are triggers, and the check compares the file with what the migrations make.

mod check;
mod expected;
mod guard;
mod obligation;
mod remedy;
