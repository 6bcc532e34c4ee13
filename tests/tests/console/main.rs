//! `clipflow console` on the local stack: what it answers, and what a browser shows.

mod browser;
mod driver;
mod server;
mod toy;

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use server::Console;
use std::time::{Duration, Instant};
use tests::{Stack, eventually};
use toy::{Toy, available, failing, name, waiting};

/// A text that becomes markup if not escaped.
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
    // Executions that began in the same millisecond stay on the same page.
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
async fn bulk_rerun_continues_what_the_page_filters() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::new(&stack, folder.path(), "console-bulk").await;
    let mut arns = Vec::new();
    for (clip, error) in [
        ("one", "TranscodeFailed"),
        ("two", "TranscodeFailed"),
        ("other", "Internal"),
    ] {
        let arn = toy.start((name(clip), failing(clip, error, "no"))).await;
        stack.ended_execution(arn.clone()).await;
        arns.push(arn);
    }
    let console = Console::start(&stack, Some(&toy.stack_json), &[]);
    let cookie = console.cookie();
    let page = |path: &str| console.ask("GET", path, &[("cookie", &cookie)]).body;
    assert!(page("/rerun?error=TranscodeFailed").contains("Rerun 2 executions"));
    let begun = console.post("/rerun?error=TranscodeFailed", &cookie, "");
    assert_eq!(
        (begun.status, begun.header("location")),
        (303, "/rerun/progress")
    );
    eventually("the rerun to end", async || {
        page("/rerun/progress")
            .contains("2 of 2, done")
            .then_some(())
    })
    .await;
    let mut redrives = Vec::new();
    for arn in &arns {
        let described = stack.sfn.describe_execution().execution_arn(arn).send();
        redrives.push(described.await.expect("an execution").redrive_count);
    }
    assert_eq!(redrives, [Some(1), Some(1), Some(0)]);
}

#[tokio::test]
async fn running_execution_is_stopped_by_the_page() {
    let stack = Stack::connect().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::new(&stack, folder.path(), "console-stop").await;
    let arn = toy.start((name("endless"), waiting("endless"))).await;
    let console = Console::start(&stack, Some(&toy.stack_json), &[]);
    let cookie = console.cookie();
    let page = || {
        let path = "/clips/endless";
        console.ask("GET", path, &[("cookie", &cookie)]).body
    };
    assert!(page().contains("Stop now"));
    let stopped = console.post("/clips/endless/stop", &cookie, "how=stop");
    assert_eq!(stopped.status, 303, "{}", stopped.body);
    let ended = stack.sfn.describe_execution().execution_arn(arn).send();
    let ended = ended.await.expect("an execution");
    assert_eq!(ended.status.as_str(), "ABORTED");
    let page = page();
    assert!(
        page.contains("aborted") && !page.contains("Stop now"),
        "{page}"
    );
}

#[tokio::test]
async fn dead_letter_is_replayed_by_the_page() {
    let stack = Stack::connect().await;
    let letter = r#"{"clipId": "console-letter", "start": 2, "end": 1}"#;
    let send = stack.sqs.send_message().message_body(letter);
    let send = send.queue_url(&stack.description.dead_letter_queue_url);
    let sent = send.send().await.expect("a message");
    let id = sent.message_id.expect("its id");
    let console = Console::start(&stack, None, &[]);
    let cookie = console.cookie();
    let headers = [("cookie", cookie.as_str()), ("hx-request", "true")];
    let letters = console.ask("GET", "/dead-letters", &headers).body;
    assert!(letters.contains(&id), "{letters}");
    let replayed = console.post("/dead-letters/replay", &cookie, &format!("id={id}"));
    assert_eq!(replayed.status, 303, "{}", replayed.body);
    stack.document_that_is("console-letter", "rejected").await;
    let letters = console.ask("GET", "/dead-letters", &headers).body;
    assert!(!letters.contains(&id), "{letters}");
}

#[tokio::test]
async fn overview_says_what_waits_and_for_how_long() {
    let stack = Stack::connect().await;
    let queue = &stack.description.dead_letter_queue_url;
    let send = stack.sqs.send_message().queue_url(queue);
    let sent = send.message_body("not JSON").send().await;
    let id = sent.expect("a message").message_id.expect("its id");
    let dimension = Dimension::builder()
        .name("QueueName")
        .value(queue.rsplit('/').next().unwrap_or_default());
    let age = MetricDatum::builder()
        .metric_name("ApproximateAgeOfOldestMessage")
        .dimensions(dimension.build())
        .value(7_200.0);
    // On AWS, SQS does this itself.
    let put = stack.cloudwatch.put_metric_data().namespace("AWS/SQS");
    let put = put.metric_data(age.build()).send().await;
    put.expect("a metric");
    let console = Console::start(&stack, None, &[]);
    let cookie = console.cookie();
    let page = console.ask("GET", "/overview", &[("cookie", &cookie)]).body;
    let (_, row) = page.split_once("Dead letters of requests").expect("a row");
    let row = row.split("</tr>").next().unwrap_or_default();
    assert!(row.contains(">2 h<"), "{row}");
    let (dropped, code) = stack.clipflow(&["dlq", "drop", &id, "--yes"]);
    assert_eq!(code, 0, "{dropped}");
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
    // Three times what an idle machine takes.
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert!(bytes < 150_000, "{bytes}");
}
