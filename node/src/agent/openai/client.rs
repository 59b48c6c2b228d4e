//! One chat completion over HTTP: bounded in size and time, repeated on "too many requests" and server errors with
//! jitter and at the pace the server asks for.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agent::Failure;

/// The largest reply that is read.
pub(super) const MAX_REPLY: usize = 1 << 20;
/// Repetitions after the first try.
const RETRIES: usize = 4;
/// The longest wait a server may ask for; beyond it the job's deadline decides.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An endpoint that does not accept a connection is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Message {
    pub(super) role: &'static str,
    pub(super) content: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) text: String,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
}

/// How often a request may reach the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tries {
    /// Until it is answered.
    Several,
    /// Once at most: what it does must not be done twice.
    Once,
}

/// An endpoint and its model.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    model: String,
    key: Option<String>,
    max_tokens: u32,
    first_wait: Duration,
}

enum Attempt {
    /// It may succeed later. `begun`: the endpoint may be at it, or may have done it, all the same.
    Again {
        reason: String,
        after: Option<Duration>,
        begun: bool,
    },
    Final(Failure),
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Tokens,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Client {
    /// A client of the endpoint whose base URL ends before `/chat/completions`.
    pub(super) fn new(
        base_url: &str,
        model: &str,
        key: Option<String>,
        max_tokens: u32,
        first_wait: Duration,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("foa/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let url = format!("{}/chat/completions", base_url.trim_end_matches('/'));
        Ok(Self { http, url, model: model.to_owned(), key, max_tokens, first_wait })
    }

    /// Asks for an answer in the shape of `schema`. Time is the caller's business.
    pub(super) async fn complete(
        &self,
        messages: &[Message],
        name: &str,
        schema: &Value,
        tries: Tries,
    ) -> Result<Completion, Failure> {
        let format =
            json!({"type": "json_schema", "json_schema": {"name": name, "strict": true, "schema": schema}});
        let body = json!({
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": 0.2,
            "response_format": format,
        });
        let pace = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(self.first_wait)
            .with_max_delay(Duration::from_secs(20))
            .with_max_times(RETRIES);
        let result = (|| self.attempt(&body))
            .retry(pace)
            .when(|e| match e {
                Attempt::Again { begun, .. } => tries == Tries::Several || !begun,
                Attempt::Final(_) => false,
            })
            .adjust(|e, wait| match e {
                Attempt::Again { after: Some(after), .. } => wait.map(|w| w.max(*after).min(LONGEST_WAIT)),
                _ => wait,
            })
            .await;
        result.map_err(|e| match e {
            Attempt::Again { reason, .. } => Failure::Unavailable { reason },
            Attempt::Final(failure) => failure,
        })
    }

    async fn attempt(&self, body: &Value) -> Result<Completion, Attempt> {
        let again =
            |e: &reqwest::Error| Attempt::Again { reason: describe(e), after: None, begun: !e.is_connect() };
        let mut request = self.http.post(&self.url).json(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let mut response = request.send().await.map_err(|e| again(&e))?;
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| again(&e))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_REPLY {
                return Err(Attempt::Final(Failure::TooLarge { limit: MAX_REPLY, found: bytes.len() }));
            }
        }
        if !status.is_success() {
            let said: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            let reason = format!("{status}: {}", said.trim());
            let passing = status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
            return Err(if passing {
                let begun = status != StatusCode::TOO_MANY_REQUESTS;
                Attempt::Again { reason, after: after.map(Duration::from_secs), begun }
            } else {
                Attempt::Final(Failure::Refused { reason })
            });
        }
        let unusable = |problem: String| {
            Attempt::Final(Failure::Unavailable {
                reason: format!("wanted a chat completion, found {problem}"),
            })
        };
        let reply: Reply = serde_json::from_slice(&bytes).map_err(|e| unusable(e.to_string()))?;
        let said = reply.choices.into_iter().next().and_then(|c| c.message.content);
        let text = said.ok_or_else(|| unusable("no content".to_owned()))?;
        let Tokens { prompt_tokens, completion_tokens } = reply.usage;
        Ok(Completion { text, tokens_in: prompt_tokens, tokens_out: completion_tokens })
    }
}

/// A transport error without the address, which the operator knows and a peer need not.
fn describe(error: &reqwest::Error) -> String {
    let kind = if error.is_connect() {
        "cannot connect to the model's endpoint"
    } else if error.is_timeout() {
        "the model's endpoint is silent"
    } else {
        "the connection to the model's endpoint broke"
    };
    kind.to_owned()
}
