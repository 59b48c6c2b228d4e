//! What happens to a job: decomposition by consensus, assignment, clusters on a blackboard, synthesis.
//!
//! Everything here is a pure machine: it is fed inputs and a time, and gives back commands. It does not know MQTT,
//! files, clocks or models, nor the index of agents: it *asks* for a route and is given one, it *asks* an agent and is
//! given an answer.
//!
//! Start reading at [`engine`], the machine of one job. What it keeps is in [`journal`]; what it asks of agents in
//! [`work`]; the method, step by step, in [`decompose`], [`assign`], [`cluster`] and [`synthesis`].

pub mod assign;
pub mod budget;
pub mod cluster;
pub mod decision;
pub mod decompose;
pub mod engine;
pub mod given;
pub mod grounds;
pub mod job;
pub mod journal;
pub mod plan;
pub mod replay;
pub mod request;
pub mod result;
pub mod settings;
pub mod synthesis;
pub mod work;

pub use given::GivenPlan;
pub use job::{Control, JobSubmission};
pub use journal::{Record, Step};
pub use plan::{Plan, Subtask};
pub use replay::Replay;
pub use result::JobResult;
pub use settings::Settings;
