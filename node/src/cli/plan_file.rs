//! A plan in a file: the subtasks of a job whose submitter has broken it down already.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use foa_capability::{Needs, Policy};
use foa_workflows::GivenPlan;
use foa_workflows::work::ProposedSubtask;
use serde::Deserialize;

/// What the file holds: the plan of a submission, except that a key nobody knows is an error. A person who misspells
/// `edges` would otherwise get steps that all run at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    subtasks: Vec<Subtask>,
    #[serde(default)]
    edges: Vec<[String; 2]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subtask {
    key: String,
    description: String,
    #[serde(default)]
    skills: BTreeSet<String>,
    #[serde(default)]
    policies: BTreeSet<Policy>,
    #[serde(default)]
    needs: Needs,
    #[serde(default)]
    done_when: Option<String>,
}

/// The plan of this file; TOML when its name says so, else JSON.
pub(super) fn read(path: &Path) -> anyhow::Result<GivenPlan> {
    let place = || format!("--plan {}", path.display());
    let text = std::fs::read_to_string(path).with_context(place)?;
    let toml = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    let written: anyhow::Result<Written> = if toml {
        toml::from_str(&text).map_err(Into::into)
    } else {
        serde_json::from_str(&text).map_err(Into::into)
    };
    let Written { subtasks, edges } = written.with_context(place)?;
    let subtasks = subtasks.into_iter().map(|s| {
        let Subtask { key, description, skills, policies, needs, done_when } = s;
        ProposedSubtask { key, description, skills, policies, needs, done_when }
    });
    Ok(GivenPlan { subtasks: subtasks.collect(), edges })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(name: &str, text: &str) -> anyhow::Result<GivenPlan> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let json = r#"{"subtasks":[{"key":"a","description":"find"},
            {"key":"b","description":"add","skills":["calculation"]}],"edges":[["a","b"]]}"#;
        let toml = "edges = [[\"a\", \"b\"]]\n[[subtasks]]\nkey = \"a\"\ndescription = \"find\"\n\
            [[subtasks]]\nkey = \"b\"\ndescription = \"add\"\nskills = [\"calculation\"]\n";
        let plan = read_as("plan.json", json).unwrap();
        assert_eq!(plan, read_as("plan.TOML", toml).unwrap());
        assert_eq!(plan.to_plan().unwrap().before("b"), ["a"]);
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_the_file_and_the_key() {
        let wrong = r#"{"subtasks":[{"key":"a","description":"find"}],"edge":[]}"#;
        let said = format!("{:#}", read_as("plan.json", wrong).unwrap_err());
        assert!(said.contains("plan.json") && said.contains("edge") && said.contains("edges"), "{said}");
        assert!(read(Path::new("/no/such/plan")).is_err());
    }
}
