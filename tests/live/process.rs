//! A child process whose words can be waited for, and which never outlives its test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::program::say;

/// Lines shown of a process when a test fails.
const SHOWN: usize = 60;

#[derive(Default)]
struct Said {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// Of two.
    closed: usize,
}

#[derive(Default)]
struct Shared {
    said: Mutex<Said>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until `done` finds something, or the bound is over.
    fn wait<T>(&self, bound: Duration, mut done: impl FnMut(&Said) -> Option<T>) -> Option<T> {
        let until = Instant::now() + bound;
        let mut said = self.lock();
        loop {
            if let Some(found) = done(&said) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            said = self.changed.wait_timeout(said, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// stdout as JSON, of a process that ended well.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:#?}");
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("wanted JSON on stdout ({e}): {self:#?}"))
    }
}

/// A running child.
pub(crate) struct Process {
    name: String,
    child: Child,
    shared: Arc<Shared>,
}

impl Process {
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let shared = Arc::new(Shared::default());
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        listen(out, Arc::clone(&shared), |said| &mut said.stdout);
        listen(err, Arc::clone(&shared), |said| &mut said.stderr);
        Self { name: name.to_owned(), child, shared }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of stdout.
    pub(crate) fn first_line(&self, bound: Duration) -> String {
        let line = self.shared.wait(bound, |said| said.stdout.first().cloned());
        line.unwrap_or_else(|| panic!("{}: nothing on stdout within {bound:?}", self.name))
    }

    /// Returns once stderr has had a line with this text.
    pub(crate) fn says(&self, text: &str, bound: Duration) {
        let heard = self.shared.wait(bound, |said| {
            if said.stderr.iter().any(|line| line.contains(text)) {
                Some(true)
            } else {
                (said.closed == 2).then_some(false)
            }
        });
        assert_eq!(heard, Some(true), "{}: wanted {text:?} on stderr within {bound:?}", self.name);
    }

    /// Whether stderr has had a line with this text.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.shared.lock().stderr.iter().any(|line| line.contains(text))
    }

    /// Whether it has nothing more to say: it is ending or has ended.
    pub(crate) fn closed(&self) -> bool {
        self.shared.lock().closed == 2
    }

    /// Waits for its end.
    pub(crate) fn end(mut self, bound: Duration) -> Ended {
        let closed = self.shared.wait(bound, |said| (said.closed == 2).then_some(()));
        assert!(closed.is_some(), "{}: wanted it to end within {bound:?}", self.name);
        let code = self.child.wait().expect("it is our child").code();
        let said = self.shared.lock();
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect();
        Ended { code, stdout: text(&said.stdout), stderr: text(&said.stderr) }
    }

    /// Ends it without warning: `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Sends a signal: `INT` is ctrl-C.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.expect("kill is everywhere").success(), "{} is gone", self.name);
    }
}

fn listen(
    pipe: impl Read + Send + 'static,
    shared: Arc<Shared>,
    lines: impl Fn(&mut Said) -> &mut Vec<String> + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            lines(&mut shared.lock()).push(String::from_utf8_lossy(&line).into_owned());
            shared.changed.notify_all();
        }
        shared.lock().closed += 1;
        shared.changed.notify_all();
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.shared.lock();
            for (stream, lines) in [("stdout", &said.stdout), ("stderr", &said.stderr)] {
                for line in &lines[lines.len().saturating_sub(SHOWN)..] {
                    say(&format!("{} {stream}: {line}", self.name));
                }
            }
        }
    }
}
