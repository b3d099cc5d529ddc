//! Mistakes in an audited handler are compile errors at the right place, with a remedy.
//!
//! The expected messages are in `cases/*.stderr`; `TRYBUILD=overwrite` updates them.

#[test]
fn every_mistake_is_a_compile_error_with_a_remedy() {
    trybuild::TestCases::new().compile_fail("compile_fail/cases/*.rs");
}
