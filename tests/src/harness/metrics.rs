//! A scrape of `/metrics`, read as Prometheus would.

use std::collections::BTreeMap;

/// The samples of one scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads the text format.
    ///
    /// # Panics
    ///
    /// When a line is none of it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line:?}"))).collect())
    }

    /// The sum of all series of a metric that have these labels. The prefix `lifeboat_` is added.
    ///
    /// # Panics
    ///
    /// When there is no such series: every known one exists from the start.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("lifeboat_{name}");
        let fits = |sample: &&Sample| sample.name == name && sample.has(labels);
        let found: Vec<f64> = self.0.iter().filter(fits).map(|sample| sample.value).collect();
        assert!(!found.is_empty(), "no series {name} with {labels:?}");
        found.iter().sum()
    }

    /// The same for a counter.
    ///
    /// # Panics
    ///
    /// When there is no such series, or it holds no count.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole, small number"
    )]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.sum(name, labels);
        assert!((0.0..1e15).contains(&value) && value.fract() == 0.0, "{name} is no count: {value}");
        value as u64
    }

    /// Every series of a counter that is not 0, by the value of one label. The prefix `lifeboat_` is added.
    #[must_use]
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        self.by_of(name, label, &[])
    }

    /// The same for the series that have these labels.
    #[must_use]
    pub fn by_of(&self, name: &str, label: &str, of: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let name = format!("lifeboat_{name}");
        let mut sums = BTreeMap::new();
        let fits = |sample: &&Sample| sample.name == name && sample.value != 0.0 && sample.has(of);
        for sample in self.0.iter().filter(fits) {
            let value = sample.labels.get(label).cloned().unwrap_or_default();
            *sums.entry(value).or_insert(0.0) += sample.value;
        }
        sums
    }
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(label, value)| self.labels.get(*label).is_some_and(|it| it == value))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let pairs = rest.strip_suffix('}')?.split_terminator(',');
    let labels = pairs.map(|pair| {
        let (label, value) = pair.split_once('=')?;
        Some((label.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    });
    Some(Sample { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x\n# TYPE x counter\nlifeboat_x{pool=\"p\",why=\"a\"} 3\nlifeboat_x{pool=\"q\",why=\"a\"} 4\nlifeboat_y 0\n";

    #[test]
    fn series_are_summed_by_labels() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.count("x", &[]), 7);
        assert_eq!(metrics.count("x", &[("pool", "q"), ("why", "a")]), 4);
        assert_eq!(metrics.count("y", &[]), 0);
        assert_eq!(metrics.by("x", "why").into_iter().collect::<Vec<_>>(), [("a".to_owned(), 7.0)]);
    }

    #[test]
    #[should_panic(expected = "no series lifeboat_x")]
    fn a_series_that_is_not_there_is_no_zero() {
        let _ = Metrics::parse(TEXT).count("x", &[("pool", "other")]);
    }
}
