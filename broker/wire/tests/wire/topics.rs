//! Topics and ids, as text and back.

use foa_wire::{AgentId, ClusterId, Filter, JobId, MessageId, NodeName, WorkId};
use proptest::prelude::*;

use super::*;

/// One of each topic, for one node, agent, job and cluster.
fn every_topic(agent: &AgentId, job: &JobId, cluster: &ClusterId) -> Vec<Topic> {
    let node = agent.node().clone();
    vec![
        Topic::Jobs,
        Topic::JobEvents(job.clone()),
        Topic::JobProgress(job.clone()),
        Topic::JobControl(job.clone()),
        Topic::Result(job.clone()),
        Topic::Tasks(agent.clone()),
        Topic::Inbox(node.clone()),
        Topic::Channel(cluster.clone()),
        Topic::Calls,
        Topic::Card(agent.clone()),
        Topic::CardUpdates(node.clone()),
        Topic::Status(node),
        Topic::Enforcement,
    ]
}

fn one_of_each() -> Vec<Topic> {
    let agent = AgentId::new("calc".parse().unwrap(), atlas());
    every_topic(&agent, &"job-00000001".parse().unwrap(), &"job-00000001.s1.1".parse().unwrap())
}

/// What a broker does: levels compared one by one, `+` takes one, `#` takes the rest.
fn broker_matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
}

#[test]
fn topics_have_the_names_of_the_protocol() {
    let names: Vec<String> = one_of_each().iter().map(|topic| topic.under(&fed())).collect();
    let a = atlas();
    let wanted = [
        "foa/orchestrator/jobs".to_owned(),
        "foa/jobs/job-00000001/events".to_owned(),
        "foa/jobs/job-00000001/progress".to_owned(),
        "foa/jobs/job-00000001/control".to_owned(),
        "foa/result/job-00000001".to_owned(),
        format!("foa/agents/{a}/calc/tasks"),
        format!("foa/nodes/{a}/inbox"),
        "foa/clusters/job-00000001.s1.1/channel".to_owned(),
        "foa/board/calls".to_owned(),
        format!("foa/capabilities/{a}/calc"),
        format!("foa/capability-updates/{a}"),
        format!("foa/nodes/{a}/status"),
        "foa/policies/enforcement".to_owned(),
    ];
    assert_eq!(names, wanted);
}

#[test]
fn a_filter_takes_what_the_broker_would_deliver_to_it() {
    let mut filters = vec![
        Filter::TasksOf(atlas()),
        Filter::Cards,
        Filter::CardUpdates,
        Filter::Statuses,
        Filter::Controls,
        Filter::AllJobEvents,
        Filter::Results,
        Filter::Everything,
    ];
    let topics = one_of_each();
    filters.extend(topics.iter().cloned().map(Filter::One));
    for namespace in ["foa", "site/a/foa"] {
        let namespace: Namespace = namespace.parse().unwrap();
        for filter in &filters {
            for topic in &topics {
                let broker = broker_matches(&filter.under(&namespace), &topic.under(&namespace));
                assert_eq!(filter.matches(topic), broker, "{filter:?} and {topic:?}");
            }
            assert!(topics.iter().any(|topic| filter.matches(topic)), "{filter:?} takes nothing");
        }
    }
}

#[test]
fn what_is_no_topic_of_ours_is_refused() {
    let a = atlas();
    for text in [
        "".to_owned(),
        "foa".to_owned(),
        "foa/".to_owned(),
        "orchestrator/jobs".to_owned(),
        "foax/orchestrator/jobs".to_owned(),
        "foa/orchestrator/jobs/".to_owned(),
        "/foa/orchestrator/jobs".to_owned(),
        "foa/jobs/short/events".to_owned(),
        "foa/jobs/job-00000001/log".to_owned(),
        "foa/nodes/atlas/inbox".to_owned(),
        format!("foa/agents/{a}/+/tasks"),
        format!("foa/agents/calc/{a}/tasks"),
        "foa/#".to_owned(),
        "$SYS/broker/uptime".to_owned(),
    ] {
        assert!(Topic::parse(&fed(), &text).is_err(), "{text:?} was read");
    }
    // One federation's prefix may be the beginning of another's name.
    let inner: Namespace = "foa/inner".parse().unwrap();
    assert!(Topic::parse(&fed(), &Topic::Jobs.under(&inner)).is_err());
    assert_eq!(Topic::parse(&inner, &Topic::Jobs.under(&inner)), Ok(Topic::Jobs));
}

