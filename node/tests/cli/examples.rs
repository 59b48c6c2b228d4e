//! The example configurations in `deploy/config` are ones a node takes, and `full.toml` has every key and every default.

use std::path::{Path, PathBuf};

use super::Place;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config")
}

/// What `foa config show` says of a file, or of no file.
fn shown(place: &Place, file: Option<&Path>) -> String {
    let file = file.map(|f| f.to_str().unwrap());
    let args: Vec<&str> =
        file.map_or(vec![], |f| vec!["--config", f]).into_iter().chain(["config", "show"]).collect();
    let output = place.run(&args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{file:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_example_is_a_configuration() {
    let place = Place::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert!(shown(&place, Some(&file)).contains("[[agent]]"), "{}: no agent", file.display());
    }
}

#[test]
fn the_full_example_has_every_key_with_its_default() {
    let place = Place::new();
    let file = folder().join("full.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let settings = |shown: String| {
        let settings = shown.split("\n[[agent]]").next().unwrap().to_owned();
        settings.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let defaults = settings(shown(&place, None));
    assert_eq!(settings(shown(&place, Some(&file))), defaults);
    let keys = defaults.iter().filter(|line| line.starts_with("# ") || line.contains(" = "));
    for line in keys {
        // A key without a fixed default stands there behind a #.
        let begin = match line.strip_prefix("# ").and_then(|rest| rest.split_once(':')) {
            Some((key, _)) => format!("#{key} = "),
            None => line.split_inclusive(" = ").next().unwrap().to_owned(),
        };
        assert!(
            text.lines().any(|l| l.starts_with(&begin)),
            "full.toml has no line that begins with {begin:?}"
        );
    }
}

#[test]
fn the_full_example_has_every_key_of_every_kind_of_agent() {
    let place = Place::new();
    let text = std::fs::read_to_string(folder().join("full.toml")).unwrap();
    for kind in ["corpus", "calc", "planner", "openai"] {
        let table = text.split("[[agent]]").find(|t| t.contains(&format!("\nkind = \"{kind}\""))).unwrap();
        // The message about an unknown key lists those that are known.
        place.write("node.toml", &format!("[[agent]]\nkind = \"{kind}\"\nname = \"a\"\nzzzz = 1\n"));
        let output = place.run(&["--config", "node.toml", "config", "show"]);
        let said = String::from_utf8(output.stderr).unwrap();
        let known = said.split_once("known are ").unwrap_or_else(|| panic!("{said}")).1;
        for key in known.trim().split(", ") {
            let forms = [format!("\n{key} = "), format!("\n#{key} = "), format!("\n[[agent.{key}]]")];
            assert!(forms.iter().any(|f| table.contains(f)), "full.toml: {kind} has no {key}");
        }
    }
}
