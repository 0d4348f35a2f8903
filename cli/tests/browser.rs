//! The pages in a real browser: headless Chromium, where there is one on the path (`apt-get install
//! chromium`); without, the test says that it is skipped.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use binary::succeeds;

fn browser() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

/// A page as the browser has it.
struct Shown {
    /// After its scripts have run.
    document: String,
    /// What it wrote to the console, one message per line.
    console: Vec<String>,
    /// What it looks like.
    picture: image::RgbImage,
}

fn show(browser: &Path, folder: &Path, page: &str) -> Shown {
    let (file, picture) = (folder.join("shown.html"), folder.join("shown.png"));
    fs::write(&file, page).unwrap();
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let screenshot = format!("--screenshot={}", picture.display());
    // Pages are our own, and containers do not let browsers make sandboxes.
    let flags =
        ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"];
    let mut command = Command::new(browser);
    command.args(flags).args([&profile, &screenshot, "--window-size=1100,5000", "--dump-dom"]);
    let output = command.arg(format!("file://{}", file.display())).output().expect("the browser starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let console = errors.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_string).collect();
    let document = String::from_utf8(output.stdout).expect("a document is text");
    let picture = image::open(&picture).unwrap_or_else(|error| panic!("{error}: {errors}")).to_rgb8();
    Shown { document, console, picture }
}

/// `page` with a script at its end.
fn with_script(page: &str, script: &str) -> String {
    page.replacen("</body>", &format!("<script>{script}</script></body>"), 1)
}

fn check(browser: &Path, folder: &Path, page: &str, headings: &[&str]) {
    let shown = show(browser, folder, page);
    assert_eq!(shown.console, Vec::<String>::new());
    for heading in headings {
        assert!(shown.document.contains(&format!("<h2>{heading}")), "{heading} is not in the document");
    }
    // Something is drawn, down to the last heading: the page is white, and there is more than a
    // line or two of other colours.
    let drawn: Vec<u32> = shown
        .picture
        .enumerate_pixels()
        .filter(|(.., pixel)| pixel.0 != [255; 3])
        .map(|(_, y, _)| y)
        .collect();
    let rows: std::collections::BTreeSet<u32> = drawn.iter().copied().collect();
    assert!(rows.len() > 400, "{} rows of pixels have something in them", rows.len());
    // Every title sorts its column: a click marks it, and no other of its table.
    let tables = page.matches("<table class=\"sortable\"").count();
    assert!(tables > 0);
    let clicked =
        with_script(page, "document.querySelectorAll('table.sortable th button').forEach(b => b.click());");
    let clicked = show(browser, folder, &clicked);
    assert_eq!(clicked.console, Vec::<String>::new());
    assert_eq!(clicked.document.matches("aria-sort=\"ascending\">").count(), tables);
    // The check of the console can fail.
    let broken = show(browser, folder, &with_script(page, "missing.function();"));
    assert_eq!(broken.console.len(), 1);
    // A page cannot load anything: its policy says so, to the browser, too.
    let loading =
        show(browser, folder, &page.replacen("</body>", "<img src=\"https://example.org/x.png\"></body>", 1));
    assert!(
        loading.console.iter().any(|line| line.contains("Content Security Policy")),
        "{:?}",
        loading.console
    );
}

#[test]
fn pages_render_without_a_word_on_the_console() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no chromium on the path");
        return;
    };
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (program, plan, answers) = (path("net.fhec"), path("plan.html"), path("answers.html"));
    succeeds(&["compile", models.join("mnist_cnn_deg3.onnx").to_str().unwrap(), "-o", &program]);
    succeeds(&["inspect", &program, "--html", &plan]);
    let digit = models.join("digits/digit_7_a.png");
    succeeds(&["simulate", &program, "--dataset", digit.to_str().unwrap(), "--html", &answers]);
    let headings = ["Network", "Levels", "Time per layer", "Memory", "Precision per layer", "Layers", "Keys"];
    check(&browser, folder.path(), &fs::read_to_string(plan).unwrap(), &headings);
    let page = fs::read_to_string(answers).unwrap();
    let shown = show(&browser, folder.path(), &page);
    assert_eq!(shown.console, Vec::<String>::new());
    assert!(shown.document.contains("<h2>Classes") && shown.document.contains("class=\"same\">1<"));
}