#[test]
fn a_namespace_cannot_reach_outside_itself() {
    for text in ["foa", "a/b/c", "A_b-c.d/1", &"x".repeat(128)] {
        assert!(text.parse::<Namespace>().is_ok(), "{text:?} was refused");
    }
    for text in ["", "/", "a/", "/a", "a//b", "#", "a/+", "$share/g/a", "a b", "ä", &"x".repeat(129)] {
        assert!(text.parse::<Namespace>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn bad_ids_are_refused() {
    fn refused<T: std::str::FromStr>(cases: &[&str]) {
        for text in cases {
            assert!(text.parse::<T>().is_err(), "{text:?} was read as {}", std::any::type_name::<T>());
        }
    }
    let long = "x".repeat(129);
    refused::<NodeName>(&["", "Atlas", "a.b", "a/b", "a_b", &long[..33]]);
    refused::<JobId>(&["", "1234567", "a b c d e", "job/12345", "job+12345", "job.12345", &long[..65]]);
    refused::<MessageId>(&["short", "12345678\n", &long[..65]]);
    refused::<WorkId>(&["job-00000001", "job-00000001.", "job-00000001.01", "job-00000001.-1", "short.1"]);
    refused::<WorkId>(&["job-00000001.4294967296", "job-00000001.+1", "job-00000001.1.1"]);
    refused::<ClusterId>(&["a", "job-0001..1", ".job-00001", "job-0001/1", &long]);
    let (good, upper) = (atlas().to_string(), atlas().to_string().to_uppercase());
    refused::<NodeId>(&["atlas", "atlas.", "atlas.short", &upper, &format!("{good}a"), &format!(".{good}")]);
    refused::<NodeId>(&["atlas.abcdefghij234561", "atlas.abcdefghij23456/"]);
    refused::<AgentId>(&[
        "calc",
        &good,
        &format!("@{good}"),
        &format!("a@b@{good}"),
        &format!("Calc@{good}"),
    ]);
    assert!(serde_json::from_str::<JobId>("\"bad id\"").is_err(), "an id is checked when it is deserialised");
}

proptest! {
    #[test]
    fn every_topic_reads_back(
        seed in any::<[u8; 32]>(),
        name in "[a-z0-9-]{1,32}",
        agent in "[a-z0-9-]{1,32}",
        job in "[A-Za-z0-9_-]{8,64}",
        cluster in "[A-Za-z0-9_-]{8,32}\\.[A-Za-z0-9_-]{1,16}\\.[0-9]{1,4}",
        namespace in "[A-Za-z0-9_.-]{1,12}(/[A-Za-z0-9_.-]{1,12}){0,3}",
    ) {
        let node = NodeId::new(name.parse().unwrap(), &NodeKey::from_seed(seed).public());
        let agent = AgentId::new(agent.parse().unwrap(), node);
        let namespace: Namespace = namespace.parse().unwrap();
        for topic in every_topic(&agent, &job.parse().unwrap(), &cluster.parse().unwrap()) {
            let text = topic.under(&namespace);
            prop_assert_eq!(Topic::parse(&namespace, &text), Ok(topic.clone()));
            prop_assert!(Filter::Everything.matches(&topic) && Filter::One(topic.clone()).matches(&topic));
        }
        prop_assert_eq!(agent.to_string().parse::<AgentId>().unwrap(), agent);
    }

    #[test]
    fn a_text_that_reads_as_a_topic_prints_as_itself(text in "[a-z0-9./+#$-]{0,60}") {
        if let Ok(topic) = Topic::parse(&fed(), &text) {
            prop_assert_eq!(topic.under(&fed()), text);
        }
    }
}
