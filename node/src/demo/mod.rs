//! `foa demo`: a broker and five nodes, each with its own key, journal and connection, and one job from question to answer.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foa_broker::{BrokerUrl, Embedded, EmbeddedConfig};
use foa_node_core::query::{AgentSummary, QueryAnswer, Question};
use foa_wire::Namespace;
use foa_workflows::JobResult;
use foa_workflows::job::JobSubmission;
use tokio::process::{Child, Command};

use crate::cli::{Stop, terminal};
use crate::client::{Client, ClientError, new_job_id};
use crate::config::{ClientConfig, Layers, defaults};
use crate::exit::Failure;
use crate::identity::Identity;
use crate::launch::{self, Running};
use crate::model::{self, SledCache, VectorCache};
use crate::render;

mod documents;
mod nodes;

use nodes::{DemoNode, Model};

/// How long five nodes may take until all know each other: embedding a folder of documents is most of it.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A question to the directory is repeated this often while the nodes come up.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Five nodes that come up at once in one process keep two cores busy.
const SESSIONS: usize = 2;
/// How long a node may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the demo is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The question, instead of the one about this repository.
    pub question: Option<String>,
    /// A folder to answer from, instead of this repository's documents.
    pub docs: Option<PathBuf>,
    /// Stay up for other clients.
    pub serve: bool,
    /// The broker's port; 0 for a free one.
    pub port: u16,
    /// Run the nodes as processes of their own.
    pub processes: bool,
}

/// A demo federation that is up.
pub struct Demo {
    nodes: Vec<Node>,
    client: Client,
    broker: Embedded,
    url: BrokerUrl,
    /// Removed when the demo is dropped, after everything that writes there has ended.
    home: tempfile::TempDir,
}

