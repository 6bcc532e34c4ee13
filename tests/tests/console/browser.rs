//! The console's pages in headless Chromium.

use crate::{
    EVIL,
    driver::Browser,
    server::Console,
    toy::{Toy, available, failing, name},
};
use serde_json::json;
use std::path::Path;
use tests::Stack;

const WIDE: (u32, u32) = (1180, 860);
const PHONE: (u32, u32) = (390, 780);

/// Uploads footage with a keyframe every second, and half a minute with one keyframe, which `MediaConvert` cuts. The
/// keys are unique to this run, so that its requests were never sent before.
async fn sources(stack: &Stack) -> [String; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let footage = stack.description.footage.join("bigbuckbunny.mp4");
    let file = folder.path().join("footage.mp4");
    let [from, to] = [&footage, &file].map(|file| file.to_str().expect("UTF-8"));
    stack.ffmpeg(&[
        "-i", from, "-c:v", "libx264", "-g", "25", "-c:a", "copy", to,
    ]);
    let keys = ["footage", "long"].map(|name| format!("console/{}/{name}.mp4", std::process::id()));
    stack.upload(&keys[0], &file).await;
    let file = folder.path().join("long.mp4");
    let pictures = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=25:duration=30",
    ];
    let encode = ["-c:v", "libx264", "-g", "1000", "-sc_threshold", "0"];
    stack.ffmpeg(&[&pictures[..], &encode, &[file.to_str().expect("UTF-8")]].concat());
    stack.upload(&keys[1], &file).await;
    keys
}

/// Asserts that axe-core finds nothing serious on the page.
fn assert_no_barriers(browser: &Browser, page: &str) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; make browser fetches it", file.display()));
    browser.run(&axe);
    let found = browser.promise("return (await axe.run()).violations.map((one) => [one.impact, one.id, one.nodes.map((node) => node.html)])");
    let all = found.as_array().unwrap_or_else(|| panic!("{found}"));
    let serious: Vec<_> = all
        .iter()
        .filter(|one| one[0] == "serious" || one[0] == "critical")
        .collect();
    assert!(serious.is_empty(), "{page}: {serious:#?}");
}

/// Screenshots of a page in desktop and phone size, in light and dark mode.
fn pictures(browser: &Browser, page: &str) {
    for (width, (x, y)) in [("wide", WIDE), ("phone", PHONE)] {
        for scheme in ["light", "dark"] {
            browser.look(x, y, scheme);
            assert_no_barriers(browser, page);
            browser.picture(&format!("{page}-{width}-{scheme}"));
        }
    }
    browser.look(WIDE.0, WIDE.1, "light");
    let too_wide =
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    browser.look(PHONE.0, PHONE.1, "light");
    assert_eq!(browser.run(too_wide), false, "{page} fits a phone");
    browser.look(WIDE.0, WIDE.1, "light");
}

#[tokio::test]
async fn browser_plays_a_clip_and_sees_a_failure_mended_by_a_click() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let stack = Stack::connect().await;
    let [footage, long] = sources(&stack).await;
    let mut request = stack.request("dawn-patrol", &footage, &json!(1.21), &json!(4.2));
    request["metadata"] = json!({"spot": "Pipeline", "heat": 3});
    request["output"] = json!({"thumbnails": [300, 640]});
    stack.run(&request).await;
    let bad = stack.request("wipeout", &footage, &json!(4), &json!(2));
    stack.run(&bad).await;
    stack.behave("heat-3", json!({"fail": {"code": 1040, "message": EVIL}}));

    let console = Console::start(&stack, None, &[]);
    browser.look(WIDE.0, WIDE.1, "light");
    browser.visit(&console.url);
    browser.until("document.querySelector('.clips .status.available')");
    // The execution fails while the page is open.
    stack
        .run(&stack.request("heat-3", &long, &json!(1), &json!(26)))
        .await;
    browser.until("document.querySelector('.clips .status.failed')");
    browser.until("[...document.querySelectorAll('.thumb img')].some((one) => one.complete && one.naturalWidth > 100)");
    pictures(&browser, "clips");

    browser.visit(&format!("{}/clips/dawn-patrol", console.origin));
    let played = browser.promise(
        "const video = document.querySelector('video');
         const until = (event) => new Promise((resolve) => video.addEventListener(event, resolve, {once: true}));
         if (video.readyState < 1) await until('loadedmetadata');
         const seeked = until('seeked'); video.currentTime = 2; await seeked;
         const at = video.currentTime; await video.play(); await until('timeupdate'); video.pause();
         return [video.duration, at, video.currentTime > at, video.error]",
    );
    assert_eq!(played, json!([3, 2, true, null]));
    browser.click(".cutting rect.copied");
    browser.until("document.querySelector('video').currentTime < 1.9");
    pictures(&browser, "clip");

    browser.visit(&format!("{}/clips/heat-3", console.origin));
    browser.until(
        "document.querySelector('.status.failed') && document.body.innerText.includes('<script>')",
    );
    pictures(&browser, "failed");
    stack.behave("heat-3", json!({}));
    browser.click("#rerun summary");
    browser.click("#rerun button[value=redrive]");
    browser.until("document.querySelector('h1 .status.running, h1 .status.available')");
    browser
        .until("document.querySelector('h1 .status.available') && document.querySelector('video')");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[tokio::test]
async fn browser_filters_pages_and_shows_strange_text_as_text() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::new(&stack, folder.path(), "console-browser").await;
    let mut executions: Vec<_> = (0..60)
        .map(|index| format!("wave-{index:02}"))
        .map(|clip| (name(&clip), available(&clip, "north")))
        .collect();
    let errors = ["TranscodeFailed", "DependencyUnavailable", EVIL];
    executions.extend((0..6).map(|index| {
        let clip = format!("storm-{index}");
        (name(&clip), failing(&clip, errors[index % 3], EVIL))
    }));
    toy.run(executions).await;
    let console = Console::start(&stack, Some(&toy.stack_json), &[]);
    browser.visit(&console.url);
    let number = "document.querySelectorAll('.clips tbody tr').length";
    let rows = |count: usize| format!("{number} === {count}");
    // Executions that began in the same millisecond stay on the same page.
    browser.until(&format!("{number} >= 50 && {number} < 60"));
    browser.click("a[rel=next]");
    browser.until(&format!("{number} > 6 && {number} <= 16"));
    browser.visit(&console.origin);
    browser.click("input[name=status][value=failed]");
    browser.until(&rows(6));
    browser.run("const text = document.querySelector('#text'); text.value = 'storm-1'; text.dispatchEvent(new Event('input', {bubbles: true}))");
    browser.until(&rows(1));
    browser.until(
        "location.search.includes('text=storm-1') && location.search.includes('status=failed')",
    );
    browser.visit(&format!("{}/clips/storm-2", console.origin));
    browser.until("document.body.innerText.includes('<script>')");
    browser.visit(&format!("{}/overview", console.origin));
    browser.until("document.body.innerText.includes('66 of them read')");
    pictures(&browser, "overview");
    browser.visit(&format!("{}/rerun?error=TranscodeFailed", console.origin));
    browser.until("document.body.innerText.includes('Rerun 2 executions')");
    pictures(&browser, "rerun");
    browser.visit(&format!("{}/dead-letters", console.origin));
    browser.until("!document.body.innerText.includes('Asking')");
    pictures(&browser, "dead-letters");
    assert_eq!(
        browser.run("return document.title"),
        "Dead letters · clipflow"
    );
    assert_eq!(browser.complaints(), [""; 0]);
}
