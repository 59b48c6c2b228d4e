//! What an `[[agent]]` that names a card takes from it. Whatever its table says itself stands.

use std::path::Path;

use foa_capability::AgentProfile;
use toml::Value;

use super::error::ConfigError;
use super::layers::AgentTable;
use crate::import::source::{CardError, read_card};

/// The key that names the card.
const KEY: &str = "card";
/// Keys of a card that every kind of agent has, and those that only a language model has: the other kinds make skills of
/// their own, and only read.
const COMMON: [&str; 5] = ["name", "description", "policies", "price", "concurrency"];
const OF_MODEL: [&str; 3] = ["skills", "effects", "price_per_1k_tokens"];

/// The table with what its card says under it; a relative path starts at `base`.
pub(super) fn with_card(given: &AgentTable, base: &Path) -> Result<AgentTable, ConfigError> {
    let mut given = given.clone();
    let Some(path) = given.table.get(KEY).and_then(Value::as_str) else { return Ok(given) };
    let wrong =
        |detail: String| ConfigError::Agent { place: given.place_of(KEY), detail: format!("card: {detail}") };
    let defaults = read_card(&base.join(path)).map_err(|e| wrong(said(&e))).and_then(|(stated, _)| {
        let mut defaults = toml::Table::new();
        if let Some(name) = AgentProfile::name_for(&stated.title) {
            defaults.insert("name".to_owned(), name.to_string().into());
        }
        defaults.insert("description".to_owned(), stated.description.into());
        let value = |value: Result<Value, toml::ser::Error>| value.map_err(|e| wrong(e.to_string()));
        defaults.insert("skills".to_owned(), value(Value::try_from(&stated.skills))?);
        if let Some(effects) = stated.effects {
            defaults.insert("effects".to_owned(), value(Value::try_from(effects))?);
        }
        if let Some(policies) = stated.policies {
            defaults.insert("policies".to_owned(), value(Value::try_from(policies))?);
        }
        if let Some(offer) = stated.offer {
            defaults.insert("price".to_owned(), offer.price.0.into());
            defaults.insert("price_per_1k_tokens".to_owned(), offer.price_per_1k_tokens.0.into());
            if offer.concurrency > 0 {
                defaults.insert("concurrency".to_owned(), i64::from(offer.concurrency).into());
            }
        }
        Ok(defaults)
    })?;
    let model = given.table.get("kind").and_then(Value::as_str) == Some("openai");
    for (key, value) in defaults {
        if COMMON.contains(&key.as_str()) || (model && OF_MODEL.contains(&key.as_str())) {
            given.table.entry(key).or_insert(value);
        }
    }
    Ok(given)
}

/// The error with its causes, on one line.
fn said(error: &CardError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use foa_capability::{Effects, Money};
    use serde_json::json;

    use crate::agent::AgentConfig;
    use crate::config::Layers;

    /// The first agent of a configuration beside a card.
    fn agent(card: &serde_json::Value, table: &str) -> Result<AgentConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("card.json"), card.to_string()).unwrap();
        let mut layers = Layers::default();
        let text = format!("[node]\ndata_dir = \"data\"\n[[agent]]\ncard = \"card.json\"\n{table}");
        layers.add_file(&folder.path().join("node.toml"), &text).unwrap();
        layers.node().map(|config| config.agents[0].clone()).map_err(|e| e.to_string())
    }

    fn card() -> serde_json::Value {
        json!({
            "name": "Recipe Agent",
            "description": "Finds recipes",
            "skills": [{ "id": "find", "name": "Find", "description": "finds", "tags": ["food"], "examples": ["Soup?"] }],
            "capabilities": { "extensions": [{ "uri": foa_capability::card::EXTENSION, "params": {
                "effects": "write", "policies": ["gdpr"], "offer": { "price": 5, "price_per_1k_tokens": 6, "concurrency": 2 } } }] },
        })
    }

    const MODEL: &str = "kind = \"openai\"\nbase_url = \"http://h/v1\"\nmodel = \"m\"\n";

    #[test]
    fn a_card_fills_in_what_the_table_leaves_out() {
        let AgentConfig::Openai {
            name,
            description,
            skills,
            effects,
            policies,
            price,
            price_per_1k_tokens,
            concurrency,
            ..
        } = agent(&card(), MODEL).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!((name.as_str(), description.as_str()), ("recipe-agent", "Finds recipes"));
        assert_eq!(
            (skills.len(), skills[0].id.as_str(), skills[0].examples.as_slice()),
            (1, "find", &["Soup?".to_owned()][..])
        );
        assert_eq!((effects, policies.len(), concurrency), (Effects::Write, 1, 2));
        assert_eq!((price, price_per_1k_tokens), (Money(5), Money(6)));
    }

    #[test]
    fn what_the_table_says_stands() {
        let own = "name = \"cook\"\ndescription = \"cooks\"\neffects = \"read\"\npolicies = []\nprice = 1\nskills = []\n";
        let AgentConfig::Openai { name, description, skills, effects, policies, price, concurrency, .. } =
            agent(&card(), &format!("{MODEL}{own}")).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!((name.as_str(), description.as_str(), skills.len()), ("cook", "cooks", 0));
        assert_eq!((effects, policies.len(), price, concurrency), (Effects::Read, 0, Money(1), 2));
    }

    #[test]
    fn other_kinds_take_what_they_have() {
        let AgentConfig::Calc { name, price, concurrency, card: Some(path), .. } =
            agent(&card(), "kind = \"calc\"").unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!(
            (name.as_str(), price, concurrency, path.to_str()),
            ("recipe-agent", Money(5), 2, Some("card.json"))
        );
    }

    #[test]
    fn a_title_without_a_letter_that_fits_is_no_name() {
        let mut foreign = card();
        foreign["name"] = "料理".into();
        let said = agent(&foreign, MODEL).unwrap_err();
        assert!(said.contains("wanted the key `name`"), "{said}");
        assert!(agent(&foreign, &format!("{MODEL}name = \"cook\"")).is_ok());
    }
}
