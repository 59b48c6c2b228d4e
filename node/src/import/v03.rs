//! A2A 0.3 cards, which other software still publishes, brought into the shape of 1.0.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::security::{self, Requirement, Scheme};
use super::{Error, Kind};

/// What only a 0.3 card has at its top.
const OWN: [&str; 4] = ["url", "preferredTransport", "additionalInterfaces", "protocolVersion"];

/// Whether this is a card of before 1.0. One that also says its interfaces as 1.0 does is a 1.0 card.
pub(super) fn is_v03(card: &Map<String, Value>) -> bool {
    !card.contains_key("supportedInterfaces") && OWN.iter().any(|key| card.contains_key(*key))
}

/// Brings a 0.3 card into the shape of 1.0; what had to change is said in `notes`.
pub(super) fn convert(card: &mut Map<String, Value>, notes: &mut Vec<String>) -> Result<(), Error> {
    interfaces(card);
    notes.push("converted: its address and transports became supportedInterfaces".to_owned());
    if let Some(extended) = card.remove("supportsAuthenticatedExtendedCard") {
        let capabilities = card.entry("capabilities").or_insert_with(|| json!({}));
        if let Some(capabilities) = capabilities.as_object_mut() {
            capabilities.insert("extendedAgentCard".to_owned(), extended);
        }
        notes.push(
            "converted: supportsAuthenticatedExtendedCard became capabilities.extendedAgentCard".to_owned(),
        );
    }
    let capabilities = card.get_mut("capabilities").and_then(Value::as_object_mut);
    if capabilities.is_some_and(|c| c.remove("stateTransitionHistory").is_some()) {
        notes.push("left out: capabilities.stateTransitionHistory, which A2A 1.0 does not have".to_owned());
    }
    if let Some(schemes) = card.remove("securitySchemes") {
        let given: BTreeMap<String, Scheme> = read(&schemes)?;
        card.insert("securitySchemes".to_owned(), security::schemes(given, notes).into());
        notes.push("converted: securitySchemes".to_owned());
    }
    let mut required = requirements(card)?;
    for skill in card.get_mut("skills").and_then(Value::as_array_mut).into_iter().flatten() {
        required |= skill.as_object_mut().map_or(Ok(false), requirements)?;
    }
    if required {
        notes.push("converted: security became securityRequirements".to_owned());
    }
    Ok(())
}

fn interfaces(card: &mut Map<String, Value>) {
    let version = card.remove("protocolVersion");
    let version = version.as_ref().and_then(Value::as_str).unwrap_or("0.3");
    // 1.0 says major and minor.
    let version = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let preferred = card.remove("preferredTransport");
    let preferred = preferred.as_ref().and_then(Value::as_str).unwrap_or("JSONRPC").to_owned();
    let mut pairs: Vec<(String, String)> = Vec::new();
    pairs.extend(card.remove("url").and_then(|url| Some((url.as_str()?.to_owned(), preferred))));
    let more = card.remove("additionalInterfaces");
    for interface in more.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| interface.get(key).and_then(Value::as_str).map(str::to_owned);
        if let (Some(url), Some(transport)) = (text("url"), text("transport"))
            && !pairs.contains(&(url.clone(), transport.clone()))
        {
            pairs.push((url, transport));
        }
    }
    let interfaces = pairs
        .into_iter()
        .map(|(url, binding)| json!({ "url": url, "protocolBinding": binding, "protocolVersion": version }));
    card.insert("supportedInterfaces".to_owned(), interfaces.collect());
}

/// `security` of a card or a skill; says whether there was any.
fn requirements(of: &mut Map<String, Value>) -> Result<bool, Error> {
    let Some(security) = of.remove("security") else { return Ok(false) };
    let given: Vec<Requirement> = read(&security)?;
    of.insert("securityRequirements".to_owned(), security::requirements(&given));
    Ok(true)
}

fn read<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, Error> {
    T::deserialize(value).map_err(|e| Error::Shape { wanted: Kind::A2a, problem: e.to_string() })
}
