//! Whether a node may still speak for jobs as a coordinator: not after its disk lost what others rely on.
//!
//! A replica that forgot a promise or a record votes against what it agreed to, and a record that counts may then be replaced
//! (`replica::model` in node-core shows how). Silent for ever it does no harm: it is one that is lost for good, which a
//! majority does without. A coordinator that never knew of another has promised nothing to anybody, and goes on with what it
//! still has.

use anyhow::{Result, bail};
use foa_node_core::journal::NodeRecord;
use foa_node_core::status::Role;

use crate::store::{LOST, Store, get_u64, put_u64};

/// The cell that is not 0 once this node knew of another coordinator. It is on the disk before anything is agreed with it.
const FELLOWS: &str = "replica.fellows";

/// This node knows of another coordinator from now on; durable after the next sync.
pub(super) fn has_fellows(store: &dyn Store) -> Result<(), crate::store::StoreError> {
    put_u64(store, FELLOWS, 1)
}

/// Takes the coordinator's role, and what it kept as one, from a node whose disk lost what others rely on.
///
/// # Errors
/// When it is nothing but a coordinator, or the disk refuses.
pub(super) fn review(
    store: &dyn Store,
    roles: Vec<Role>,
    mut journal: Vec<NodeRecord>,
) -> Result<(Vec<Role>, Vec<NodeRecord>)> {
    let knew =
        |record: &NodeRecord| matches!(record, NodeRecord::Enrolled { .. } | NodeRecord::Promised { .. });
    let fellows = get_u64(store, FELLOWS)? > 0 || journal.iter().any(knew);
    if get_u64(store, LOST)? == 0 || !fellows || !roles.contains(&Role::Coordinator) {
        return Ok((roles, journal));
    }
    let others: Vec<Role> = roles.into_iter().filter(|role| *role != Role::Coordinator).collect();
    let why = "the journal has lost records that other coordinators may rely on, so this node does not coordinate any more";
    let remedy = "to make it another coordinator, stop it and move journal and node.key away";
    if others.is_empty() {
        bail!("{why}; {remedy}");
    }
    tracing::error!("{why}: it goes on as a worker; {remedy}");
    journal.retain(|record| matches!(record, NodeRecord::Started { .. } | NodeRecord::Finished { .. }));
    Ok((others, journal))
}

#[cfg(test)]
mod tests {
    use foa_wire::{Term, Time, WorkId};

    use super::*;
    use crate::identity::Identity;
    use crate::store::MemoryStore;

    const BOTH: [Role; 2] = [Role::Coordinator, Role::Worker];

    fn journal() -> Vec<NodeRecord> {
        let job: foa_wire::JobId = "job-kept".parse().unwrap();
        let holder = Identity::generate("other".parse().unwrap()).unwrap().id().clone();
        let promised = NodeRecord::Promised { job: job.clone(), term: Term::first(holder) };
        vec![promised, NodeRecord::Started { work: WorkId::new(&job, 1), until: Time::ZERO }]
    }

    #[test]
    fn a_node_that_kept_everything_keeps_its_role() {
        let store = MemoryStore::default();
        has_fellows(&store).unwrap();
        let journal = journal();
        let (roles, kept) = review(&store, BOTH.to_vec(), journal.clone()).unwrap();
        assert_eq!((roles.as_slice(), kept), (&BOTH[..], journal));
    }

    #[test]
    fn one_that_lost_what_others_rely_on_is_a_worker_from_then_on() {
        let store = MemoryStore::default();
        put_u64(&store, LOST, 1).unwrap();
        let (roles, kept) = review(&store, BOTH.to_vec(), journal()).unwrap();
        assert_eq!(roles, [Role::Worker]);
        assert_eq!(kept, journal()[1..], "what it began stays begun");
        assert!(review(&store, vec![Role::Coordinator], journal()).is_err());
        has_fellows(&store).unwrap();
        let (roles, _) = review(&store, BOTH.to_vec(), Vec::new()).unwrap();
        assert_eq!(roles, [Role::Worker], "though nothing in the journal tells of the others any more");
    }

    #[test]
    fn one_that_was_always_alone_goes_on() {
        let store = MemoryStore::default();
        put_u64(&store, LOST, 1).unwrap();
        let (roles, _) = review(&store, BOTH.to_vec(), Vec::new()).unwrap();
        assert_eq!(roles, BOTH);
    }
}
