//! When it had the time to heal, every coordinator knows every agent's newest card, and who is there; and where cards are
//! shared out, as many coordinators as should keep each of them.

use crate::sim::World;

pub(super) fn check(world: &World) -> Result<(), String> {
    for holder in world.nodes() {
        let Some(directory) = holder.machine.as_ref().and_then(|machine| machine.directory()) else {
            continue;
        };
        let me = holder.identity.id();
        for node in world.nodes() {
            let id = node.identity.id();
            let there = node.machine.is_some();
            if directory.is_online(id) != there {
                return Err(format!("{me} thinks that {id} is {}", if there { "gone" } else { "there" }));
            }
            for name in node.agents.keys() {
                let agent = foa_wire::AgentId::new(name.clone(), id.clone());
                match directory.order_of(&agent) {
                    Some((boot, _)) if boot == node.boot || !there => {}
                    Some(known) => {
                        return Err(format!(
                            "{me} knows {agent} as of {known:?}, not of start {}",
                            node.boot
                        ));
                    }
                    None => return Err(format!("{me} does not know {agent}")),
                }
            }
        }
    }
    every_card_is_kept(world)?;
    let mut digests = world
        .nodes()
        .filter_map(|node| Some((node.identity.id(), node.machine.as_ref()?.directory()?.digest())));
    let Some((first, digest)) = digests.next() else { return Ok(()) };
    match digests.find(|(_, other)| *other != digest) {
        Some((other, _)) => Err(format!("{first} and {other} hold different cards")),
        None => Ok(()),
    }
}

fn every_card_is_kept(world: &World) -> Result<(), String> {
    let directories: Vec<_> = world.nodes().filter_map(|node| node.machine.as_ref()?.directory()).collect();
    let sharded = directories.iter().filter_map(|directory| directory.shards());
    let Some(replicas) = sharded.map(|(map, _)| map.replicas()).max() else { return Ok(()) };
    for node in world.nodes().filter(|node| node.machine.is_some()) {
        for name in node.agents.keys() {
            let agent = foa_wire::AgentId::new(name.clone(), node.identity.id().clone());
            let keepers = directories.iter().filter(|directory| directory.get(&agent).is_some()).count();
            if keepers < replicas.min(directories.len()) {
                return Err(format!("the card of {agent} is kept by {keepers}, wanted {replicas}"));
            }
        }
    }
    Ok(())
}
