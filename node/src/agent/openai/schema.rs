//! The shapes asked of a model, as JSON Schema, and the checks on what it gives back. Shapes are small and bounded, so
//! that small models and grammar-constrained servers can keep to them.

use std::collections::BTreeSet;

use foa_workflows::work::{ProposeLimits, ProposedSubtask};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most characters of a description.
const MAX_DESCRIPTION: usize = 600;
/// Most characters of an answer.
const MAX_ANSWER: usize = 16_000;
/// Most characters of an answer that is taken although it is longer than was asked for; it travels as an artifact.
const LONGEST_ANSWER: usize = 900_000;

/// What a draft or refinement looks like.
#[derive(Debug, Deserialize)]
pub(super) struct Drafted {
    pub(super) can_answer: bool,
    pub(super) answer: String,
    pub(super) confidence: f64,
    pub(super) complete: bool,
}

/// What a judgement looks like.
#[derive(Debug, Deserialize)]
pub(super) struct Judged {
    pub(super) approve: bool,
    pub(super) reason: String,
}

/// What a synthesis looks like.
#[derive(Debug, Deserialize)]
pub(super) struct Synthesised {
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
struct Proposed {
    subtasks: Vec<Item>,
    edges: Vec<[String; 2]>,
}

#[derive(Debug, Deserialize)]
struct Item {
    key: String,
    description: String,
}

fn object(properties: &Value) -> Value {
    let required: Vec<&String> = properties.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

pub(super) fn proposal(limits: ProposeLimits) -> Value {
    let key = json!({"type": "string", "enum": (1..=limits.max.max(1)).map(|i| format!("s{i}")).collect::<Vec<_>>()});
    let item = object(&json!({"key": key, "description": {"type": "string", "maxLength": MAX_DESCRIPTION}}));
    let edge = json!({"type": "array", "items": key, "minItems": 2, "maxItems": 2});
    let most = limits.max.max(1);
    object(&json!({
        "subtasks": {"type": "array", "items": item, "minItems": 1, "maxItems": most},
        "edges": {"type": "array", "items": edge, "maxItems": most * most},
    }))
}

pub(super) fn verdict() -> Value {
    object(&json!({"approve": {"type": "boolean"}, "reason": {"type": "string", "maxLength": 300}}))
}

pub(super) fn draft() -> Value {
    object(&json!({
        "can_answer": {"type": "boolean"},
        "answer": {"type": "string", "maxLength": MAX_ANSWER},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "complete": {"type": "boolean"},
    }))
}

pub(super) fn synthesis() -> Value {
    object(&json!({"text": {"type": "string", "maxLength": MAX_ANSWER}}))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    // Servers that ignore the schema like to wrap their JSON in a code block.
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let inner = inner.and_then(|t| t.strip_suffix("```")).unwrap_or(text);
    serde_json::from_str(inner.trim()).map_err(|e| format!("wanted the JSON object of the schema: {e}"))
}

fn within(what: &str, text: &str, limit: usize) -> Result<(), String> {
    let found = text.chars().count();
    if text.trim().is_empty() || found > limit {
        return Err(format!("wanted {what} of 1 to {limit} characters, found {found}"));
    }
    Ok(())
}

/// Subtasks and edges, checked to make a plan.
pub(super) type Proposal = (Vec<ProposedSubtask>, Vec<[String; 2]>);

pub(super) fn read_proposal(text: &str, limits: ProposeLimits) -> Result<Proposal, String> {
    let proposed: Proposed = parse(text)?;
    let (most, found) = (limits.max.max(1), proposed.subtasks.len());
    if found == 0 || found > most {
        return Err(format!("wanted 1 to {most} subtasks, found {found}"));
    }
    let mut keys = BTreeSet::new();
    for item in &proposed.subtasks {
        within("a description", &item.description, MAX_DESCRIPTION)?;
        if !keys.insert(item.key.clone()) {
            return Err(format!("wanted each key once, found {:?} twice", item.key));
        }
    }
    let subtasks: Vec<foa_workflows::Subtask> = proposed
        .subtasks
        .iter()
        .map(|i| foa_workflows::Subtask {
            key: i.key.clone(),
            ..foa_workflows::Plan::solo(&i.description).subtasks()[0].clone()
        })
        .collect();
    foa_workflows::Plan::new(subtasks, &proposed.edges).map_err(|e| e.to_string())?;
    let made =
        |i: Item| ProposedSubtask { key: i.key, description: i.description, ..ProposedSubtask::default() };
    Ok((proposed.subtasks.into_iter().map(made).collect(), proposed.edges))
}

pub(super) fn read_verdict(text: &str) -> Result<Judged, String> {
    let judged: Judged = parse(text)?;
    if !judged.approve {
        within("a reason", &judged.reason, 2_000)?;
    }
    Ok(judged)
}

pub(super) fn read_draft(text: &str) -> Result<Drafted, String> {
    let drafted: Drafted = parse(text)?;
    if drafted.can_answer {
        within("an answer", &drafted.answer, LONGEST_ANSWER)?;
    }
    if !(0.0..=1.0).contains(&drafted.confidence) {
        return Err(format!("wanted a confidence of 0 to 1, found {}", drafted.confidence));
    }
    Ok(drafted)
}

pub(super) fn read_synthesis(text: &str) -> Result<String, String> {
    let synthesised: Synthesised = parse(text)?;
    within("a text", &synthesised.text, MAX_ANSWER)?;
    Ok(synthesised.text)
}
