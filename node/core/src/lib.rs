//! One NodeMachine: everything a node decides, with no IO, clock or threads
