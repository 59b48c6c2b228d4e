//! `foa doctor --store`: every frame of the journal, and a repair for whoever asks for it.

use std::path::Path;
use std::process::ExitCode;

use super::terminal;
use crate::exit::Failure;
use crate::render::Style;
use crate::store::{self, Inspection, Repair, SegmentStore, StoreError};

pub(super) fn run(journal: &Path, repair: bool, json: bool) -> Result<ExitCode, Failure> {
    let seen = store::inspect(journal).map_err(failed)?;
    let Some(seen) = seen else {
        let failure = anyhow::anyhow!("wanted a store in {}, found none", journal.display());
        return Err(Failure::broken(failure)
            .hint("a node makes it on its first start; --config or FOA_DATA_DIR names another node's"));
    };
    let repaired = match (&seen.broken, repair) {
        (Some(_), true) => Some(SegmentStore::open(journal).map_err(failed)?.repaired()),
        (Some(_) | None, _) => None,
    };
    if json {
        terminal::print_json(&as_json(journal, &seen, repaired));
    } else {
        terminal::print(&text(journal, &seen, repaired, terminal::stdout_style()));
    }
    Ok(if seen.broken.is_some() && repaired.is_none() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn failed(error: StoreError) -> Failure {
    let hint = match &error {
        StoreError::Locked { .. } => Some("stop the node first, then look again".to_owned()),
        other => other.hint(),
    };
    Failure::broken(error).maybe_hint(hint)
}

fn text(journal: &Path, seen: &Inspection, repaired: Option<Repair>, style: Style) -> String {
    let mut out = format!(
        "{} records     {} whole ones in {} streams, the last is number {}\n",
        style.green("ok   "),
        seen.records,
        seen.streams,
        seen.last
    );
    out.push_str(&format!(
        "{} disk        {} in {} files; {} of it is wanted, the rest is forgotten or written ahead\n",
        style.green("ok   "),
        bytes(seen.bytes),
        seen.segments,
        bytes(seen.live),
    ));
    out.push_str(&format!(
        "{} beside it   {} of cells in {}\n",
        style.green("ok   "),
        bytes(seen.cells),
        journal.display()
    ));
    if seen.aside > 0 {
        out.push_str(&format!(
            "{} aside       {} in {} files that earlier repairs cut off\n      → look at {}, then remove it\n",
            style.yellow("warn "),
            bytes(seen.aside_bytes),
            seen.aside,
            journal.join("log/aside").display()
        ));
    }
    let Some(broken) = &seen.broken else { return out };
    let place = format!("{} at byte {}: {}", broken.path.display(), broken.at, broken.why);
    match repaired {
        None => out.push_str(&format!(
            "{} end         {place}\n      a repair cuts {} from number {} on, and keeps it aside\n      → foa doctor --store --repair\n",
            style.red("fail "),
            cut(broken.repair),
            broken.repair.from
        )),
        Some(repair) => out.push_str(&format!(
            "{} end         {place}\n      repaired: {} from number {} on are cut off and kept in {}\n",
            style.yellow("warn "),
            cut(repair),
            repair.from,
            journal.join("log/aside").display()
        )),
    }
    out
}

fn cut(repair: Repair) -> String {
    format!("{} records ({} of them whole, {})", repair.records, repair.whole, bytes(repair.bytes))
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..10_000_000 => format!("{} KB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

fn as_json(journal: &Path, seen: &Inspection, repaired: Option<Repair>) -> serde_json::Value {
    let repair = |r: &Repair| serde_json::json!({ "from": r.from, "records": r.records, "whole": r.whole, "bytes": r.bytes });
    serde_json::json!({
        "path": journal,
        "records": seen.records,
        "streams": seen.streams,
        "last": seen.last,
        "segments": seen.segments,
        "bytes": seen.bytes,
        "live": seen.live,
        "dead": seen.dead(),
        "cells": seen.cells,
        "aside": { "files": seen.aside, "bytes": seen.aside_bytes },
        "broken": seen.broken.as_ref().map(|b| serde_json::json!({
            "path": b.path, "at": b.at, "why": b.why, "repair": repair(&b.repair),
        })),
        "repaired": repaired.as_ref().map(repair),
    })
}
