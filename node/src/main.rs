//! The binary `foa`. Everything is in the library, so that tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    foa_node::cli::main()
}
