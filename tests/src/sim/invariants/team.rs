//! A subtask has at most as many agents as a team may have, none of them twice.

use std::collections::BTreeSet;

use foa_workflows::Record;
use foa_workflows::journal::{Scored, Step};

/// How many a team may have.
#[derive(Debug, Default)]
pub(super) struct Limit {
    agents: usize,
}

impl Limit {
    pub(super) fn step(&mut self, record: &Record) -> Result<(), String> {
        let teams: Vec<(&String, &Vec<Scored>)> = match &record.step {
            Step::Accepted { settings, .. } => {
                self.agents = settings.team;
                return Ok(());
            }
            Step::Assigned { teams, .. } => teams.iter().collect(),
            Step::Reassigned { subtask, team, .. } => vec![(subtask, team)],
            _ => return Ok(()),
        };
        for (subtask, team) in teams {
            let agents: BTreeSet<_> = team.iter().map(|scored| &scored.agent).collect();
            if team.is_empty() || team.len() > self.agents || agents.len() != team.len() {
                let (found, named) = (team.len(), agents.len());
                return Err(format!("{}: {subtask} has a team of {found}, {named} named", record.job));
            }
        }
        Ok(())
    }
}
