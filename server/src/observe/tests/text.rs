//! A strict little reader of the text exposition.

use std::collections::BTreeMap;

/// What was read: every series, written `name{label="value",...}`, with its value; and every family's kind.
pub(crate) struct Exposition {
    series: BTreeMap<String, f64>,
    pub(crate) kinds: BTreeMap<String, String>,
}

impl Exposition {
    /// Panics at the first line that breaks a rule of the format.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must be complete");
        let mut helps: BTreeMap<String, String> = BTreeMap::new();
        let mut read = Self { series: BTreeMap::new(), kinds: BTreeMap::new() };
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(helps.insert(name.to_owned(), help.to_owned()).is_none(), "second HELP: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(helps.contains_key(name), "TYPE without HELP: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "unknown type: {line}");
                assert!(read.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "second TYPE: {line}");
                current = name.to_owned();
            } else {
                read.sample(line, &current);
            }
        }
        read.check_histograms();
        read
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = check_series(series);
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} is not of family {family}"));
        let suffixes: &[&str] = match self.kinds[family].as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line} is not of family {family}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(value.is_finite() && value >= 0.0, "nothing here is negative: {line}");
        assert!(self.series.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }

    fn check_histograms(&self) {
        for (series, value) in &self.series {
            if series.contains("_bucket{") && series.contains("le=\"+Inf\"") {
                let count = series.replace("_bucket{", "_count{").replace(",le=\"+Inf\"", "");
                assert_eq!(Some(value), self.series.get(&count), "{series} differs from its count");
            }
        }
    }

    /// The value of a series; panics if there is none.
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// The sum of all series of a family whose name begins with `prefix`.
    pub(crate) fn sum(&self, prefix: &str) -> f64 {
        self.all(prefix).map(|(_, value)| value).sum()
    }

    pub(crate) fn all(&self, prefix: &str) -> impl Iterator<Item = (&str, f64)> {
        let series = self.series.iter().filter(move |(series, _)| series.starts_with(prefix));
        series.map(|(series, value)| (series.as_str(), *value))
    }

    /// Every series that is neither a gauge of the process nor always 1.
    pub(crate) fn non_zero(&self) -> Vec<(&str, f64)> {
        self.all("lifeboat_")
            .filter(|(series, value)| *value != 0.0 && !series.contains("build_info"))
            .collect()
    }
}

/// Checks names, quotes and escapes, and returns the sample's name.
fn check_series(series: &str) -> &str {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let Some((name, labels)) = series.split_once('{') else {
        assert!(is_name(series), "bad name: {series}");
        return series;
    };
    assert!(is_name(name), "bad name: {series}");
    let mut rest = labels;
    loop {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("bad labels: {series}"));
        assert!(is_name(label), "bad label {label}: {series}");
        let end = closing_quote(after).unwrap_or_else(|| panic!("unclosed value: {series}"));
        rest = &after[end + 1..];
        if rest == "}" {
            return name;
        }
        rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("bad labels: {series}"));
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}
