//! The boundaries between crates, and between modules.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The crates in `crates/`, and which others each may use, from the lowest layer up.
const ALLOWED: &[(&str, &[&str])] = &[
    ("mp4-cut", &[]),
    ("model", &["mp4-cut"]),
    ("lambda", &["model"]),
    ("ffmpeg", &["model", "mp4-cut"]),
    ("aws", &["model", "mp4-cut"]),
    ("clip-store", &["model", "aws"]),
];
/// What programs (`functions/*` and `cli`) may use; they may never use each other.
const FOR_PROGRAMS: &[&str] = &["mp4-cut", "model", "lambda", "ffmpeg", "aws"];
/// The only programs that talk to the database.
const WITH_CLIP_STORE: &[&str] = &["store", "report"];
/// Prefixes of the names of packages that a media library has no use for.
const FORBIDDEN_IN_MP4_CUT: &[&str] = &[
    "aws", "tokio", "hyper", "http", "mongodb", "bson", "lambda", "ffmpeg", "model", "reqwest",
];

#[test]
fn crates_use_only_what_is_below_them() {
    let metadata = metadata();
    let own: BTreeSet<&str> = packages(&metadata).map(name).collect();
    for package in packages(&metadata) {
        let Some(allowed) = allowed(package) else {
            continue;
        };
        for used in normal_dependencies(package) {
            assert!(
                !own.contains(used) || allowed.contains(&used),
                "crate {} uses {used}; it may use {allowed:?}",
                name(package)
            );
        }
    }
}

#[test]
fn mp4_cut_links_no_cloud_no_server_and_no_runtime() {
    for linked in linked_by("mp4-cut") {
        let forbidden = FORBIDDEN_IN_MP4_CUT
            .iter()
            .find(|start| linked.starts_with(*start));
        assert!(forbidden.is_none(), "mp4-cut links {linked}");
    }
}

#[test]
fn validate_links_neither_s3_nor_ffmpeg() {
    let linked = linked_by("validate");
    assert!(linked.contains("model"), "{linked:?}");
    for unwanted in ["aws-sdk-s3", "aws", "ffmpeg", "clip-store"] {
        assert!(!linked.contains(unwanted), "validate links {unwanted}");
    }
}

#[test]
fn modules_of_no_crate_have_a_cycle() {
    let uses = module_uses(&root().join("crates/mp4-cut/src"));
    assert!(uses.len() > 15, "modules are found: {uses:?}");
    assert!(uses["io::fetch"].contains("io::range"), "{uses:?}");

    let mut cycles = Vec::new();
    let metadata = metadata();
    for package in packages(&metadata).filter(|package| allowed(package).is_some()) {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let source = manifest.with_file_name("src");
        if source.is_dir()
            && let Some(cycle) = cycle(&module_uses(&source))
        {
            cycles.push(format!("{}: {}", name(package), cycle.join(" -> ")));
        }
    }
    assert!(cycles.is_empty(), "modules use each other: {cycles:#?}");
}

#[test]
fn cycle_of_modules_is_found() {
    let file = "//! use crate::c;\npub(crate) use b::{X, Y};\nuse crate::{d::{self, Z}, error::Error,};\n#[cfg(test)]\nuse crate::e::W;";
    let modules = BTreeSet::from(["a", "a::b", "c", "d", "e"].map(str::to_owned));
    let used = used_modules(file, "a", &modules);
    let expected = ["a::b", "crate", "d"].map(str::to_owned);
    assert_eq!(used, BTreeSet::from(expected));
    let path = used_modules("fn f() { crate::c::f(|| crate::e::X) }", "a", &modules);
    assert_eq!(path, BTreeSet::from(["c", "e"].map(str::to_owned)));
    let super_use = used_modules("use super::c::X;", "a", &modules);
    assert_eq!(super_use, BTreeSet::from(["c".to_owned()]));

    let mut graph = BTreeMap::from([
        ("a".to_owned(), used),
        (
            "a::b".to_owned(),
            used_modules("use crate::a;", "a::b", &modules),
        ),
    ]);
    let found = cycle(&graph).expect("a cycle");
    assert_eq!(found, ["a", "a::b", "a"]);
    graph.remove("a::b");
    assert_eq!(cycle(&graph), None);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
    cargo(&["metadata", "--format-version", "1", "--no-deps"])
}

/// The output of `cargo`, as JSON.
fn cargo(arguments: &[&str]) -> Value {
    let printed = output(arguments);
    serde_json::from_slice(&printed).expect("JSON of cargo")
}

fn output(arguments: &[&str]) -> Vec<u8> {
    let cargo = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "cargo {arguments:?}: {said}");
    cargo.stdout
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().expect("packages").iter()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a name")
}

