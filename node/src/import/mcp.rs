//! An MCP server, as its answers to `initialize` and `tools/list` describe it: every tool becomes a skill.

use foa_capability::Effects;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{Error, Imported, Kind, a2a, clip, count, stated};

/// A description shorter than this says little; the names of what the tool takes join it.
const TERSE: usize = 60;
/// Names of parameters that join a description.
const PARAMETERS: usize = 8;
/// Most characters of a server's instructions that become a description: they are written for a model and may be long.
const INSTRUCTIONS: usize = 1000;

/// A server and its tools: the members of `initialize`'s answer and of `tools/list`'s in one object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    server_info: Option<Info>,
    instructions: Option<String>,
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    name: String,
    title: Option<String>,
    version: Option<String>,
    description: Option<String>,
    website_url: Option<String>,
    #[serde(default)]
    icons: Vec<Icon>,
}

#[derive(Deserialize)]
struct Icon {
    src: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    title: Option<String>,
    description: Option<String>,
    #[serde(default)]
    input_schema: Schema,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Schema {
    #[serde(default)]
    properties: Names,
}

/// What a tool says of itself. Hints, not promises; they are believed only as far as an operator believes the server.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Annotations {
    title: Option<String>,
    read_only_hint: bool,
}

impl Server {
    /// Makes a card of it.
    ///
    /// # Errors
    /// When a card cannot carry it.
    pub fn into_card(self) -> Result<Imported, Error> {
        let mut notes = Vec::new();
        let read_only = self.tools.iter().filter(|tool| tool.annotations.read_only_hint).count();
        let effects = if read_only == self.tools.len() { Effects::Read } else { Effects::Write };
        notes.push(match effects {
            Effects::Read => "effects read: every tool says that it only reads".to_owned(),
            Effects::Write => {
                let others = count(self.tools.len() - read_only, "tool");
                format!("effects write: {others} did not say to only read")
            }
        });
        let found = format!("an MCP server with {}", count(self.tools.len(), "tool"));
        let mut card = Map::new();
        let info = self.server_info;
        let title =
            info.as_ref().map(|i| i.title.as_ref().filter(|t| !t.trim().is_empty()).unwrap_or(&i.name));
        let title = title.filter(|t| !t.trim().is_empty()).cloned().unwrap_or_else(|| {
            notes.push("the server has no name: called \"MCP server\"".to_owned());
            "MCP server".to_owned()
        });
        let mut description = info.as_ref().and_then(|i| i.description.clone()).or(self.instructions);
        if let Some(text) = &mut description
            && clip(text, INSTRUCTIONS)
        {
            notes.push(format!("cut to {INSTRUCTIONS} characters: the description"));
        }
        let described = description.filter(|text| !text.trim().is_empty());
        let description = described.unwrap_or_else(|| {
            notes.push("the server has no description: made of its tools".to_owned());
            let names: Vec<&str> = self.tools.iter().map(Tool::title).take(PARAMETERS).collect();
            format!("{title} with the tools {}", names.join(", "))
        });
        card.insert("name".to_owned(), title.into());
        card.insert("description".to_owned(), description.into());
        let version = info.as_ref().and_then(|i| i.version.clone()).filter(|v| !v.is_empty());
        let version = version.unwrap_or_else(|| "0".to_owned());
        card.insert("version".to_owned(), version.into());
        if let Some(info) = info {
            let icon = info.icons.into_iter().map(|icon| icon.src).find(|src| is_web(src));
            card.extend(icon.map(|src| ("iconUrl".to_owned(), src.into())));
            let site = info.website_url.filter(|url| is_web(url));
            card.extend(site.map(|url| ("documentationUrl".to_owned(), url.into())));
        }
        card.insert("supportedInterfaces".to_owned(), json!([]));
        card.insert("capabilities".to_owned(), json!({ "extensions": [stated::extension(effects)] }));
        card.insert("defaultInputModes".to_owned(), json!(["application/json"]));
        card.insert("defaultOutputModes".to_owned(), json!(["text/plain"]));
        card.insert("skills".to_owned(), self.tools.iter().map(Tool::skill).collect());
        let card = a2a::finish(card, &mut notes)?;
        Ok(Imported { kind: Kind::Mcp, found, card, notes })
    }
}

impl Tool {
    fn title(&self) -> &str {
        let titles = [self.title.as_deref(), self.annotations.title.as_deref(), Some(self.name.as_str())];
        titles.into_iter().flatten().find(|title| !title.trim().is_empty()).unwrap_or_default()
    }

    fn skill(&self) -> Value {
        let mut description = self.description.as_deref().unwrap_or_default().trim().to_owned();
        let names = &self.input_schema.properties.0;
        if description.chars().count() < TERSE && !names.is_empty() {
            if !description.is_empty() {
                description.push_str(if description.ends_with(['.', '!', '?']) { " " } else { ". " });
            }
            let names: Vec<&str> = names.iter().take(PARAMETERS).map(String::as_str).collect();
            description.push_str(&format!("Takes {}.", names.join(", ")));
        }
        json!({ "id": self.name, "name": self.title(), "description": description, "tags": [] })
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// The keys of an object, in their order. Anything else has none: schemas are written by many hands.
#[derive(Default)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Keys)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Names;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the properties of a schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if names.len() < PARAMETERS {
                names.push(name);
            }
        }
        Ok(Names(names))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Names::default())
    }

    fn visit_unit<E>(self) -> Result<Names, E> {
        Ok(Names::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Names, E> {
        Ok(Names::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Names, E> {
        Ok(Names::default())
    }
}
