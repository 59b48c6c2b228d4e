//! A subtask has at most as many agents as a team may have, none of them twice.

use std::collections::BTreeSet;

use foa_workflows::journal::Step;

use super::Seen;

pub(super) fn check(seen: Seen<'_>) -> Result<(), String> {
    let Seen::Step { log, .. } = seen else { return Ok(()) };
    let (Some(first), Some(last)) = (log.first(), log.last()) else { return Ok(()) };
    let Step::Accepted { settings, .. } = &first.step else { return Ok(()) };
    let teams: Vec<(&String, &Vec<_>)> = match &last.step {
        Step::Assigned { teams, .. } => teams.iter().collect(),
        Step::Reassigned { subtask, team } => vec![(subtask, team)],
        _ => return Ok(()),
    };
    for (subtask, team) in teams {
        let agents: BTreeSet<_> = team.iter().map(|scored| &scored.agent).collect();
        if team.is_empty() || team.len() > settings.team || agents.len() != team.len() {
            return Err(format!(
                "{}: {subtask} has a team of {}, {} named",
                first.job,
                team.len(),
                agents.len()
            ));
        }
    }
    Ok(())
}
