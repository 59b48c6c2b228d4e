//! An MCP server, asked who it is and what tools it has: over standard input and output of a command, or over HTTP.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Stdio;
use std::time::Duration;

use rmcp::ServiceExt as _;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams};
use rmcp::service::{ClientInitializeError, RoleClient, ServiceError};
use rmcp::transport::IntoTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::http::{self, FetchError};
use crate::import::mcp::Server;

/// The longest a server may take from its start to its last tool. Some are fetched first by the command that runs them.
const WITHIN: Duration = Duration::from_secs(60);
/// How long a server may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Largest answer.
const MAX_ANSWER: usize = 4 << 20;
/// All that is read of a command.
const MAX_OUTPUT: u64 = 16 << 20;
/// Tools that are listed; a card holds fewer.
const MAX_TOOLS: usize = 1024;
/// Pages of tools that are asked for.
const MAX_PAGES: usize = 64;
/// Bytes of a command's last words.
const LAST_WORDS: usize = 1024;

/// Why a server did not say what tools it has.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The command cannot be run.
    #[error("cannot run {program:?}")]
    Start {
        /// The command.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be asked.
    #[error(transparent)]
    Address(#[from] FetchError),
    /// It took too long.
    #[error("wanted the tools of an MCP server within {} seconds, found no end of them", WITHIN.as_secs())]
    TooSlow,
    /// It does not speak MCP, or refused.
    #[error("wanted the tools of an MCP server, but {problem}")]
    Unusable {
        /// What went wrong, and what the server last said.
        problem: String,
    },
}

/// Runs a command that is an MCP server, asks it, and ends it.
///
/// # Errors
/// When it cannot be run or does not answer as an MCP server would.
pub async fn ask_command(program: OsString, args: &[OsString]) -> Result<Server, ServerError> {
    let mut running =
        Running::start(&program, args).map_err(|source| ServerError::Start { program, source })?;
    let (stdin, stdout) = (running.0.stdin.take(), running.0.stdout.take());
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else { unreachable!("both were asked for") };
    let last_words = running.0.stderr.take().map(|stderr| tokio::spawn(last_words(stderr)));
    let transport =
        AsyncRwTransport::new_client(stdout.take(MAX_OUTPUT), stdin).with_max_line_length(MAX_ANSWER);
    let asked = within(ask(transport)).await;
    running.end().await;
    drop(running);
    match asked {
        Err(ServerError::Unusable { problem }) => {
            let problem = problem + &said(last_words).await;
            Err(ServerError::Unusable { problem })
        }
        other => other,
    }
}

/// Asks the MCP server at an address, over streamable HTTP. Redirects are not followed.
///
/// # Errors
/// When it cannot be reached or does not answer as an MCP server would.
pub async fn ask_url(url: &str) -> Result<Server, ServerError> {
    let url = http::parse(url)?;
    within(async {
        let client = http::client_of(&url).await?;
        let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
            .max_json_response_size(MAX_ANSWER)
            .max_sse_event_size(MAX_ANSWER);
        ask(StreamableHttpClientTransport::with_client(client, config)).await
    })
    .await
}

async fn within(asking: impl Future<Output = Result<Server, ServerError>>) -> Result<Server, ServerError> {
    tokio::time::timeout(WITHIN, asking).await.unwrap_or(Err(ServerError::TooSlow))
}

async fn ask<T, E, A>(transport: T) -> Result<Server, ServerError>
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let unusable = |problem: String| ServerError::Unusable { problem: problem.chars().take(300).collect() };
    let me = Implementation::new("foa", env!("CARGO_PKG_VERSION"));
    let client = ClientConfig::new(ClientCapabilities::default(), me);
    let service = client.serve(transport).await.map_err(|e| unusable(unopened(&e)))?;
    let Some(info) = service.peer_info() else { return Err(unusable("it did not say who it is".to_owned())) };
    let mut tools: Vec<Value> = Vec::new();
    let mut cursor = None;
    // A server without tools need not know the question.
    let pages = if info.capabilities.tools.is_some() { MAX_PAGES } else { 0 };
    for _ in 0..pages {
        let asked = PaginatedRequestParams::default().with_cursor(cursor.take());
        let page = service.list_tools(Some(asked)).await.map_err(|e| unusable(unanswered(&e)))?;
        for tool in page.tools {
            tools.push(serde_json::to_value(&tool).map_err(|e| unusable(e.to_string()))?);
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
        if tools.len() > MAX_TOOLS {
            return Err(unusable(format!("it has more than {MAX_TOOLS}")));
        }
    }
    if cursor.is_some() {
        return Err(unusable(format!("they come on more than {MAX_PAGES} pages")));
    }
    let answers =
        json!({ "serverInfo": info.server_info, "instructions": info.instructions, "tools": tools });
    // Ends what was opened; that a server does not care for goodbyes changes nothing.
    let _ = service.cancel().await;
    Server::deserialize(answers).map_err(|e| unusable(e.to_string()))
}

/// Why there was no beginning, without the names of types.
fn unopened(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => chain(error.error.as_ref()),
        other => other.to_string(),
    }
}

/// Why there was no answer, likewise.
fn unanswered(error: &ServiceError) -> String {
    match error {
        ServiceError::TransportSend(error) => chain(error.error.as_ref()),
        other => other.to_string(),
    }
}

/// An error and its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

/// A server that is not left running, whatever happens.
struct Running(Child);

impl Running {
    fn start(program: &OsStr, args: &[OsString]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        // A group of its own: commands that run servers run other commands.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map(Self)
    }

    /// Its input was closed, which tells it to end.
    async fn end(&mut self) {
        let _ = tokio::time::timeout(END_WITHIN, self.0.wait()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Unix ends the whole group; elsewhere the command alone is killed when it is dropped.
        #[cfg(unix)]
        if let Some(group) =
            self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Reads to the end, and keeps the last of it.
async fn last_words(mut stderr: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(LAST_WORDS);
        kept.drain(..surplus);
    }
    kept
}

async fn said(last_words: Option<JoinHandle<Vec<u8>>>) -> String {
    let Some(reading) = last_words else { return String::new() };
    match tokio::time::timeout(END_WITHIN, reading).await {
        Ok(Ok(bytes)) if !bytes.is_empty() => {
            let text = String::from_utf8_lossy(&bytes);
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("; it said: {}", text.trim())
        }
        Ok(Ok(_) | Err(_)) | Err(_) => String::new(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> [OsString; 2] {
        ["-c".into(), script.into()]
    }

    #[tokio::test]
    async fn nothing_a_server_started_is_left_running() {
        let mut running = Running::start("sh".as_ref(), &shell("sleep 1000 & echo on; wait")).unwrap();
        let mut stdout = running.0.stdout.take().unwrap();
        let mut said = [0; 3];
        stdout.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"on\n");
        drop(running);
        // Its output ends when the last process that has it open is gone.
        let ended = tokio::time::timeout(Duration::from_secs(30), stdout.read_to_end(&mut Vec::new())).await;
        assert_eq!(ended.expect("it goes on").unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        let silent = ask_command("sh".into(), &shell("while read -r line; do :; done")).await;
        assert!(matches!(silent, Err(ServerError::TooSlow)));
    }

    #[tokio::test]
    async fn a_server_that_never_ends_its_line_is_cut_off() {
        let flood = ask_command("sh".into(), &shell("tr '\\0' x </dev/zero")).await;
        assert!(matches!(flood, Err(ServerError::Unusable { .. })));
    }
}
