//! Every process of a federation is told to stop in turn and started again, with jobs under way: nobody notices.
//!
//! `FOA_PREVIOUS=/path/to/foa` begins with that binary and ends with ours: an upgrade, with both versions in one federation
//! on the way. `deploy/test-upgrade.sh` builds the other version.

use std::path::{Path, PathBuf};

use crate::broker::Kind;
use crate::federation::PATIENCE;
use crate::game::{COORDINATORS, Game, WORKERS};
use crate::process::Process;
use crate::program::{command_of, foa, say};
use crate::scribes::Scribes;

/// Jobs that end between one process and the next: the federation works in every mixture.
const BETWEEN: usize = 3;

/// The binary to begin with, and whether it knows agents that write.
fn previous() -> (PathBuf, bool) {
    let Some(binary) = std::env::var_os("FOA_PREVIOUS").map(PathBuf::from) else {
        return (foa().to_owned(), true);
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.toml");
    std::fs::write(&file, Scribes::new().agents()).unwrap();
    let mut shows = command_of(&binary, &["config", "show", "--config"]);
    let ended = Process::start("the previous foa", shows.arg(&file)).end(PATIENCE);
    (binary, ended.code == Some(0))
}

fn version(binary: &Path) -> String {
    Process::start("foa", &mut command_of(binary, &["--version"])).end(PATIENCE).stdout.trim().to_owned()
}

#[test]
fn a_rolling_restart_of_everybody_fails_no_job() {
    let Some(mut game) = Game::new(Kind::Embedded, "rolling") else { return };
    let (before, writers) = previous();
    let agents = if writers { Scribes::agents } else { Scribes::readers };
    game.begin(agents, |federation, name| federation.again_as(&before, name));
    for name in WORKERS.into_iter().chain(COORDINATORS) {
        let ended = game.ended();
        assert!(game.play(2 * PATIENCE, |game| game.ended() >= ended + BETWEEN), "no job ends any more");
        let node = game.federation.take(name);
        node.signal("TERM");
        assert!(game.play(2 * PATIENCE, |_| node.closed()), "{name}: wanted it to stop");
        let stopped = node.end(PATIENCE);
        assert_eq!(stopped.code, Some(0), "{stopped:#?}");
        game.federation.again(name);
        let up = game.play(2 * PATIENCE, |game| game.federation.node(name).said("is ready"));
        assert!(up, "{name}: wanted it to be ready");
    }
    let outcome = game.settle();
    say(&format!(
        "rolling restart of 6 processes, {} to {}: jobs {} {:?}, writes {}, highest term {}, doubled {}, slowest {:.1?}",
        version(&before),
        version(foa()),
        outcome.jobs,
        outcome.statuses,
        outcome.writes,
        outcome.highest_term,
        outcome.doubled.len(),
        outcome.slowest,
    ));
    assert!(outcome.doubled.is_empty(), "{outcome:#?}");
    assert_eq!(outcome.statuses.get("completed"), Some(&outcome.jobs), "no job may fail: {outcome:#?}");
    game.agree();
}