/// A node here or in a process of its own.
enum Node {
    Here(Box<Running>),
    Process(&'static str, Child),
}

/// Vectors kept between demos beside the model, so that the second one is ready at once. Another demo may have them open.
fn kept_vectors() -> Option<Arc<dyn VectorCache>> {
    let directory = model::Options::from_env().cache?.join("vectors");
    match SledCache::open(&directory) {
        Ok(cache) => Some(Arc::new(cache)),
        Err(error) => {
            tracing::debug!(%error, "no vectors are kept");
            None
        }
    }
}

impl Demo {
    /// Starts broker and nodes and returns when every agent is known. Says on stderr what happens.
    ///
    /// # Errors
    /// When the documents cannot be read, the model cannot be had, or a node does not come up.
    pub async fn start(options: &Options) -> Result<Self, Failure> {
        let style = terminal::stderr_style();
        let dealt = match &options.docs {
            None => documents::own(),
            Some(folder) => {
                let texts = documents::below(folder).map_err(|e| {
                    Failure::broken(
                        anyhow::Error::new(e).context(format!("--docs: cannot read {}", folder.display())),
                    )
                })?;
                if texts.is_empty() {
                    return Err(Failure::broken(anyhow::anyhow!(
                        "--docs: wanted documents in {}, found none",
                        folder.display()
                    ))
                    .hint("Markdown, plain text and HTML are read: .md .txt .html"));
                }
                documents::deal(texts, nodes::HANDS)
            }
        };
        let files = dealt.iter().map(Vec::len).sum::<usize>();
        let bytes = dealt.iter().flatten().map(|d| d.bytes.len()).sum::<usize>();

        // Fetched before the clock starts: the first time it takes as long as the network takes.
        let embedder = crate::cli::load_model(kept_vectors(), SESSIONS).await?;
        let begun = Instant::now();
        let spinner = terminal::Spinner::start("starting a broker and five nodes");
        let home = tempfile::Builder::new().prefix("foa-demo-").tempdir().map_err(Failure::broken)?;
        let listen = ([127, 0, 0, 1], options.port).into();
        let broker = Embedded::start(EmbeddedConfig::new(listen))
            .await
            .map_err(|e| Failure::broken(e).hint("--port 0, the default, takes a free port"))?;
        let url = BrokerUrl::tcp("127.0.0.1", broker.addr().port());
        let model = Model::from_env().await.map_err(|e| {
            Failure::broken(e).hint("set OPENAI_MODEL, or unset OPENAI_BASE_URL to go without")
        })?;
        let configured = nodes::write(home.path(), &url, dealt, model.as_ref()).map_err(Failure::broken)?;
        let mut started = Vec::new();
        for node in &configured {
            started.push(if options.processes {
                Node::Process(node.name, process(node)?)
            } else {
                let config = configuration(node)?;
                Node::Here(Box::new(launch::start(&config, embedder.clone(), None).await?))
            });
        }
        let identity = Identity::generate("guest".parse().expect("a node name")).map_err(Failure::broken)?;
        let client = connect(&url, identity).await.map_err(failed)?;
        let mut demo = Self { nodes: started, client, broker, url, home };
        let wanted: usize = configured.iter().map(|n| n.agents).sum();
        let agents = demo.advertised(wanted).await?;
        drop(spinner);
        let ready = render::duration(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        let place = if options.processes { "processes" } else { "nodes" };
        terminal::note(&format!(
            "{} {} {place} over {}, {} agents, {files} documents of {} KB dealt to {} of them",
            style.bold(&format!("ready in {ready}:")),
            configured.len(),
            demo.url,
            agents.len(),
            bytes / 1000,
            nodes::HANDS,
        ));
        for agent in &agents {
            let line = format!("{:<20} {:<8} {}", agent.agent.short(), agent.kind, agent.description);
            terminal::note(&format!("  {}", render::brief(&line, style.width.saturating_sub(2))));
        }
        match model {
            Some(model) => terminal::note(&format!("  with a language model: {}", model.describe())),
            None => terminal::note("  no language model (OPENAI_BASE_URL names one)"),
        }
        Ok(demo)
    }

    /// Waits until the directory has every agent.
    async fn advertised(&mut self, wanted: usize) -> Result<Vec<AgentSummary>, Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut found = Vec::new();
        while Instant::now() < deadline {
            self.check_children()?;
            match self.client.ask(&Question::Agents { after: None }).await {
                Ok(QueryAnswer::Agents { agents, .. }) => {
                    found = agents;
                    if found.iter().filter(|a| a.online).count() >= wanted {
                        return Ok(found);
                    }
                }
                Ok(_) | Err(ClientError::NoCoordinator { .. } | ClientError::Silent { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let there: Vec<String> = found.iter().map(|a| a.agent.short()).collect();
        Err(Failure::refused(anyhow::anyhow!(
            "wanted {wanted} agents within {} s, found {} ({})",
            READY_WITHIN.as_secs(),
            there.len(),
            there.join(", ")
        ))
        .hint("FOA_LOG=info shows what the nodes do"))
    }

    /// A child that ended by itself will not come up.
    fn check_children(&mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            if let Node::Process(name, child) = node
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(Failure::refused(anyhow::anyhow!("the process of node {name} ended: {status}")));
            }
        }
        Ok(())
    }

    /// Submits the question and shows the phases until there is a result.
    ///
    /// # Errors
    /// When nobody accepts the job, or the connection is lost for good.
    pub async fn ask(&mut self, question: &str) -> Result<JobResult, Failure> {
        let style = terminal::stderr_style();
        let job = new_job_id();
        let submission = JobSubmission { job: Some(job.clone()), ..JobSubmission::of(question) };
        submission.check().map_err(Failure::broken)?;
        self.client.follow(&job).await.map_err(failed)?;
        terminal::note(&format!("\n{} {question}\n", style.bold("asked:")));
        let begun = Instant::now();
        let spinner = terminal::Spinner::start("submitted");
        let first = self.client.submit(&submission, Duration::from_secs(15)).await.map_err(failed)?;
        let result = crate::cli::wait_for(&mut self.client, &job, first, &spinner).await?;
        drop(spinner);
        let took = render::duration(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        terminal::note(&format!("\n{}\n", style.bold(&format!("answered in {took}"))));
        Ok(result)
    }

    /// How others reach it, as commands to type.
    #[must_use]
    pub fn invitation(&self) -> String {
        let url = &self.url;
        let port = self.broker.addr().port();
        format!(
            "the federation is up at {url}; ctrl-C ends it. In another terminal:\n\
             \x20 foa --broker {url} submit \"your question\"\n\
             \x20 foa --broker {url} agents\n\
             \x20 foa --broker {url} route \"your question\" --explain\n\
             \x20 mosquitto_pub -p {port} -t foa/orchestrator/jobs -m '{{\"task\":\"your question\"}}'\n\
             \x20 mosquitto_sub -p {port} -t 'foa/#' -v"
        )
    }

    /// Drains every node, then the broker, and removes what they wrote.
    pub async fn stop(self) {
        self.client.close().await;
        let goodbyes = self.nodes.into_iter().map(|node| tokio::spawn(stop(node)));
        for goodbye in goodbyes.collect::<Vec<_>>() {
            // A node that panicked while stopping has stopped.
            drop(goodbye.await);
        }
        self.broker.stop().await;
        if let Err(error) = self.home.close() {
            terminal::note(&format!("warning: cannot remove the demo's files: {error}"));
        }
    }
}

async fn stop(node: Node) {
    match node {
        Node::Here(running) => {
            drop(tokio::time::timeout(2 * GOODBYE, running.drain(GOODBYE)).await);
        }
        Node::Process(_, mut child) => {
            terminate(&child).await;
            if tokio::time::timeout(3 * GOODBYE, child.wait()).await.is_err() {
                drop(child.kill().await);
            }
        }
    }
}

/// Asks a child to drain; without a way to ask, it is killed.
async fn terminate(child: &Child) {
    if let Some(pid) = child.id() {
        let asked =
            Command::new("kill").args(["-TERM", &pid.to_string()]).stderr(Stdio::null()).status().await;
        if asked.is_err() {
            tracing::debug!(pid, "no kill command; the child is ended without draining");
        }
    }
}

fn configuration(node: &DemoNode) -> Result<crate::config::NodeConfig, Failure> {
    let text = fs::read_to_string(&node.file).map_err(Failure::broken)?;
    let mut layers = Layers::default();
    layers.add_file(&node.file, &text).map_err(Failure::broken)?;
    layers.node().map_err(Failure::broken)
}

fn process(node: &DemoNode) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(Failure::broken)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&node.file).arg("node");
    // The file is the whole configuration: what is set for the user's own node must not leak into the demo's.
    for setting in defaults::SETTINGS {
        command.env_remove(setting.env);
    }
    if std::env::var_os("FOA_LOG").is_none() {
        command.env("FOA_LOG", "warn,rumqttc=error,ort=error");
    }
    let log = fs::File::create(node.file.with_file_name("log.txt")).map_err(Failure::broken)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    // ctrl-C in the terminal is for the demo; it tells its nodes when their time has come.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().map_err(|e| {
        Failure::broken(
            anyhow::Error::new(e).context(format!("cannot start the process of node {}", node.name)),
        )
    })
}

