//! When it had the time to heal, every coordinator knows every agent's newest card, and who is there.

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
                match directory.get(&agent) {
                    Some(entry) if entry.card().order().0 == node.boot || !there => {}
                    Some(entry) => {
                        let known = entry.card().order();
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
    let mut digests = world
        .nodes()
        .filter_map(|node| Some((node.identity.id(), node.machine.as_ref()?.directory()?.digest())));
    let Some((first, digest)) = digests.next() else { return Ok(()) };
    match digests.find(|(_, other)| *other != digest) {
        Some((other, _)) => Err(format!("{first} and {other} hold different cards")),
        None => Ok(()),
    }
}
