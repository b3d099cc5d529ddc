//! Audit records in the same transaction as the change.
