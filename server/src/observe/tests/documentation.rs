//! `docs/metrics.md` describes exactly what is exposed.

use std::collections::BTreeMap;

use super::super::histogram::EDGES;
use super::super::{CATALOGUE, MetricKind};
use super::text::Exposition;
use lifeboat_core::reason::{StopReason, TimeoutWhich};

use super::*;

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// The first paragraph under each metric's heading.
fn documented() -> BTreeMap<&'static str, String> {
    let sections = PAGE.split("\n### `").skip(1);
    sections
        .map(|section| {
            let (name, text) = section.split_once('`').expect("a closed heading");
            let first = text.trim().split("\n\n").next().unwrap_or_default();
            (name, first.replace('\n', " "))
        })
        .collect()
}

#[test]
fn the_page_and_the_catalogue_agree() {
    let mut pages = documented();
    for metric in CATALOGUE {
        let text =
            pages.remove(metric.name).unwrap_or_else(|| panic!("docs/metrics.md lacks {}", metric.name));
        let labels = match metric.labels {
            [] => "no labels".to_owned(),
            labels => labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        };
        let expected = format!("{}; {labels}; unit: ", metric.kind.label());
        assert!(text.starts_with(&expected), "{}: expected {expected:?}, found {text:?}", metric.name);
    }
    assert!(pages.is_empty(), "docs/metrics.md describes metrics that are not exposed: {pages:?}");
}

#[test]
fn every_section_says_when_it_moves_and_what_to_do() {
    for section in PAGE.split("\n### `").skip(1) {
        assert!(section.contains("Moves ") || section.contains("Shows "), "{section}");
        assert!(section.contains("What to do: "), "{section}");
    }
}

#[test]
fn the_catalogue_and_the_exposition_agree() {
    let text = observer().snapshot(&view()).to_text().expect("text");
    let exposed = Exposition::parse(&text).kinds;
    let catalogue: BTreeMap<String, String> =
        CATALOGUE.iter().map(|metric| (metric.name.to_owned(), metric.kind.label().to_owned())).collect();
    assert_eq!(exposed, catalogue);
}

#[test]
fn names_keep_the_conventions() {
    for metric in CATALOGUE {
        let is_counter = metric.kind == MetricKind::Counter;
        assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
        let is_histogram = metric.kind == MetricKind::Histogram;
        assert!(!is_histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
        assert!(
            metric.name.starts_with("lifeboat_") || metric.name.starts_with("process_"),
            "{}",
            metric.name
        );
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn the_page_lists_every_value_of_every_closed_label_and_every_edge() {
    let mut values: Vec<&str> = CrashReason::LABELS.to_vec();
    values.extend(OutcomeKind::ALL.map(OutcomeKind::label));
    values.extend(AttemptEnd::ALL.map(AttemptEnd::label));
    values.extend(RejectWhy::ALL.map(RejectWhy::label));
    values.extend(StopReason::ALL.map(StopReason::label));
    values.extend(TimeoutWhich::ALL.map(TimeoutWhich::label));
    values.extend(WorkerState::ALL.map(WorkerState::label));
    values.extend(SlotState::ALL.map(SlotState::label));
    for value in values {
        assert!(PAGE.contains(&format!("`{value}`")), "docs/metrics.md lacks the label value {value}");
    }
    let edges: Vec<String> = EDGES.iter().map(|edge| (*edge as f64 / 1e6).to_string()).collect();
    let flat = PAGE.replace('\n', " ");
    assert!(flat.contains(&edges.join(", ")), "docs/metrics.md lacks the edges {}", edges.join(", "));
}
