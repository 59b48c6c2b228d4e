//! Cards made of files, documents and servers by the real binary.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Guarded, Place, with_model};

const CARD: &str = r#"{
  "name": "Recipe Agent", "description": "Finds recipes by what is in the fridge", "version": "1.4",
  "provider": { "organization": "Kitchen", "url": "https://kitchen.example" },
  "supportedInterfaces": [],
  "capabilities": { "extensions": [
    { "uri": "urn:kitchen", "params": { "stars": 3 } },
    { "uri": "urn:foa:capability-vector:1", "params": { "effects": "write", "offer": { "price": 250, "concurrency": 3 } } }
  ] },
  "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
  "skills": [{ "id": "find", "name": "Find recipes", "description": "Finds recipes", "tags": ["food"] }]
}"#;

const OPENAPI: &str = r#"{
  "openapi": "3.0.3", "info": { "title": "Weather", "version": "2", "description": "Weather of today" },
  "paths": { "/today": { "get": { "operationId": "getToday", "summary": "Weather of today in a city" } } }
}"#;

/// A server of MCP in a page of Python: it reads JSON-RPC by lines, and pages its tools.
const SERVER: &str = r#"
import json, sys
tools = [
    {"name": "add", "description": "Adds numbers up, as many as there are in a list", "inputSchema": {"type": "object"},
     "annotations": {"readOnlyHint": True}},
    {"name": "reset", "description": "Forgets all", "inputSchema": {"type": "object"}},
]
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        result = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "sums", "title": "Sums", "version": "3"}, "instructions": "Adds up"}
    elif asked["method"] == "tools/list":
        page = int((asked.get("params") or {}).get("cursor") or 0)
        result = {"tools": tools[page:page + 1]}
        if page + 1 < len(tools):
            result["nextCursor"] = str(page + 1)
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

/// A web server that answers `(method, path, body)` with a status line, headers and a body until the test ends.
fn web(answer: impl Fn(&str, &str, &Value) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            reader.read_line(&mut first).unwrap();
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let mut parts = first.split(' ');
            let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
            let said = answer(method, path, &serde_json::from_slice(&body).unwrap_or_default());
            // Whoever asked may have left.
            let _ = stream.write_all(said.as_bytes());
        }
    });
    address
}

