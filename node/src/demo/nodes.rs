//! The demo's five nodes as configuration files: what `--processes` gives to children is what runs in this process too.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use foa_broker::BrokerUrl;

use super::documents::Document;

/// One node of the demo.
#[derive(Clone, Debug)]
pub(super) struct DemoNode {
    /// What people call it.
    pub(super) name: &'static str,
    /// Its configuration file.
    pub(super) file: PathBuf,
    /// How many agents it has.
    pub(super) agents: usize,
}

/// How long an endpoint may take to list its models.
const LIST_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Nodes with documents.
const LIBRARIES: [(&str, bool); 3] = [("borealis", true), ("cygnus", true), ("draco", false)];
/// How many nodes hold documents.
pub(super) const HANDS: usize = LIBRARIES.len();

/// A language model that was found in the environment.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) base_url: String,
    pub(super) model: String,
}

/// Why the model that `OPENAI_BASE_URL` names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("wanted the list of models at {base_url}/models, but {problem}")]
pub(super) struct NoModel {
    base_url: String,
    problem: String,
}

impl Model {
    /// The one `OPENAI_BASE_URL` and `OPENAI_MODEL` name; without a name the first one the endpoint lists.
    pub(super) async fn from_env() -> Result<Option<Self>, NoModel> {
        let var = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
        let Some(base_url) = var("OPENAI_BASE_URL") else { return Ok(None) };
        let base_url = base_url.trim_end_matches('/').to_owned();
        let model = match var("OPENAI_MODEL") {
            Some(model) => model,
            None => first_model(&base_url, var("OPENAI_API_KEY"))
                .await
                .map_err(|problem| NoModel { base_url: base_url.clone(), problem })?,
        };
        Ok(Some(Self { base_url, model }))
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        format!("{} at {}", self.model, self.base_url)
    }
}

async fn first_model(base_url: &str, key: Option<String>) -> Result<String, String> {
    let client = reqwest::Client::builder().timeout(LIST_WITHIN).build().map_err(|e| e.to_string())?;
    let mut request = client.get(format!("{base_url}/models"));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let listed: serde_json::Value = async { request.send().await?.error_for_status()?.json().await }
        .await
        .map_err(|e: reqwest::Error| e.without_url().to_string())?;
    listed["data"][0]["id"].as_str().map(str::to_owned).ok_or_else(|| "it lists none".to_owned())
}

/// Writes configuration and documents of every node below `root`.
pub(super) fn write(
    root: &Path,
    broker: &BrokerUrl,
    documents: Vec<Vec<Document>>,
    model: Option<&Model>,
) -> io::Result<Vec<DemoNode>> {
    let mut nodes = Vec::new();
    let mut atlas = vec![agent("planner", "planner", &[("grain", "\"fine\"".to_owned())])];
    if let Some(model) = model {
        let keys = [
            ("base_url", quoted(&model.base_url)),
            ("model", quoted(&model.model)),
            (
                "description",
                quoted("A language model that plans, reasons, compares and writes in plain words"),
            ),
        ];
        atlas.push(agent("openai", "model", &keys));
    }
    nodes.push(node(root, broker, "atlas", &["coordinator", "worker"], &atlas)?);
    for ((name, coordinator), documents) in LIBRARIES.into_iter().zip(documents) {
        let folder = root.join(name).join("docs");
        for document in documents {
            let path = folder.join(inside(&document.name));
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(path, document.bytes)?;
        }
        fs::create_dir_all(&folder)?;
        let roles: &[&str] = if coordinator { &["coordinator", "worker"] } else { &["worker"] };
        let agents = [agent("corpus", "library", &[("path", quoted(&folder.to_string_lossy()))])];
        nodes.push(node(root, broker, name, roles, &agents)?);
    }
    let abacus =
        [agent("calc", "calc", &[]), agent("planner", "planner", &[("grain", "\"coarse\"".to_owned())])];
    nodes.push(node(root, broker, "abacus", &["worker"], &abacus)?);
    Ok(nodes)
}

/// A document's name as a path that stays below its folder.
fn inside(name: &str) -> PathBuf {
    Path::new(name).components().filter(|c| matches!(c, Component::Normal(_))).collect()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn agent(kind: &str, name: &str, keys: &[(&str, String)]) -> String {
    let keys: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("[[agent]]\nkind = \"{kind}\"\nname = \"{name}\"\n{keys}")
}

fn node(
    root: &Path,
    broker: &BrokerUrl,
    name: &'static str,
    roles: &[&str],
    agents: &[String],
) -> io::Result<DemoNode> {
    let home = root.join(name);
    fs::create_dir_all(&home)?;
    let roles: Vec<String> = roles.iter().map(|r| quoted(r)).collect();
    let text = format!(
        "[node]\nname = \"{name}\"\ndata_dir = {}\nroles = [{}]\n\n[broker]\nurl = \"{broker}\"\n\n[limits]\ndrain_ms = 2000\n\n{}",
        quoted(&home.to_string_lossy()),
        roles.join(", "),
        agents.join("\n")
    );
    let file = home.join("foa.toml");
    fs::write(&file, text)?;
    Ok(DemoNode { name, file, agents: agents.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn every_configuration_is_one_a_node_takes() {
        let dir = tempfile::tempdir().unwrap();
        let broker = BrokerUrl::tcp("127.0.0.1", 1883);
        let model = Model { base_url: "http://127.0.0.1:9/v1".to_owned(), model: "tiny".to_owned() };
        let escaping = Document { name: "../../etc/a.md".to_owned(), bytes: b"# A\n".to_vec() };
        let nodes = write(dir.path(), &broker, vec![vec![escaping], vec![], vec![]], Some(&model)).unwrap();
        assert_eq!(nodes.len(), 5);
        for node in &nodes {
            let mut layers = Layers::default();
            layers.add_file(&node.file, &fs::read_to_string(&node.file).unwrap()).unwrap();
            let config = layers.node().unwrap();
            assert_eq!((config.name.as_str(), config.agents.len()), (node.name, node.agents));
        }
        assert!(dir.path().join("borealis/docs/etc/a.md").is_file(), "a name cannot lead out of its folder");
    }
}
