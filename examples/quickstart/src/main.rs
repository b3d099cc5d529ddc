//! The smallest audited service.
fn main() {}
