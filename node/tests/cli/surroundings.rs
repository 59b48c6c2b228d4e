//! What is said when the surroundings are not as they should be.

use std::net::TcpListener;

use super::Place;

/// An address where nobody listens.
fn nobody() -> String {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("mqtt://{}", reserved.local_addr().unwrap())
}

#[test]
fn without_a_broker_every_command_says_how_to_get_one() {
    let place = Place::new();
    let url = nobody();
    let commands: &[&[&str]] =
        &[&["submit", "x"], &["jobs", "list"], &["agents"], &["nodes"], &["route", "x"]];
    for command in commands {
        let mut args = vec!["--broker", url.as_str()];
        args.extend(*command);
        let output = place.run(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with(&format!("error: wanted a broker at {url}, found none")), "{said}");
        assert!(said.contains("hint: start one with `foa broker`"), "{said}");
        assert!(output.stdout.is_empty(), "stdout is for answers");
    }
}

#[test]
fn the_doctor_names_what_is_missing_and_what_to_type() {
    let place = Place::new();
    let output = place.run(&["--broker", &nobody(), "doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = |about: &str| {
        let found = findings.iter().find(|f| f["about"] == about);
        found.map(|f| f["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(verdict("config").as_deref(), Some("ok"));
    assert_eq!(verdict("disk").as_deref(), Some("ok"));
    assert_eq!(verdict("broker").as_deref(), Some("fail"));
    let broker = findings.iter().find(|f| f["about"] == "broker").unwrap();
    assert!(broker["next"].as_str().unwrap().contains("foa broker"));
    assert!(!place.path().join(".config").exists(), "looking leaves nothing behind");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let url = nobody();
    place.write("client.key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    let path = place.path().join("client.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = place.command(&["--broker", &url, "nodes"]);
    let output = command.env("FOA_CLIENT_KEY_FILE", &path).output().unwrap();
    let shown = place.tidy(&output);
    insta::assert_snapshot!(shown, @r#"
    exit 2
    --- stderr
    error: wanted [place]/client.key readable by its owner alone, found mode 644
    hint: chmod 600 [place]/client.key; if someone else may have read it, move it away: a new key is made on the next start
    "#);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut child = super::Guarded::start(&mut place.command(&["completions", "zsh"]));
    drop(child.0.stdout.take());
    let status = child.0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}
