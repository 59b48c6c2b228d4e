//! An OpenAPI document, 3.x or Swagger 2.0: every operation becomes a skill. Only what a card can say is read; parameters,
//! bodies and schemas are passed over.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::Effects;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::security::{self, Requirement, Scheme};
use super::{Error, Imported, Kind, a2a, clip, count, shown, stated};

/// How many path items may refer to one another before it counts as a circle.
const HOPS: usize = 8;
/// Most characters of the document's description that become the card's.
const DESCRIPTION: usize = 2000;
/// Operations that are taken note of; a card holds fewer.
const MAX_OPERATIONS: usize = 4096;

/// What a card is made of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    openapi: Option<Version>,
    swagger: Option<Version>,
    info: Info,
    #[serde(default)]
    paths: Paths,
    #[serde(default)]
    components: Components,
    /// Where Swagger 2.0 has its schemes.
    #[serde(default)]
    security_definitions: BTreeMap<String, Scheme>,
    #[serde(default)]
    security: Vec<Requirement>,
    external_docs: Option<Link>,
}

#[derive(Deserialize)]
struct Info {
    title: String,
    summary: Option<String>,
    description: Option<String>,
    version: Option<Version>,
    contact: Option<Contact>,
}

#[derive(Deserialize)]
struct Contact {
    name: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    url: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Components {
    security_schemes: BTreeMap<String, Scheme>,
    path_items: BTreeMap<String, PathItem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PathItem {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    get: Option<Operation>,
    head: Option<Operation>,
    options: Option<Operation>,
    trace: Option<Operation>,
    query: Option<Operation>,
    post: Option<Operation>,
    put: Option<Operation>,
    patch: Option<Operation>,
    delete: Option<Operation>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Operation {
    operation_id: Option<String>,
    summary: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    security: Option<Vec<Requirement>>,
}

impl PathItem {
    /// Its operations with their methods; those that only read first.
    fn operations(&self) -> impl Iterator<Item = (&'static str, bool, &Operation)> {
        let all = [
            ("GET", true, &self.get),
            ("HEAD", true, &self.head),
            ("OPTIONS", true, &self.options),
            ("TRACE", true, &self.trace),
            ("QUERY", true, &self.query),
            ("POST", false, &self.post),
            ("PUT", false, &self.put),
            ("PATCH", false, &self.patch),
            ("DELETE", false, &self.delete),
        ];
        all.into_iter().filter_map(|(method, reads, operation)| Some((method, reads, operation.as_ref()?)))
    }
}

impl Document {
    /// Makes a card of it.
    ///
    /// # Errors
    /// When it is of a version we do not know, or a card cannot carry it.
    pub fn into_card(self) -> Result<Imported, Error> {
        let version = self.version()?;
        let mut notes = Vec::new();
        let (skills, writing) = self.skills(&mut notes);
        let effects = if writing == 0 { Effects::Read } else { Effects::Write };
        notes.push(match effects {
            Effects::Read => "effects read: no operation is more than GET or HEAD".to_owned(),
            Effects::Write => format!("effects write: {} may change something", count(writing, "operation")),
        });
        let found = format!("an OpenAPI {version} document of {}", count(skills.len(), "operation"));

        let info = self.info;
        let says =
            [info.description, info.summary].into_iter().flatten().find(|text| !text.trim().is_empty());
        let mut description = says.unwrap_or_else(|| info.title.clone());
        if clip(&mut description, DESCRIPTION) {
            notes.push(format!("cut to {DESCRIPTION} characters: the description"));
        }
        let mut card = Map::new();
        card.insert("name".to_owned(), info.title.into());
        card.insert("description".to_owned(), description.into());
        card.insert("version".to_owned(), info.version.map_or_else(|| "0".to_owned(), |v| v.0).into());
        if let Some(Contact { name: Some(name), url: Some(url) }) = info.contact {
            card.insert("provider".to_owned(), json!({ "organization": name, "url": url }));
        }
        card.extend(self.external_docs.map(|docs| ("documentationUrl".to_owned(), docs.url.into())));
        let mut given = self.components.security_schemes;
        given.extend(self.security_definitions);
        let schemes = security::schemes(given, &mut notes);
        if !schemes.is_empty() {
            card.insert("securitySchemes".to_owned(), schemes.into());
        }
        if !self.security.is_empty() {
            card.insert("securityRequirements".to_owned(), security::requirements(&self.security));
        }
        card.insert("supportedInterfaces".to_owned(), json!([]));
        card.insert("capabilities".to_owned(), json!({ "extensions": [stated::extension(effects)] }));
        card.insert("defaultInputModes".to_owned(), json!(["application/json"]));
        card.insert("defaultOutputModes".to_owned(), json!(["application/json"]));
        card.insert("skills".to_owned(), Value::Array(skills));
        let card = a2a::finish(card, &mut notes)?;
        Ok(Imported { kind: Kind::Openapi, found, card, notes })
    }

    fn version(&self) -> Result<String, Error> {
        let (given, known) = match (&self.openapi, &self.swagger) {
            (Some(version), _) => (Some(version), "3."),
            (None, version) => (version.as_ref(), "2."),
        };
        let version = given.filter(|version| version.0.starts_with(known)).map(|version| version.0.clone());
        version.ok_or_else(|| Error::Shape {
            wanted: Kind::Openapi,
            problem: format!(
                "its version is {}, neither 3.x nor 2.0",
                given.map_or_else(|| "not said".to_owned(), |version| shown(&version.0))
            ),
        })
    }

    /// A skill for each operation, and how many of them may change something.
    fn skills(&self, notes: &mut Vec<String>) -> (Vec<Value>, usize) {
        let (mut skills, mut writing, mut nameless, mut left) = (Vec::new(), 0, 0, 0);
        let mut taken = BTreeSet::new();
        for (path, item) in &self.paths.0 {
            let Some(item) = self.resolved(path, item, notes) else { continue };
            for (method, reads, operation) in item.operations() {
                if skills.len() == MAX_OPERATIONS {
                    left += 1;
                    continue;
                }
                writing += usize::from(!reads);
                let place = format!("{method} {path}");
                let given = operation.operation_id.as_ref().filter(|id| !id.trim().is_empty());
                // An id that a second operation has as well names neither.
                let id = given.filter(|id| taken.insert((*id).clone())).cloned();
                nameless += usize::from(id.is_none());
                skills.push(operation.skill(id.as_ref().unwrap_or(&place), &place));
            }
        }
        if nameless > 0 {
            let them = count(nameless, "operation");
            notes.push(format!("{them} without an operationId of its own: named by method and path"));
        }
        if left > 0 {
            notes.push(format!("left out: {} after the first {MAX_OPERATIONS}", count(left, "operation")));
        }
        (skills, writing)
    }

    /// The path item that this one refers to, or itself.
    fn resolved<'a>(
        &'a self,
        path: &str,
        item: &'a PathItem,
        notes: &mut Vec<String>,
    ) -> Option<&'a PathItem> {
        let mut item = item;
        for _ in 0..HOPS {
            let Some(reference) = &item.reference else { return Some(item) };
            let within = reference.strip_prefix("#/components/pathItems/").map(unescaped);
            let paths = reference.strip_prefix("#/paths/").map(unescaped);
            let found = match (within, paths) {
                (Some(name), _) => self.components.path_items.get(&name),
                (None, Some(name)) => {
                    self.paths.0.iter().find(|(path, _)| *path == name).map(|(_, item)| item)
                }
                (None, None) => None,
            };
            let Some(found) = found else {
                notes.push(format!(
                    "left out: {path}, which refers to {}, not in this document",
                    shown(reference)
                ));
                return None;
            };
            item = found;
        }
        notes.push(format!("left out: {path}, whose references go in a circle"));
        None
    }
}

impl Operation {
    fn skill(&self, id: &str, place: &str) -> Value {
        let has = |text: &&String| !text.trim().is_empty();
        let summary = self.summary.as_ref().filter(has).map(|text| text.trim().to_owned());
        let description = self.description.as_ref().filter(has).map(|text| text.trim().to_owned());
        let name = summary.unwrap_or_else(|| id.to_owned());
        // A summary alone stands as the name already; then the path says more than the same words again.
        let description = description.unwrap_or_else(|| place.to_owned());
        let tags = self.tags.clone().unwrap_or_default();
        let mut skill = json!({ "id": id, "name": name, "description": description, "tags": tags });
        if let (Some(skill), Some(security)) = (skill.as_object_mut(), &self.security) {
            skill.insert("securityRequirements".to_owned(), security::requirements(security));
        }
        skill
    }
}

/// A version, which YAML reads as a number when nobody quotes it.
struct Version(String);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfVersion)
    }
}

