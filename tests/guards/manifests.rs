//! The packages' manifests: one version table, and no arrow that the code may not have.

use toml::{Table, Value};

use crate::source::files;

/// What each package may import of the project, in code and in tests.
const MAY: [(&str, &[&str]); 6] = [
    ("protocol", &[]),
    ("server/core", &[]),
    ("client", &["lifeboat-protocol"]),
    ("worker-sdk", &["lifeboat-protocol"]),
    ("server", &["lifeboat-core", "lifeboat-protocol", "lifeboat-client", "lifeboat-worker"]),
    ("examples/thumbnailer", &["lifeboat-client", "lifeboat-worker"]),
];

/// What the core's manifest must not have: whatever waits, reads a clock or talks to the system.
const NOT_FOR_THE_CORE: [&str; 9] = [
    "tokio",
    "tokio-util",
    "rustix",
    "libc",
    "hyper",
    "signal-hook",
    "serde",
    "tracing",
    "lifeboat-protocol",
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Every member's manifest: its directory and its content.
fn members() -> Vec<(String, Table)> {
    let manifests = files("").into_iter().filter_map(|file| {
        let directory = file.name.strip_suffix("Cargo.toml")?.trim_end_matches('/').to_owned();
        (!directory.is_empty()).then(|| (directory, file.text.parse().expect("a manifest is TOML")))
    });
    let members: Vec<_> = manifests.collect();
    assert!(
        members.len() >= 6,
        "manifests are missing: {:?}",
        members.iter().map(|it| &it.0).collect::<Vec<_>>()
    );
    members
}

/// The dependencies of a manifest in all sections.
fn dependencies(manifest: &Table) -> impl Iterator<Item = (&'static str, &String, &Value)> {
    SECTIONS.into_iter().flat_map(|section| {
        let table = manifest.get(section).and_then(Value::as_table);
        table.into_iter().flatten().map(move |(name, value)| (section, name, value))
    })
}

#[test]
fn packages_import_along_the_arrows_only() {
    let mut broken = Vec::new();
    for (directory, manifest) in members() {
        let Some((_, may)) = MAY.iter().find(|(member, _)| *member == directory) else {
            assert!(
                directory == "tests" || directory.contains("fuzz"),
                "{directory} has no row in this guard"
            );
            continue;
        };
        for (section, name, _) in dependencies(&manifest) {
            if (name == "lifeboat" || name.starts_with("lifeboat-")) && !may.contains(&name.as_str()) {
                broken.push(format!("{directory}: {name} in [{section}]"));
            }
        }
    }
    assert!(broken.is_empty(), "arrows that must not be:\n{}", broken.join("\n"));
}

#[test]
fn the_core_depends_on_nothing_that_touches_the_world() {
    let all = members();
    let (_, core) =
        all.iter().find(|(directory, _)| directory == "server/core").expect("the core is a member");
    let found: Vec<_> = dependencies(core)
        .map(|(_, name, _)| name.as_str())
        .filter(|name| NOT_FOR_THE_CORE.contains(name))
        .collect();
    assert!(found.is_empty(), "the core's manifest has {found:?}");
}

#[test]
fn versions_stand_in_one_table() {
    let mut broken = Vec::new();
    for (directory, manifest) in members() {
        for (section, name, value) in dependencies(&manifest) {
            let inherits = value.get("workspace").and_then(Value::as_bool) == Some(true);
            if !inherits || value.get("version").is_some() {
                broken.push(format!("{directory}: {name} in [{section}]"));
            }
        }
        let package = manifest.get("package").and_then(Value::as_table).expect("a member is a package");
        for key in ["version", "edition", "rust-version", "license"] {
            let inherits = package.get(key).and_then(|value| value.get("workspace")).and_then(Value::as_bool);
            if inherits != Some(true) {
                broken.push(format!("{directory}: package.{key}"));
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool)
            != Some(true)
        {
            broken.push(format!("{directory}: lints"));
        }
    }
    assert!(
        broken.is_empty(),
        "write `workspace = true` and put the version into the root's [workspace.dependencies]:\n{}",
        broken.join("\n")
    );
}
