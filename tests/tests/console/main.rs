//! `clipflow console` on the local stack: what it answers, and what a browser shows of it.

mod browser;
mod driver;
mod server;
mod toy;

use server::Console;
use std::time::{Duration, Instant};
use tests::Stack;
use toy::{Toy, available, failing, name};

/// A text that is markup where it is not escaped.
pub const EVIL: &str = "\"'><script>document.title='hacked'</script><img src=x onerror=alert(1)>";

#[tokio::test]
async fn only_a_browser_with_the_token_and_of_this_host_is_let_in() {
    let stack = Stack::connect().await;
    let console = Console::start(&stack, None, &[]);
    let cookie = console.cookie();
    let cookie = ("cookie", cookie.as_str());
    let page = console.ask("GET", "/", &[cookie]);
    assert_eq!(page.status, 200, "{}", page.body);
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("referrer-policy"), "same-origin");
    let own = ("origin", console.origin.as_str());
    let evil = ("origin", "https://evil.example");
    for (status, method, path, headers) in [
        (401, "GET", "/", &[][..]),
        (401, "GET", "/?token=0123456789abcdef", &[]),
        (401, "GET", "/assets/style.css", &[]),
        (403, "GET", "/", &[cookie, ("host", "evil.example")]),
        (403, "GET", "/", &[cookie, evil]),
        (403, "POST", "/clips/none/stop", &[cookie]),
        (403, "POST", "/clips/none/stop", &[cookie, evil]),
        (401, "POST", "/clips/none/stop", &[own]),
        (404, "POST", "/clips/none/stop", &[cookie, own]),
        (404, "GET", "/clips/none", &[cookie]),
        (404, "GET", "/clips/none/clip.mp4", &[cookie]),
        (400, "GET", "/?since=yesterday", &[cookie]),
    ] {
        let answer = console.ask(method, path, headers);
        assert_eq!(answer.status, status, "{method} {path} {headers:?}");
        assert!(!answer.header("content-security-policy").is_empty());
    }
}

#[tokio::test]
async fn pages_filter_lead_on_and_keep_text_text() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::new(&stack, folder.path(), "console-pages").await;
    let mut executions: Vec<_> = (0..70)
        .map(|index| format!("wave-{index:02}"))
        .map(|clip| (name(&clip), available(&clip, "north")))
        .collect();
    executions.push((name("storm"), failing("storm", "TranscodeFailed", EVIL)));
    let mut strange = available("strange", EVIL);
    strange["outcome"]["clipId"] = EVIL.into();
    strange["metadata"] = serde_json::json!({ EVIL: EVIL });
    executions.push((name("strange"), strange));
    toy.run(executions).await;

    let console = Console::start(&stack, Some(&toy.stack_json), &[]);
    let cookie = console.cookie();
    let page = |path: &str| console.ask("GET", path, &[("cookie", &cookie)]).body;
    let rows = |page: &str| page.matches("<th class=\"clip\"").count();
    let first = page("/");
    // What began in the same millisecond stays together.
    let on_first = rows(&first);
    assert!((50..60).contains(&on_first), "{on_first}");
    let (_, older) = first.split_once("rel=\"next\" href=\"").expect("more");
    let older = older.split('"').next().unwrap_or_default();
    let second = page(&older.replace("&amp;", "&"));
    let all = on_first + rows(&second);
    assert_eq!(all, 72, "nothing is left out or shown twice");
    assert!(!second.contains("rel=\"next\""));
    for (query, count) in [
        ("status=failed", 1),
        ("error=TranscodeFailed", 1),
        ("error=TooLong", 0),
        ("camera=south", 0),
        ("text=WAVE-6", 10),
        ("status=available&camera=north&since=1h&text=wave-07", 1),
    ] {
        assert_eq!(rows(&page(&format!("/?{query}"))), count, "{query}");
    }
    for path in ["/", "/clips/strange", "/clips/storm", "/overview", "/rerun"] {
        let page = page(path);
        assert!(
            !page.contains("<script>") && !page.contains("<img src=x"),
            "{path}: {page}"
        );
    }
    let shown = page("/clips/storm");
    assert!(
        shown.contains("&lt;script&gt;") && shown.contains("TranscodeFailed"),
        "{shown}"
    );
}

#[tokio::test]
async fn read_only_console_offers_and_does_nothing() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::new(&stack, folder.path(), "console-read-only").await;
    let failed = failing("storm", "TranscodeFailed", "no");
    toy.run(vec![(name("storm"), failed)]).await;
    for (options, allowed) in [(&["--read-only"][..], false), (&[], true)] {
        let console = Console::start(&stack, Some(&toy.stack_json), options);
        let cookie = console.cookie();
        let headers = [("cookie", cookie.as_str()), ("origin", &console.origin)];
        let page = console.ask("GET", "/clips/storm", &headers).body;
        assert!(page.contains("TranscodeFailed"), "{page}");
        assert_eq!(page.contains("method=\"post\""), allowed);
        let form = [
            &headers[..],
            &[("content-type", "application/x-www-form-urlencoded")],
        ]
        .concat();
        let rerun = console.ask("POST", "/clips/storm/rerun", &form);
        assert_eq!(
            rerun.status,
            if allowed { 303 } else { 403 },
            "{}",
            rerun.body
        );
    }
}

#[tokio::test]
async fn first_page_of_a_thousand_executions_is_quick_and_light() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::new(&stack, folder.path(), "console-thousand").await;
    let executions = (0..1000)
        .map(|index| format!("wave-{index:04}"))
        .map(|clip| (name(&clip), available(&clip, "north")));
    toy.run(executions.collect()).await;
    let console = Console::start(&stack, Some(&toy.stack_json), &[]);
    let cookie = console.cookie();
    let headers = [("cookie", cookie.as_str())];
    let begun = Instant::now();
    let page = console.ask("GET", "/", &headers);
    let took = begun.elapsed();
    let assets = ["style.css", "console.js", "htmx.min.js", "icon.svg"];
    let assets = assets.map(|file| {
        console
            .ask("GET", &format!("/assets/{file}"), &headers)
            .body
    });
    let bytes = page.body.len() + assets.iter().map(String::len).sum::<usize>();
    println!("the first page took {took:?}; page and assets have {bytes} bytes");
    assert_eq!(page.body.matches("<th class=\"clip\"").count(), 50);
    // Three times what a quiet machine takes.
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert!(bytes < 150_000, "{bytes}");
}
