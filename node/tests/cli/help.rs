//! What every command says about itself.

use super::Place;

#[test]
fn every_command_explains_itself_with_an_example() {
    let place = Place::new();
    let commands: &[&[&str]] = &[
        &[],
        &["demo"],
        &["broker"],
        &["node"],
        &["submit"],
        &["jobs"],
        &["jobs", "watch"],
        &["agents"],
        &["agents", "import"],
        &["nodes"],
        &["route"],
        &["replay"],
        &["model"],
        &["config", "show"],
        &["doctor"],
        &["bench", "jobs"],
        &["bench", "store"],
        &["eval", "routing"],
        &["completions"],
    ];
    let mut all = String::new();
    for command in commands {
        let mut args = command.to_vec();
        args.push("--help");
        let output = place.run(&args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(command.len() == 2 || text.contains("Example:"), "{args:?} has no example");
        all.push_str(&format!("$ foa {}\n{text}\n", args.join(" ")));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn the_version_is_the_packages() {
    let output = Place::new().run(&["--version"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("foa {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::new();
    for args in
        [&["fly"][..], &["submit"], &["submit", "x", "--budget", "lots"], &["jobs", "show", "a b"], &[]]
    {
        assert_eq!(place.run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_shell_gets_its_completions() {
    let output = Place::new().run(&["completions", "bash"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("foa__subcmd__submit"));
}