async fn connect(url: &BrokerUrl, identity: Identity) -> Result<Client, ClientError> {
    let config = ClientConfig {
        broker: url.clone(),
        credentials: None,
        ca: None,
        namespace: Namespace::default(),
        name: identity.id().name().clone(),
        key_file: PathBuf::new(),
    };
    Client::connect_as(config, identity).await
}

fn failed(error: ClientError) -> Failure {
    let hint = error.hint();
    Failure::refused(error).maybe_hint(hint)
}

/// Runs the demo to its end: starts, asks, stays up if told to, stops.
///
/// # Errors
/// When it cannot start, or the job is refused.
pub async fn run(options: Options) -> Result<Option<JobResult>, Failure> {
    let mut stopped = Stop::listen().map_err(Failure::broken)?;
    let mut demo = tokio::select! {
        demo = Demo::start(&options) => demo?,
        () = stopped.told() => return Ok(None),
    };
    let question = match (&options.question, &options.docs) {
        (Some(question), _) => Some(question.clone()),
        (None, None) => Some(documents::QUESTION.to_owned()),
        (None, Some(_)) => None,
    };
    let mut answered = Ok(None);
    if let Some(question) = question {
        answered = tokio::select! {
            answered = demo.ask(&question) => answered.map(Some),
            () = stopped.told() => Ok(None),
        };
    } else if !options.serve {
        answered = Err(Failure::broken(anyhow::anyhow!("wanted a question about the documents, found none"))
            .hint("foa demo --docs DIR \"question\", or --serve to ask from another terminal"));
    }
    if options.serve && answered.is_ok() {
        if let Ok(Some(result)) = &answered {
            terminal::print(&render::result(result, terminal::stdout_style()));
        }
        terminal::note(&demo.invitation());
        stopped.told().await;
        terminal::note("stopping");
        answered = Ok(None);
    }
    demo.stop().await;
    answered
}
