//! The binary `foa`. Everything is in the library, so that tests can reach it.

use std::process::ExitCode;

/// Messages are many small pieces of JSON: the system's allocator took a fifth of a busy node's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(unix)]
    without_telemetry();
    foa_node::cli::main()
}

/// Starts this program over with the model runtime's telemetry turned off. The runtime keeps a record of each process in
/// the user's cache directory and sends it to its vendor as soon as it is loaded; its interface can only turn that off
/// afterwards, and a process cannot safely change its own environment.
#[cfg(unix)]
fn without_telemetry() {
    use std::os::unix::process::CommandExt as _;

    const OFF: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(OFF).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        let mut arguments = std::env::args_os();
        let mut again = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // Comes back only when it failed: then the program goes on as it is.
        drop(again.args(arguments).env(OFF, "1").exec());
    }
}
