//! What is wrong with an audited handler is said while compiling, where it is, and with the fix.
//!
//! The expected messages are in `cases/*.stderr`; `TRYBUILD=overwrite` writes them anew.

#[test]
fn every_mistake_is_a_compile_error_that_says_the_fix() {
    trybuild::TestCases::new().compile_fail("compile_fail/cases/*.rs");
}
