//! A language model's endpoint, as far as an `openai` agent can tell: any OpenAI-compatible server in a few lines.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};

/// What an agent asks of its model.
#[derive(Debug)]
pub(crate) struct Request {
    /// The model it was asked of: one name for each agent tells them apart.
    pub(crate) model: String,
    /// The shape wanted: `propose`, `judge`, `draft`, `refine`, `synthesise`.
    pub(crate) shape: String,
    /// What it is about: the last thing that the prompt quotes. Of a draft that is the subtask, of a proposal the task.
    pub(crate) subject: String,
    /// All that the agent tells its model.
    pub(crate) prompt: String,
}

/// Answers requests on a port of this machine until the test ends.
pub(crate) fn serve(answer: impl Fn(&Request) -> Value + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), answer) = (stream, Arc::clone(&answer)) else { return };
            // A caller that went away meanwhile is what some scenarios are about.
            std::thread::spawn(move || drop(exchange(stream, &*answer)));
        }
    });
    address
}

fn exchange(mut stream: TcpStream, answer: &dyn Fn(&Request) -> Value) -> std::io::Result<()> {
    let asked = read(&stream)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let prompt = text(&asked["messages"][1]["content"]);
    let quoted = prompt.rsplit_once("<data>").and_then(|(_, rest)| rest.split_once("</data>"));
    let request = Request {
        model: text(&asked["model"]),
        shape: text(&asked["response_format"]["json_schema"]["name"]),
        subject: quoted.and_then(|(json, _)| serde_json::from_str(json).ok()).unwrap_or_default(),
        prompt: prompt.clone(),
    };
    let reply = json!({
        "choices": [{"message": {"role": "assistant", "content": answer(&request).to_string()}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{reply}",
        reply.len()
    )
}

/// The body of a request.
fn read(stream: &TcpStream) -> std::io::Result<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}
