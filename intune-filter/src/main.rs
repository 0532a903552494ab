//! Runs the `intune-filter` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    intune_filter::cli::main()
}
