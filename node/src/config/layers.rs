//! Puts file, environment and flags on top of each other, and remembers where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::defaults::{Kind, OTHER_ENV, SETTINGS, Setting, setting};
use super::error::{ConfigError, Place, nearest};

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::Text`] and [`Kind::Path`].
    Text(String),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Number`].
    Number(u64),
    /// For [`Kind::List`].
    List(Vec<String>),
}

/// As it would stand in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::List(list) => {
                write!(f, "[{}]", list.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(Place),
    /// An environment variable.
    Env(&'static str),
    /// A flag on the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => write!(f, "{place}"),
            Self::Env(name) => write!(f, "{name}"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// A value given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The setting it overrides.
    pub path: &'static str,
    /// The flag, as it is typed: `--broker`.
    pub name: &'static str,
    /// The value.
    pub value: Value,
}

/// One `[[agent]]` of the file, not yet read.
#[derive(Clone, Debug)]
pub struct AgentTable {
    /// Its keys.
    pub table: toml::Table,
    /// Where it begins.
    pub place: Place,
    /// The line of each key at its top, to point at.
    pub lines: BTreeMap<String, usize>,
}

impl AgentTable {
    /// Where a key of it stands; its beginning when it has no such key.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        let line = self.lines.get(key).copied().unwrap_or(self.place.line);
        Place { line, ..self.place.clone() }
    }
}

/// Everything that was said, the last word on top.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that was read.
    pub file: Option<PathBuf>,
    values: BTreeMap<&'static str, (Value, Origin)>,
    /// The agents, in the order of the file.
    pub agents: Vec<AgentTable>,
    /// What looks like a mistake and might be none.
    pub warnings: Vec<String>,
}

impl Layers {
    /// The value in force and where it came from; `None` when there is not even a default.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(Value, Origin)> {
        if let Some(found) = self.values.get(path) {
            return Some(found.clone());
        }
        let known = setting(path)?;
        let value = parse(known, known.default?).expect("defaults are of their own kind");
        Some((value, Origin::Default))
    }

    /// Adds what a file says. `name` is what messages call it.
    ///
    /// # Errors
    /// When it is no TOML, or has a key nobody knows, or a value of the wrong kind; the message has file, line and key.
    pub fn add_file(&mut self, name: &Path, text: &str) -> Result<(), ConfigError> {
        let at = |span: Range<usize>| Place { file: name.to_owned(), line: line_of(text, span.start) };
        let parsed = DeTable::parse(text).map_err(|e| ConfigError::Syntax {
            place: at(e.span().unwrap_or(0..0)),
            detail: e.message().lines().collect::<Vec<_>>().join(", "),
        })?;
        let base = name.parent().unwrap_or(Path::new(""));
        for (section, content) in parsed.get_ref() {
            let key = section.get_ref().as_ref();
            if key == "agent" {
                self.agents = agents(content.get_ref(), &at, &at(section.span()))?;
                continue;
            }
            let known: Vec<&str> = sections();
            if !known.contains(&key) {
                let mut known = known;
                known.push("agent");
                return Err(ConfigError::UnknownKey {
                    place: at(section.span()),
                    key: key.to_owned(),
                    within: None,
                    known: known.into_iter().map(str::to_owned).collect(),
                });
            }
            let Some(table) = content.get_ref().as_table() else {
                return Err(ConfigError::WrongKind {
                    place: at(section.span()),
                    path: key.to_owned(),
                    wanted: "a table",
                    found: shown(content.get_ref()),
                });
            };
            for (name, value) in table {
                let path = format!("{key}.{}", name.get_ref());
                let Some(known) = setting(&path) else {
                    return Err(ConfigError::UnknownKey {
                        place: at(name.span()),
                        key: name.get_ref().to_string(),
                        within: Some(format!("[{key}]")),
                        known: keys_of(key),
                    });
                };
                let value = read(known, value.get_ref(), base).ok_or_else(|| ConfigError::WrongKind {
                    place: at(name.span()),
                    path,
                    wanted: known.kind.wanted(),
                    found: shown(value.get_ref()),
                })?;
                self.values.insert(known.path, (value, Origin::File(at(name.span()))));
            }
        }
        self.file = Some(name.to_owned());
        Ok(())
    }

    /// Adds what the environment says. An empty variable says nothing.
    ///
    /// # Errors
    /// When a value is of the wrong kind. A variable that looks like one of ours and is not is a warning only: container
    /// platforms make such names of their own.
    pub fn add_env(&mut self, vars: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (name, text) in vars.filter(|(name, text)| name.starts_with("FOA_") && !text.is_empty()) {
            let Some(known) = SETTINGS.iter().find(|s| s.env == name) else {
                if OTHER_ENV.contains(&name.as_str()) {
                    continue;
                }
                let known = SETTINGS.iter().map(|s| s.env).chain(OTHER_ENV.iter().copied());
                let known: Vec<String> = known.map(str::to_owned).collect();
                if let Some(nearest) = nearest(&name, &known, 0.93) {
                    self.warnings.push(format!("environment: {name} means nothing; did you mean {nearest}?"));
                }
                continue;
            };
            let value = parse(known, &text).ok_or_else(|| ConfigError::Invalid {
                origin: Origin::Env(known.env),
                path: known.path,
                detail: format!("wanted {}, found {text:?}", known.kind.wanted()),
            })?;
            self.values.insert(known.path, (value, Origin::Env(known.env)));
        }
        Ok(())
    }

    /// Adds what the command line says.
    pub fn add_flags(&mut self, flags: Vec<Flag>) {
        for flag in flags {
            self.values.insert(flag.path, (flag.value, Origin::Flag(flag.name)));
        }
    }
}

