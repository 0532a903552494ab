//! The `intune-filter` command.
fn main() {}
