//! Tables that list parts of the project name exactly the parts that exist, and versions agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Folders of the crates in the workspace, as its manifest names them.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let (_, list) = manifest.split_once("members = [").expect("the workspace has members");
    let (list, _) = list.split_once(']').expect("the list ends");
    list.split('"').skip(1).step_by(2).map(String::from).collect()
}

/// The code words in the first cell of a table's row, with or without the brackets of a link.
fn first_cell(row: &str) -> Vec<String> {
    let cell = row.trim_start_matches('|').split('|').next().unwrap_or_default();
    cell.split('`').skip(1).step_by(2).map(String::from).collect()
}

/// Modules that a crate's head names in its tables, in order.
fn listed_modules(source: &str) -> Vec<String> {
    let head = source.lines().take_while(|line| line.starts_with("//!"));
    head.filter_map(|line| line.strip_prefix("//! |")).flat_map(first_cell).collect()
}

/// Modules that a crate's root declares, but those of tests.
fn declared_modules(source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().collect();
    let name = |line: &str| {
        let line = match line.strip_prefix("pub") {
            Some(rest) => rest.split_once("mod ").map_or("", |(_, name)| name),
            None => line.strip_prefix("mod ").unwrap_or_default(),
        };
        line.strip_suffix(';').map(String::from)
    };
    let of_tests = |i: usize| i > 0 && lines[i - 1].starts_with("#[cfg(test)]");
    (0..lines.len()).filter(|&i| !of_tests(i)).filter_map(|i| name(lines[i])).collect()
}

/// What is wrong with the tables at the head of `source`.
fn fault(source: &str) -> Option<String> {
    let (listed, declared) = (listed_modules(source), declared_modules(source));
    let set: BTreeSet<&String> = listed.iter().collect();
    let absent: Vec<&String> = declared.iter().filter(|module| !set.contains(module)).collect();
    let unknown: Vec<&String> = listed.iter().filter(|module| !declared.contains(module)).collect();
    if !absent.is_empty() {
        Some(format!("does not list {absent:?}"))
    } else if !unknown.is_empty() {
        Some(format!("lists {unknown:?}, which do not exist"))
    } else if set.len() < listed.len() {
        Some("lists a module twice".into())
    } else {
        None
    }
}

#[test]
fn heads_of_crates_list_their_modules() {
    let (mut crates, mut modules) = (0, 0);
    for member in members() {
        let path = format!("{member}/src/lib.rs");
        if !root().join(&path).exists() {
            continue;
        }
        let source = read(&path);
        let declared = declared_modules(&source).len();
        if declared > 0 {
            assert_eq!(fault(&source), None, "{path}");
            crates += 1;
            modules += declared;
        }
    }
    assert!(crates >= 4 && modules >= 60, "only {modules} modules in {crates} crates");
}

#[test]
fn the_architecture_lists_the_crates() {
    let page = read("ARCHITECTURE.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    let listed: Vec<String> =
        rows.take_while(|line| line.starts_with('|')).flat_map(first_cell_name).collect();
    let set: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(set.len(), listed.len(), "each crate once: {listed:?}");
    let members = members();
    assert!(members.len() >= 6, "{members:?}");
    assert_eq!(set, members.iter().collect(), "crates of ARCHITECTURE.md and members of the workspace");
}

/// The crate that a row of the table is about.
fn first_cell_name(row: &str) -> Option<String> {
    first_cell(row).into_iter().next()
}

/// What follows `key` on the first line of `text` that starts with it, without quotes.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no line starts with {key}")).trim().trim_matches('"')
}

#[test]
fn versions_and_dates_are_the_same_everywhere() {
    let (manifest, citation) = (read("Cargo.toml"), read("CITATION.cff"));
    let version = value(&manifest, "version = ");
    assert_eq!(value(&citation, "version: "), version, "CITATION.cff and Cargo.toml");
    let package = read("web/npm/package.json");
    assert!(package.contains(&format!("\"version\": \"{version}\"")), "web/npm/package.json");
    // What binds a module has to be of the version that the module was made with.
    let bindgen = value(&manifest, "wasm-bindgen = ");
    assert_eq!(value(&read("web/bind/Cargo.toml"), "wasm-bindgen-cli-support = "), bindgen);
    let release = format!("{version} - {}", value(&citation, "date-released: "));
    assert_eq!(value(&read("CHANGELOG.md"), &format!("## {version}")), &release[version.len() + 1..]);
    let toolchain = read("rust-toolchain.toml");
    let (channel, minimum) = (value(&toolchain, "channel = "), value(&manifest, "rust-version = "));
    assert!(channel.starts_with(minimum), "CI builds with {channel}, the least Rust version is {minimum}");
    for line in manifest.lines().filter(|line| line.starts_with("fhec-") && line.contains("version")) {
        assert!(line.contains(&format!("version = \"{version}\"")), "{line}");
    }
}