/// The names of the tables in the file, once each.
fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = SETTINGS.iter().filter_map(|s| Some(s.path.split_once('.')?.0)).collect();
    sections.dedup();
    sections
}

fn keys_of(section: &str) -> Vec<String> {
    let keys = SETTINGS.iter().filter_map(|s| s.path.split_once('.')).filter(|(of, _)| *of == section);
    keys.map(|(_, key)| key.to_owned()).collect()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

/// Reads a value as the environment has it: one text.
fn parse(setting: &Setting, text: &str) -> Option<Value> {
    Some(match setting.kind {
        Kind::Text | Kind::Path => Value::Text(text.to_owned()),
        Kind::Bool => Value::Bool(text.parse().ok()?),
        Kind::Number => Value::Number(text.parse().ok()?),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            Value::List(items.map(str::to_owned).collect())
        }
    })
}

/// Reads a value as the file has it.
fn read(setting: &Setting, value: &DeValue<'_>, base: &Path) -> Option<Value> {
    Some(match setting.kind {
        Kind::Text => Value::Text(value.as_str()?.to_owned()),
        Kind::Path => {
            let path = base.join(value.as_str()?);
            Value::Text(path.to_string_lossy().into_owned())
        }
        Kind::Bool => Value::Bool(value.as_bool()?),
        Kind::Number => Value::Number(value.as_integer()?.as_str().replace('_', "").parse().ok()?),
        Kind::List => {
            let items = value.as_array()?.iter().map(|v| v.get_ref().as_str().map(str::to_owned));
            Value::List(items.collect::<Option<_>>()?)
        }
    })
}

/// A value as a message shows it: short, and nothing of a table.
fn shown(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().take(5).map(|v| shown(v.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => {
            let kind = value.type_str();
            let article = if kind.starts_with('a') { "an" } else { "a" };
            format!("{article} {kind}")
        }
    };
    text.chars().take(60).collect()
}

fn agents(
    content: &DeValue<'_>,
    at: &dyn Fn(Range<usize>) -> Place,
    place: &Place,
) -> Result<Vec<AgentTable>, ConfigError> {
    let wrong = || ConfigError::WrongKind {
        place: place.clone(),
        path: "agent".to_owned(),
        wanted: "tables that begin with [[agent]]",
        found: shown(content),
    };
    let tables = content.as_array().ok_or_else(wrong)?;
    let mut agents = Vec::new();
    for item in tables {
        let table = item.get_ref().as_table().ok_or_else(wrong)?;
        let lines = table.keys().map(|key| (key.get_ref().to_string(), at(key.span()).line)).collect();
        let value = owned(item.get_ref());
        let toml::Value::Table(table) = value else { return Err(wrong()) };
        agents.push(AgentTable { table, place: at(item.span()), lines });
    }
    Ok(agents)
}

/// The value without its place in the text.
fn owned(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let parsed = i64::from_str_radix(&digits, number.radix()).unwrap_or(i64::MAX);
            toml::Value::Integer(parsed)
        }
        DeValue::Float(number) => {
            toml::Value::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
        }
        DeValue::Boolean(yes) => toml::Value::Boolean(*yes),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|v| owned(v.get_ref())).collect()),
        DeValue::Table(table) => toml::Value::Table(
            table.iter().map(|(k, v)| (k.get_ref().to_string(), owned(v.get_ref()))).collect(),
        ),
    }
}
