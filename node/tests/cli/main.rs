//! The real binary, as a person or a script meets it: help, messages, exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

mod agents_import;
mod config;
mod examples;
mod help;
mod replay;
mod stopping;
mod store;
mod surroundings;

/// The binary in a directory of its own, with nothing of this machine's surroundings.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foa"));
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.path()).env("NO_COLOR", "1").env("COLUMNS", "100");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Exit code, stdout and stderr as one text, with the directory's name replaced.
    fn shown(&self, args: &[&str]) -> String {
        self.tidy(&self.run(args))
    }

    fn tidy(&self, output: &Output) -> String {
        let mut shown = format!("exit {}\n", output.status.code().unwrap());
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                shown.push_str(&format!("--- {name}\n{}", String::from_utf8_lossy(bytes)));
            }
        }
        shown.replace(self.path().to_str().unwrap(), "[place]")
    }
}

/// The model is fetched once for this machine, not once for each test.
fn with_model(command: &mut Command, home: &str) {
    command.env("HOME", home);
    for name in ["PATH", "FOA_CACHE", "FOA_MODEL_DIR", "ORT_DYLIB_PATH", "XDG_CACHE_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// A process that is killed when the test ends, whatever happens.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guarded {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The next line of stdout.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let mut byte = [0];
        let out = self.0.stdout.as_mut().unwrap();
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        line
    }

    /// Reads stderr until a line has this text.
    fn stderr_until(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        let mut reader = BufReader::new(self.0.stderr.as_mut().unwrap());
        loop {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "wanted {wanted:?} on stderr, found\n{seen}");
            seen.push_str(&line);
            if line.contains(wanted) {
                return seen;
            }
        }
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}
