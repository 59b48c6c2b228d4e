//! The `foa` binary and the embedding model, or a loud word that they cannot be had.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::Process;

/// The model is 52 MB; a slow line brings it in this time.
const FETCH_WITHIN: Duration = Duration::from_secs(600);

/// Past the test harness, which hides what a passing test prints.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The binary this test run built; built now when only this package's tests were asked for.
pub(crate) fn foa() -> &'static Path {
    static FOA: OnceLock<PathBuf> = OnceLock::new();
    FOA.get_or_init(|| {
        let test = std::env::current_exe().expect("a running test has a path");
        let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
        let path = profile.join("foa");
        if !path.is_file() {
            say(&format!("{} is missing: building it with cargo build -p foa-node", path.display()));
            build(profile);
            assert!(path.is_file(), "wanted {} after building it, found nothing", path.display());
        }
        path
    })
}

fn build(profile: &Path) {
    let target = profile.parent().expect("target/<profile>");
    let name = match profile.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "foa-node", "--bin", "foa", "--profile", name, "--target-dir"]).arg(target);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(command.status().expect("cargo runs the tests, so it can run").success(), "foa cannot be built");
}

/// A command of the binary in surroundings where nothing but its arguments configures it.
pub(crate) fn command(args: &[&str]) -> Command {
    command_of(foa(), args)
}

/// The same for another binary.
pub(crate) fn command_of(binary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::null());
    let ours = ["FOA_CACHE", "FOA_MODEL_DIR", "FOA_OFFLINE"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OPENAI_") || (text.starts_with("FOA_") && !ours.contains(&text.as_ref())) {
            command.env_remove(&name);
        }
    }
    command.env("NO_COLOR", "1").env("NO_PROXY", "127.0.0.1");
    command
}

/// Whether nodes can run here: they need the embedding model. Fetched once for all scenarios, by the product itself.
pub(crate) fn model() -> bool {
    static MODEL: OnceLock<bool> = OnceLock::new();
    let there = *MODEL.get_or_init(|| {
        let fetched = Process::start("foa model fetch", &mut command(&["model", "fetch"])).end(FETCH_WITHIN);
        if fetched.code != Some(0) {
            say(&fetched.stderr);
        }
        fetched.code == Some(0)
    });
    if !there {
        say("SKIPPED: a live federation needs the embedding model, and it could not be fetched");
    }
    there
}

/// Whether a program is on the path.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// A number that the environment may set.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