/// The checks above find what they are for.
#[test]
fn checks_find_faults() {
    let head = "//! | module | subject |\n//! |---|---|\n//! | [`a`], [`b`] | [`not`] |\n//! | `c` | x |\n";
    let code = "pub mod a;\npub(crate) mod b;\nmod c;\n#[cfg(test)]\nmod testing;\n";
    assert_eq!(fault(&format!("{head}{code}")), None);
    assert_eq!(fault(&format!("{head}{code}pub mod d;\n")), Some("does not list [\"d\"]".into()));
    assert_eq!(
        fault(&format!("{head}//! | [`e`] | |\n{code}")),
        Some("lists [\"e\"], which do not exist".into())
    );
    assert_eq!(fault(&format!("{head}//! | [`a`] | |\n{code}")), Some("lists a module twice".into()));
}

/// Names of the dependencies of a crate, without those of its tests, and whether each is optional.
fn dependencies(member: &str) -> Vec<(String, bool)> {
    let manifest = read(format!("{member}/Cargo.toml"));
    let list = manifest.split_once("\n[dependencies]\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| Some((line.split_once(['.', ' '])?.0, line)));
    names.map(|(name, line)| (name.to_string(), line.contains("optional = true"))).collect()
}

/// Arrows between crates are those of ARCHITECTURE.md, and a crate's trade shows in what it stands
/// on.
#[test]
fn crates_stand_on_what_they_may_use() {
    let of = |member: &str, keep: &dyn Fn(&str) -> bool| -> Vec<String> {
        let names = dependencies(member).into_iter().map(|(name, _)| name);
        names.filter(|name| keep(name)).collect()
    };
    let arrows = [
        ("ir", &[][..]),
        ("models", &[]),
        ("passes", &["fhec-ir"]),
        ("runtime", &["fhec-ir"]),
        ("roles", &["fhec-ir", "fhec-runtime"]),
        ("serve", &["fhec-ir", "fhec-roles", "fhec-runtime"]),
        ("compiler", &["fhec-ir", "fhec-models", "fhec-passes", "fhec-roles", "fhec-runtime"]),
        ("cli", &["fhec-compiler", "fhec-ir", "fhec-passes", "fhec-roles", "fhec-runtime", "fhec-serve"]),
        ("fhec", &["fhec-compiler", "fhec-ir", "fhec-passes", "fhec-roles", "fhec-runtime"]),
        ("python", &["fhec", "fhec-cli", "fhec-serve"]),
        ("web", &["fhec-ir", "fhec-roles", "fhec-runtime"]),
    ];
    for (member, expected) in arrows {
        assert_eq!(of(member, &|name| name.starts_with("fhec")), expected, "{member}");
    }
    // Errors without a type, and arguments of a command line, are the command line's.
    for member in members().iter().filter(|member| *member != "cli") {
        for (name, optional) in dependencies(member) {
            assert!(name != "anyhow" && (name != "clap" || optional), "{member} uses {name}");
        }
    }
}

/// The attacks of the threat model name tests that exist: those of `hostile_files`, or of the file
/// in brackets.
#[test]
fn attacks_name_tests_that_exist() {
    let page = read("docs/threat-model.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| attack |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    for row in &rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().expect("rows have cells");
        let mut quoted = cell.split('`').skip(1).step_by(2);
        let Some(name) = quoted.next() else {
            assert_eq!(cell, "the same", "{row}");
            continue;
        };
        let file = quoted.next().unwrap_or("cli/tests/hostile_files.rs");
        assert!(read(file).contains(&format!("fn {name}()")), "{file} has no {name}");
    }
    assert!(rows.len() >= 20, "only {} attacks", rows.len());
}
