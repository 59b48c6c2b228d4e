//! Other libraries over the same vectors, through a small Python script, where Python has them.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use foa_capability::Vector;

use super::search::{Measured, Truth, WANTED};
use super::workload::{DIMENSION, Workload};

const SCRIPT: &str = include_str!("peers.py");

/// hnswlib and usearch over these agents, as far as this Python has them; it says on stderr what it has not.
pub(super) fn measure(
    python: &str,
    workload: &Workload,
    agents: usize,
    truth: &Truth,
    sights: &[usize],
) -> anyhow::Result<Vec<Measured>> {
    let place = tempfile::tempdir().context("wanted a directory for the vectors")?;
    let received = (0..agents).map(|agent| {
        Vector::try_from(&workload.vector(agent, 0).quantise()).expect("what we made is of length 1")
    });
    floats(&place.path().join("vectors.f32"), received)?;
    floats(&place.path().join("tasks.f32"), truth.tasks.iter().cloned())?;
    let nearest: Vec<u8> = truth.nearest.iter().flatten().flat_map(|agent| agent.to_le_bytes()).collect();
    std::fs::write(place.path().join("nearest.u32"), nearest).context("wanted room for the answers")?;
    let sights: Vec<String> = sights.iter().map(ToString::to_string).collect();
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(place.path())
        .args([DIMENSION.to_string(), WANTED.to_string(), sights.join(",")])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("wanted to run {python}"))?;
    anyhow::ensure!(output.status.success(), "wanted {python} to finish, it said {}", output.status);
    serde_json::from_slice(&output.stdout).context("wanted a list of measurements from the script")
}

fn floats(path: &Path, vectors: impl Iterator<Item = Vector>) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).context("wanted room for the vectors")?;
    let mut out = BufWriter::new(file);
    for vector in vectors {
        for x in vector.as_slice() {
            out.write_all(&x.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}
