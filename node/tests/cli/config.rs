//! A configuration that is wrong says where, which key, what was wanted, and what is nearest.

use super::Place;

#[test]
fn a_wrong_configuration_names_file_line_and_key() {
    let cases = [
        ("misspelt key", "[node]\nname = \"a\"\nnamspace = \"x\"\n"),
        ("misspelt table", "[brokers]\nurl = \"mqtt://h\"\n"),
        ("far from anything", "[node]\nzzz = 1\n"),
        ("wrong kind", "[node]\naccept_unsigned = \"yes\"\n"),
        ("wrong list", "[node]\n\nroles = [1]\n"),
        ("impossible value", "[node]\nname = \"A B\"\n"),
        ("unknown role", "[node]\nroles = [\"boss\"]\n"),
        ("bad address", "[broker]\nurl = \"localhost\"\n"),
        ("secret in the address", "[broker]\nurl = \"mqtt://me:hunter2@host\"\n"),
        ("no toml", "[node\nname = 1\n"),
        ("unknown kind of agent", "[[agent]]\nkind = \"corpse\"\nname = \"a\"\n"),
        ("misspelt key of an agent", "[[agent]]\nkind = \"corpus\"\nname = \"a\"\npaht = \"docs\"\n"),
        ("wrong value of an agent", "[[agent]]\nkind = \"calc\"\nname = \"a\"\nconcurrency = \"many\"\n"),
        ("agent without a kind", "[[agent]]\nname = \"a\"\n"),
        (
            "two agents of one name",
            "[[agent]]\nkind = \"calc\"\nname = \"a\"\n\n[[agent]]\nkind = \"planner\"\nname = \"a\"\n",
        ),
        ("no such password file", "[broker]\nusername = \"me\"\npassword_file = \"none.txt\"\n"),
    ];
    let place = Place::new();
    let mut all = String::new();
    for (name, text) in cases {
        place.write("node.toml", text);
        all.push_str(&format!("# {name}\n{}\n", place.shown(&["--config", "node.toml", "config", "show"])));
    }
    assert!(!all.contains("hunter2"), "a password was repeated");
    insta::assert_snapshot!(all);
}

#[test]
fn the_last_word_is_in_force_and_everyone_is_named() {
    let place = Place::new();
    place.write("secret.txt", "hunter2\n");
    place.write(
        "node.toml",
        "[node]\nname = \"atlas\"\nroles = [\"worker\"]\ndata_dir = \"data\"\n\n[broker]\nusername = \"me\"\npassword_file = \"secret.txt\"\n\n[[agent]]\nkind = \"calc\"\nname = \"calc\"\n",
    );
    let mut command = place.command(&[
        "--config",
        "node.toml",
        "--broker",
        "mqtt://127.0.0.1:2883",
        "config",
        "show",
        "--origin",
    ]);
    command.env("FOA_NAMESPACE", "lab/one").env("FOA_ROLES", "coordinator,worker");
    let shown = place.tidy(&command.output().unwrap());
    assert!(!shown.contains("hunter2"), "a secret was shown");
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_shown_is_a_configuration_again() {
    let place = Place::new();
    let first = place.run(&["config", "show"]);
    place.write("again.toml", std::str::from_utf8(&first.stdout).unwrap());
    let second = place.run(&["--config", "again.toml", "config", "show"]);
    let settings = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(settings(&first.stdout), settings(&second.stdout));
    assert!(settings(&first.stdout).iter().any(|l| l == "namespace = \"foa\""));
}

#[test]
fn a_variable_that_looks_misspelt_is_a_warning() {
    let place = Place::new();
    let mut command = place.command(&["config", "show"]);
    command.env("FOA_BROKER_ULR", "mqtt://h").env("FOA_SERVICE_HOST", "10.0.0.1");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "warning: environment: FOA_BROKER_ULR means nothing; did you mean FOA_BROKER_URL?\n");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let place = Place::new();
    insta::assert_snapshot!(place.shown(&["--config", "absent.toml", "config", "show"]), @r#"
    exit 2
    --- stderr
    error: cannot read the configuration absent.toml: No such file or directory (os error 2)
    "#);
}
