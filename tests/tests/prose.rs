//! The prose of the project: lines that fit a screen, links that lead somewhere, design pages of
//! one form.

use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most columns of a line of prose.
const COLUMNS: usize = 100;

/// Folders that hold no prose of the project.
const SKIPPED: [&str; 4] = ["target", "shared", "corpus", "node_modules"];

/// Headings of every design page, in order.
const DESIGN_HEADINGS: [&str; 5] = ["Problem", "Choice", "Why not", "Where", "Measured"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// All files below `folder` whose names end so, in order of their paths.
fn files_of(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && name != ".github";
            if path.is_dir() {
                if !hidden && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Name of `path` in messages: as seen from the root of the repository.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The lines of `text` that are no code, with their numbers from 1. Code is fenced, or indented by
/// four columns.
fn outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence && !line.starts_with("    ")).then_some((index + 1, line))
    })
}

/// Columns of `line` without what cannot break: addresses, and the targets of links.
fn columns(line: &str) -> usize {
    let mut rest = line;
    let mut columns = 0;
    while let Some(at) = ["](", "http://", "https://"].iter().filter_map(|start| rest.find(start)).min() {
        let (start, end) = if rest[at..].starts_with("](") { (at + 2, ')') } else { (at, ' ') };
        columns += rest[..start].chars().count();
        rest = &rest[start..];
        let closing = |c: char| c == end || (end == ' ' && matches!(c, ')' | '>' | '`'));
        rest = &rest[rest.find(closing).unwrap_or(rest.len())..];
    }
    columns + rest.chars().count()
}

/// Numbers and columns of the lines of prose in `text` that are too long. Tables may be wide.
fn long_lines(text: &str) -> Vec<(usize, usize)> {
    outside_code(text)
        .filter(|(_, line)| !line.starts_with('|'))
        .map(|(number, line)| (number, columns(line)))
        .filter(|&(_, columns)| columns > COLUMNS)
        .collect()
}

/// `text` without code, fenced, indented or between backquotes.
fn without_code(text: &str) -> String {
    let lines: Vec<&str> = outside_code(text).map(|(_, line)| line).collect();
    lines.join("\n").split('`').step_by(2).collect()
}

/// Targets of the links and pictures in `text` that are files: no addresses.
fn targets(text: &str) -> Vec<String> {
    let text = without_code(text);
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let defined = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, t)| t);
    inline
        .chain(defined)
        .map(str::trim)
        .filter(|t| !t.contains("://") && !t.starts_with("mailto:"))
        .map(String::from)
        .collect()
}

/// What a heading is called in links: as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Texts of the headings of `text`, without their marks.
fn headings(text: &str) -> impl Iterator<Item = &str> {
    outside_code(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim())
}

/// Why the link `target` in the file `from` leads nowhere, if it does not.
fn broken(from: &Path, target: &str) -> Option<&'static str> {
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => from.to_path_buf(),
        path => from.parent().expect("a file is in a folder").join(path),
    };
    if Path::new(path).components().any(|part| matches!(part, Component::RootDir)) {
        return Some("is no relative path");
    }
    if !file.exists() {
        return Some("does not exist");
    }
    if fragment.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let text = fs::read_to_string(&file).expect("the file can be read");
    match headings(&text).any(|heading| anchor(heading) == fragment) {
        true => None,
        false => Some("has no such heading"),
    }
}

#[test]
fn lines_of_prose_fit_the_columns() {
    let mut found = String::new();
    let files = files_of(&root(), ".md");
    assert!(files.len() > 50, "only {} files", files.len());
    for file in files {
        for (line, columns) in long_lines(&fs::read_to_string(&file).expect("the file can be read")) {
            let _ = writeln!(found, "{}:{line}: {columns} columns", shown(&file));
        }
    }
    assert!(found.is_empty(), "lines of prose have {COLUMNS} columns at most:\n{found}");
}

/// The comments of a source file as text, line by line: what follows the marks, and how many
/// columns stand before it. Lines of code are empty.
fn comments(source: &str) -> (String, Vec<usize>) {
    let mut before = Vec::new();
    let text = |line: &str| {
        let comment = line.trim_start();
        let marks = ["//! ", "/// ", "// "].into_iter().find(|marks| comment.starts_with(marks));
        let text = marks.map_or("", |marks| &comment[marks.len()..]);
        before.push(line.len() - text.len());
        format!("{text}\n")
    };
    (source.lines().map(text).collect(), before)
}

