//! Any bytes on any class of topic: refused by name or read, never a panic, and what is read is canonical JSON.
#![no_main]

use foa_wire::envelope::{open, open_bare};
use foa_wire::{Namespace, Time, Topic, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let fed = Namespace::default();
    for topic in [Topic::Jobs, Topic::Enforcement] {
        let _ = open(&fed, &topic, bytes, Time::from_millis(1_769_851_800_250));
    }
    let _ = open_bare(bytes);
    if let Ok(value) = codec::parse(bytes) {
        let text = codec::canonical(&value);
        let again = codec::parse(&text).expect("canonical JSON is JSON");
        assert_eq!(codec::canonical(&again), text);
    }
});