/// Which crates of the workspace a package may use; `None` for tests, which may use all.
fn allowed(package: &Value) -> Option<Vec<&'static str>> {
    let manifest = package["manifest_path"].as_str().expect("a path");
    let folders: Vec<&str> = manifest.rsplit('/').skip(1).take(2).collect();
    match folders[..] {
        [_, "crates"] => {
            let found = ALLOWED
                .iter()
                .find(|(crate_name, _)| *crate_name == name(package));
            let (_, allowed) = found.unwrap_or_else(|| panic!("{} is in no list", name(package)));
            Some(allowed.to_vec())
        }
        [_, "functions"] | ["cli", _] => {
            let mut allowed = FOR_PROGRAMS.to_vec();
            if WITH_CLIP_STORE.contains(&name(package)) {
                allowed.push("clip-store");
            }
            Some(allowed)
        }
        _ => None,
    }
}

/// The names of a package's dependencies, without dev-dependencies.
fn normal_dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    dependencies
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .map(name)
}

/// The names of all packages that a package of the workspace links.
fn linked_by(package: &str) -> BTreeSet<String> {
    let arguments = [
        "tree",
        "--locked",
        "--no-default-features",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        package,
    ];
    let tree = String::from_utf8(output(&arguments)).expect("text");
    let mut linked = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        linked.insert(line.split(' ').next().unwrap_or_default().to_owned());
    }
    assert!(linked.remove(package), "{package} is in its own tree");
    linked
}

/// Which modules each module of a crate uses, by their paths; the root is `crate`.
fn module_uses(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    find_modules(source, "", &mut files);
    let modules = files.iter().map(|(module, _)| module.clone()).collect();
    let mut uses = BTreeMap::new();
    for (module, file) in files {
        let text = fs::read_to_string(file).expect("a source file");
        uses.insert(module.clone(), used_modules(&text, &module, &modules));
    }
    uses
}

fn find_modules(folder: &Path, module: &str, files: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy();
        let child = join(module, &stem);
        if path.is_dir() {
            find_modules(&path, &child, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = match &*stem {
                "lib" => "crate".to_owned(),
                "mod" => module.to_owned(),
                _ => child,
            };
            files.push((module, path));
        }
    }
}

fn join(module: &str, child: &str) -> String {
    if module.is_empty() || module == "crate" {
        child.to_owned()
    } else {
        format!("{module}::{child}")
    }
}

/// The modules that a module refers to, in `use` lines and in paths, without those that only its unit tests refer to.
fn used_modules(text: &str, module: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\n").next().unwrap_or_default();
    let code: Vec<&str> = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut used = BTreeSet::new();
    for statement in code.join(" ").split(';') {
        let Some(at) = statement.rfind("use ") else {
            continue;
        };
        let before = statement[..at].chars().next_back().unwrap_or(' ');
        if before.is_whitespace() {
            let tree: String = statement[at + 4..].split_whitespace().collect();
            for path in paths(&tree) {
                used.extend(used_module(&path, module, modules));
            }
        }
    }
    let text = code.join("\n");
    let is_path = |sign: char| sign.is_alphanumeric() || "_:".contains(sign);
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let path = text[at..].split(|sign| !is_path(sign)).next();
            let path = path.unwrap_or_default().trim_end_matches(':');
            if path.contains("::") {
                used.extend(used_module(path, module, modules));
            }
        }
    }
    used.remove(module);
    used
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let mut paths_found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in inner.char_indices().chain([(inner.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 && start == at => {}
            ',' if depth == 0 => {
                let branches = paths(&inner[start..at]);
                paths_found.extend(branches.iter().map(|path| format!("{prefix}{path}")));
                start = at + 1;
            }
            _ => {}
        }
    }
    paths_found
}

/// The module of the same crate that a path leads to; `None` for another crate's.
fn used_module(path: &str, module: &str, modules: &BTreeSet<String>) -> Option<String> {
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let absolute = if let Some(path) = path.strip_prefix("crate::") {
        path.to_owned()
    } else if let Some(path) = path.strip_prefix("super::") {
        join(parent, path)
    } else {
        let first = path.split("::").next().unwrap_or_default();
        if !modules.contains(&join(module, first)) {
            return None;
        }
        join(module, path)
    };
    let mut found = absolute.as_str();
    while !modules.contains(found) {
        match found.rsplit_once("::") {
            Some((front, _)) => found = front,
            None => return Some("crate".to_owned()),
        }
    }
    Some(found.to_owned())
}

/// A cycle of modules, each of which uses the next.
fn cycle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys()
        .find_map(|module| cycle_from(module, uses, &mut Vec::new(), &mut done))
}

fn cycle_from(
    module: &str,
    uses: &BTreeMap<String, BTreeSet<String>>,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|above| above == module) {
        path.push(module.to_owned());
        return Some(path.split_off(at));
    }
    if !done.insert(module.to_owned()) {
        return None;
    }
    path.push(module.to_owned());
    for used in uses.get(module).into_iter().flatten() {
        if let Some(found) = cycle_from(used, uses, path, done) {
            return Some(found);
        }
    }
    path.pop();
    None
}
