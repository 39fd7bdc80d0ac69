//! The `keepalivectl` command: a face for the library of the same name.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
