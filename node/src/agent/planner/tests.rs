use super::*;

fn plan(task: &str, grain: Grain) -> String {
    let (subtasks, edges) = propose(task, ProposeLimits { min: 1, max: 6 }, grain);
    let mut lines: Vec<String> = subtasks
        .iter()
        .map(|s| {
            let before: Vec<&str> = edges
                .iter()
                .filter(|[_, after]| *after == s.key)
                .map(|[before, _]| before.as_str())
                .collect();
            let mark = if s.skills.contains(CALCULATION) { " [calc]" } else { "" };
            let arrow = if before.is_empty() { String::new() } else { format!(" <- {}", before.join(" ")) };
            format!("{}{mark}{arrow}", s.description)
        })
        .collect();
    lines.push(String::new());
    lines.join("\n")
}

const TASKS: &[&str] = &[
    "How large may an agent card be?",
    "What is the difference between the envelope limit and the card limit, in bytes?",
    "What are the card limit, the envelope limit and the packet limit?",
    "How large may an envelope be and how large may a card be? Calculate their difference in bytes.",
    "Compare sled with redb in terms of space",
    "How much larger is an envelope than an agent card?",
    "Find the card limit, then convert it to bytes",
    "What is a capability vector and how is it stored?",
    "Who holds a job, and what does it do when a coordinator is silent?",
    "Find the following:\n1. the card limit\n2. the envelope limit\n3. the keep-alive rule\nFinally summarise all of them.",
    "1) What is a term? 2) What is an index? 3) How are both ordered?",
    "Explain \"first draft, then revise and publish\" in one sentence",
    "Run `a and b; then c` and explain what it prints",
    "Calculate 256 KiB - 224 KiB in bytes",
    "What is 15% of 80?",
    "How many days between 2024-02-28 and 2024-03-01?",
    "Look up the round trip with nodelay off and the round trip with nodelay on, and calculate the ratio of the first to the second",
    "Which store is fastest, and how many writes did it acknowledge?",
    "Book a flight to Berlin, after that reserve a hotel and finally send me the itinerary",
    "Summarise the protocol. Then list its open questions.",
    "- price of a card\n- price of an envelope\n\nAdd them up.",
    "Is Mosquitto faster than rumqttd?",
    "Which is larger, a card or an envelope?",
    "How many times does the card limit fit into the envelope limit?",
    "What percentage of the envelope limit is the card limit?",
    "Subtract the card limit from the envelope limit",
    "What does a coordinator do when the first one is silent?",
    "Explain how search and ranking work together",
    "What is the difference between the envelope and card limits?",
    "Read the report (pages 1, 2 and 3), extract the totals and compute the average of the totals",
    "Please find out who maintains rumqttc and when version 0.25 was released; then draft a short note.",
    "How large may an agent card be, and how large may an envelope be? Then calculate the difference between the two in bytes.",
    "Hello",
];

#[test]
fn real_tasks_break_down_as_a_reader_would() {
    let mut page = String::new();
    for task in TASKS {
        let (fine, coarse) = (plan(task, Grain::Fine), plan(task, Grain::Coarse));
        page.push_str(&format!("## {task}\n{fine}"));
        if coarse != fine {
            page.push_str(&format!("-- coarse\n{coarse}"));
        }
    }
    insta::assert_snapshot!(page);
}

#[test]
fn every_proposal_is_a_plan_within_its_limit_and_its_own_planner_accepts_it() {
    for task in TASKS {
        for (grain, max) in [(Grain::Fine, 1), (Grain::Fine, 2), (Grain::Fine, 4), (Grain::Coarse, 3)] {
            let (subtasks, edges) = propose(task, ProposeLimits { min: 1, max }, grain);
            assert!((1..=max).contains(&subtasks.len()), "{task}: {}", subtasks.len());
            let subtasks = subtasks.into_iter().map(|s| foa_workflows::Subtask {
                key: s.key,
                description: s.description,
                ..foa_workflows::Plan::solo(task).subtasks()[0].clone()
            });
            let plan = foa_workflows::Plan::new(subtasks.collect(), &edges).unwrap();
            assert_eq!(judge(task, &plan), Ok(()), "{task} at {max}");
        }
    }
}

#[test]
fn a_plan_that_misses_the_task_is_rejected_with_what_it_misses() {
    let task = "What is the difference between the envelope limit and the card limit?";
    let rejected = |subtasks: &[(&str, &str)], edges: &[[String; 2]]| {
        let subtasks = subtasks.iter().map(|(key, text)| foa_workflows::Subtask {
            key: (*key).to_owned(),
            ..foa_workflows::Plan::solo(text).subtasks()[0].clone()
        });
        judge(task, &foa_workflows::Plan::new(subtasks.collect(), edges).unwrap()).unwrap_err()
    };
    assert!(rejected(&[("s1", "What is the weather in Berlin?")], &[]).contains("envelop"));
    assert!(rejected(&[("s1", "What is it?"), ("s2", task)], &[]).contains("s1 asks for nothing"));
    assert!(rejected(&[("s1", task), ("s2", task)], &[]).contains("ask the same"));
}