fn response(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn card_on_stdout(place: &Place, args: &[&str]) -> (Value, String) {
    let output = place.run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

#[test]
fn a_card_in_a_file_comes_out_as_it_went_in() {
    let place = Place::new();
    place.write("card.json", CARD);
    let (card, said) = card_on_stdout(&place, &["agents", "import", "card.json"]);
    assert_eq!(card, serde_json::from_str::<Value>(CARD).unwrap());
    assert_eq!(said, "found an A2A 1.0 card of 1 skill\n");

    let (report, said) = card_on_stdout(&place, &["agents", "import", "card.json", "--as", "chef", "--json"]);
    assert_eq!(
        (report["card"]["name"].as_str(), report["found"].as_str()),
        (Some("chef"), Some("an A2A 1.0 card of 1 skill"))
    );
    assert_eq!(said, "");
}

#[test]
fn documents_come_as_json_yaml_and_from_standard_input() {
    let place = Place::new();
    place.write("weather.json", OPENAPI);
    let (json, said) = card_on_stdout(&place, &["agents", "import", "weather.json"]);
    assert_eq!(
        said,
        "found an OpenAPI 3.0.3 document of 1 operation\neffects read: no operation is more than GET or HEAD\n"
    );
    assert_eq!(
        json["skills"][0],
        json!({ "id": "getToday", "name": "Weather of today in a city", "description": "GET /today", "tags": [] })
    );

    let yaml = "openapi: 3.0.3\ninfo: { title: Weather, version: '2', description: Weather of today }\npaths:\n  /today:\n    get: { operationId: getToday, summary: Weather of today in a city }\n";
    let mut child = place.command(&["agents", "import", "-", "--output", "out.json"]);
    let mut child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
    let written = std::fs::read(place.path().join("out.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), json);
}

#[test]
fn what_cannot_be_imported_says_what_was_wanted_and_found() {
    let place = Place::new();
    place.write("page.html", "<html>not here</html>");
    place.write("bomb.yaml", &{
        let lists =
            (1..20).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect::<String>();
        format!("a0: &a0 [x, x]\n{lists}openapi: 3.1.0\n")
    });
    place.write("forged.json", &{
        let mut card: Value = serde_json::from_str(CARD).unwrap();
        let signed: Value = serde_json::from_str(include_str!("../../../tests/golden/card.json")).unwrap();
        card["signatures"] = signed["signatures"].clone();
        card.to_string()
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let missing = web(|_, _, _| response("404 Not Found", "text/html", "no"));
    let cases: &[&[&str]] = &[
        &["page.html"],
        &["bomb.yaml"],
        &["forged.json"],
        &["absent.json"],
        &["agent.example.org"],
        &["page.html", "--from", "openapi"],
        &["ftp://host/card.json"],
        &["https://me:hunter2@host/card.json"],
        &["ftp://host/mcp", "--mcp"],
        &[&format!("http://{closed}/card.json")],
        &[&missing],
        &["--mcp", "--", "no-such-command-here"],
        &["--mcp", "--", "sh", "-c", "read question; echo cannot find my files >&2; exit 3"],
        &["--mcp", "--", "sh", "-c", "read question; echo no JSON"],
        &["--mcp", &format!("{missing}/mcp")],
        &["--", "sh"],
        &[],
    ];
    let mut all = String::new();
    for case in cases {
        let args: Vec<&str> = ["agents", "import"].iter().chain(*case).copied().collect();
        let shown =
            place.shown(&args).replace(&closed.to_string(), "[closed]").replace(&missing, "[missing]");
        all.push_str(&format!(
            "# {}\n{shown}\n",
            case.join(" ").replace(&closed.to_string(), "[closed]").replace(&missing, "[missing]")
        ));
    }
    assert_eq!(all.matches("hunter2").count(), 1, "a password was repeated");
    insta::assert_snapshot!(all);
}

#[test]
fn a_host_is_asked_for_its_card_and_may_send_on() {
    let place = Place::new();
    let address = web(|method, path, _| match (method, path) {
        ("GET", "/.well-known/agent-card.json") => {
            "HTTP/1.1 302 Found\r\nlocation: /real.json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                .to_owned()
        }
        ("GET", "/real.json") => response("200 OK", "application/json", CARD),
        _ => response("404 Not Found", "text/plain", ""),
    });
    let (card, _) = card_on_stdout(&place, &["agents", "import", &address]);
    assert_eq!(card, serde_json::from_str::<Value>(CARD).unwrap());
}

#[test]
fn a_server_that_is_a_command_is_asked_and_ended() {
    let place = Place::new();
    place.write("server.py", SERVER);
    let (card, said) = card_on_stdout(&place, &["agents", "import", "--mcp", "--", "python3", "server.py"]);
    assert_eq!(said, "found an MCP server with 2 tools\neffects write: 1 tool did not say to only read\n");
    assert_eq!((card["name"].as_str(), card["version"].as_str()), (Some("Sums"), Some("3")));
    let ids: Vec<&str> =
        card["skills"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["add", "reset"]);
    assert_eq!(card["capabilities"]["extensions"][0]["params"]["effects"], "write");
}

#[test]
fn a_server_on_the_web_is_asked() {
    let place = Place::new();
    let address = web(|method, path, body| {
        let result = match (method, path, body["method"].as_str()) {
            ("POST", "/mcp", Some("initialize")) => json!({
                "protocolVersion": body["params"]["protocolVersion"], "capabilities": { "tools": {} },
                "serverInfo": { "name": "looker", "version": "1" },
            }),
            ("POST", "/mcp", Some("tools/list")) => json!({ "tools": [{
                "name": "look", "description": "Looks something up that was asked for, and says what it found",
                "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true },
            }] }),
            ("POST", "/mcp", Some(_)) => return response("202 Accepted", "text/plain", ""),
            _ => return response("405 Method Not Allowed", "text/plain", ""),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": body["id"], "result": result }).to_string();
        // A server may answer with one object or with a stream of events.
        if body["method"] == "initialize" {
            response("200 OK", "application/json", &answer)
        } else {
            response("200 OK", "text/event-stream", &format!("event: message\ndata: {answer}\n\n"))
        }
    });
    let (card, said) = card_on_stdout(&place, &["agents", "import", "--mcp", &format!("{address}/mcp")]);
    assert_eq!((card["name"].as_str(), card["skills"][0]["id"].as_str()), (Some("looker"), Some("look")));
    assert!(said.contains("effects read"), "{said}");
}

#[test]
fn a_configuration_takes_from_a_card_what_it_does_not_say_itself() {
    let place = Place::new();
    place.write("card.json", CARD);
    place.write("weather.json", OPENAPI);
    let shown = |name: &str, agent: &str| {
        place.write("node.toml", &format!("[[agent]]\n{agent}"));
        format!(
            "# {name}\n{}\n",
            place.shown(&["--config", "node.toml", "config", "show"]).replace("[place]/", "")
        )
    };
    let model = "kind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n";
    // All that a language model must say besides its endpoint comes from the card.
    let all = shown("from the card", &format!("{model}card = \"card.json\"\n"));
    assert!(all.starts_with("# from the card\nexit 0\n"), "{all}");
    let mut all = String::new();
    all.push_str(&shown("without one", model));
    all.push_str(&shown("no such card", &format!("{model}card = \"absent.json\"\n")));
    all.push_str(&shown("no card but a document", &format!("{model}card = \"weather.json\"\n")));
    all.push_str(&shown("a card that is no path", &format!("{model}card = 1\n")));
    insta::assert_snapshot!(all);
}

#[cfg(unix)]
#[test]
fn a_node_signs_the_card_its_agent_came_with_and_gives_it_out_again() {
    let Ok(home) = std::env::var("HOME") else { return };
    let place = Place::new();
    place.write("card.json", CARD);
    place.write("node.toml", "[node]\nname = \"solo\"\ndata_dir = \"data\"\n\n[[agent]]\nkind = \"calc\"\ncard = \"card.json\"\nprice = 7\n");
    let mut broker = Guarded::start(&mut place.command(&["broker", "--listen", "127.0.0.1:0"]));
    let url = broker.line();
    let mut command = place.command(&["--config", "node.toml", "--broker", &url, "node"]);
    with_model(&mut command, &home);
    let mut node = Guarded::start(&mut command);
    node.stderr_until("is ready");

    let output =
        place.run(&["--broker", &url, "agents", "export", "recipe-agent@solo", "-o", "exported.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let exported: Value =
        serde_json::from_slice(&std::fs::read(place.path().join("exported.json")).unwrap()).unwrap();
    let given: Value = serde_json::from_str(CARD).unwrap();
    for key in ["name", "description", "provider", "defaultInputModes"] {
        assert_eq!(exported[key], given[key], "{key}");
    }
    let extensions = exported["capabilities"]["extensions"].as_array().unwrap();
    assert_eq!(extensions[0], given["capabilities"]["extensions"][0]);
    let offer = &extensions[1]["params"]["offer"];
    assert_eq!(
        (&offer["price"], &offer["concurrency"]),
        (&json!(7), &json!(3)),
        "what the configuration says wins"
    );
    let ids: Vec<&str> =
        exported["skills"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["calculation", "find"]);

    let (again, said) = card_on_stdout(&place, &["agents", "import", "exported.json"]);
    assert_eq!(again, exported);
    assert!(said.contains("and the signature holds"), "{said}");
    node.signal("TERM");
    assert_eq!(node.0.wait().unwrap().code(), Some(0));
}