#[test]
fn comments_fit_the_columns() {
    let mut found = String::new();
    let files = files_of(&root(), ".rs");
    assert!(files.len() > 300, "only {} files", files.len());
    for file in files {
        let (text, before) = comments(&fs::read_to_string(&file).expect("the file can be read"));
        let lines = outside_code(&text).filter(|(_, line)| !line.starts_with('|'));
        for (number, line) in lines {
            let columns = before[number - 1] + columns(line);
            if !line.is_empty() && columns > COLUMNS {
                let _ = writeln!(found, "{}:{number}: {columns} columns", shown(&file));
            }
        }
    }
    assert!(found.is_empty(), "comments have {COLUMNS} columns at most:\n{found}");
}

#[test]
fn links_lead_somewhere() {
    let (mut found, mut links) = (String::new(), 0);
    for file in files_of(&root(), ".md") {
        for target in targets(&fs::read_to_string(&file).expect("the file can be read")) {
            links += 1;
            if let Some(reason) = broken(&file, &target) {
                let _ = writeln!(found, "{}: {target} {reason}", shown(&file));
            }
        }
    }
    assert!(links > 100, "only {links} links");
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn design_pages_have_one_form_and_are_listed() {
    let folder = root().join("docs/design");
    let read = |path: &Path| fs::read_to_string(path).expect("the page can be read");
    let listed = |text: &str, name: &str| targets(text).iter().any(|target| target.ends_with(name));
    let (index, architecture) = (read(&folder.join("README.md")), read(&root().join("ARCHITECTURE.md")));
    let pages: Vec<PathBuf> =
        files_of(&folder, ".md").into_iter().filter(|page| !page.ends_with("README.md")).collect();
    assert!(pages.len() > 30, "only {} pages", pages.len());
    for (i, page) in pages.iter().enumerate() {
        let (name, text) = (shown(page), read(page));
        let file = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut titles = headings(&text);
        let title = titles.next().unwrap_or_default();
        assert!(title.starts_with(&format!("{}. ", i + 1)), "{name}: its title has another number: {title}");
        assert!(file.starts_with(&format!("{:02}-", i + 1)), "{name}: numbers follow one another");
        assert_eq!(titles.collect::<Vec<_>>(), DESIGN_HEADINGS, "headings of {name}");
        assert!(listed(&index, &file), "{name} is not in docs/design/README.md");
        assert!(listed(&architecture, &file), "{name} is not in ARCHITECTURE.md");
    }
}

/// The checks above find what they are for.
#[test]
fn checks_find_faults() {
    let words = "word ".repeat(24);
    assert_eq!(long_lines(&format!("short\n{words}\n- {words}")), [(2, 120), (3, 122)]);
    let address =
        format!("see [this](docs/{}.md) and https://example.org/{} here", "x".repeat(90), "y".repeat(90));
    assert_eq!(long_lines(&format!("| {words} |\n    {words}\n```\n{words}\n```\n{address}")), []);
    assert_eq!(long_lines(&format!("[a](b) {words}")), [(1, 126)]);

    let text = "[a](b.md), `[no](code)` ![p](c.png)\n    [no](code)\n[over\nlines](d.md#e) <https://x> [w](https://y)\n[r]: f.md";
    assert_eq!(targets(text), ["b.md", "c.png", "d.md#e", "f.md"]);
    let readme = root().join("README.md");
    assert_eq!(broken(&readme, "docs/plan.md"), None);
    assert_eq!(broken(&readme, "docs/plan.md#five-ideas"), None);
    assert_eq!(broken(&readme, "#your-own-network"), None);
    assert_eq!(broken(&readme, "docs/absent.md"), Some("does not exist"));
    assert_eq!(broken(&readme, "docs/plan.md#absent"), Some("has no such heading"));
    assert_eq!(broken(&readme, "/docs/plan.md"), Some("is no relative path"));
    assert_eq!(anchor("Limits: `fhec compile --max-...`"), "limits-fhec-compile---max-");
}
