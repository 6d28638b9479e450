//! Runs the parts of the end-to-end harness.
fn main() {}