struct OfVersion;

impl Visitor<'_> for OfVersion {
    type Value = Version;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a version")
    }

    fn visit_str<E>(self, version: &str) -> Result<Version, E> {
        Ok(Version(version.to_owned()))
    }

    fn visit_f64<E>(self, version: f64) -> Result<Version, E> {
        Ok(Version(format!("{version:?}")))
    }

    fn visit_u64<E>(self, version: u64) -> Result<Version, E> {
        Ok(Version(version.to_string()))
    }

    fn visit_i64<E>(self, version: i64) -> Result<Version, E> {
        Ok(Version(version.to_string()))
    }
}

/// A part of a JSON pointer in a URL (RFC 6901, sections 3 and 6), as far as paths need it.
fn unescaped(part: &str) -> String {
    part.replace("%7B", "{").replace("%7D", "}").replace("~1", "/").replace("~0", "~")
}

/// Paths in the order of the document. Keys that are no path are extensions and are passed over.
#[derive(Default)]
struct Paths(Vec<(String, PathItem)>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfPaths)
    }
}

struct OfPaths;

impl<'de> Visitor<'de> for OfPaths {
    type Value = Paths;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Paths, A::Error> {
        let mut paths = Vec::new();
        while let Some(path) = map.next_key::<String>()? {
            if path.starts_with('/') {
                paths.push((path, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Paths(paths))
    }
}
