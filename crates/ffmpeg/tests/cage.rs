//! A caged program cannot escape in any way that this machine's kernel can block. Each attempt succeeds outside.

use ffmpeg::{
    cage::{Cage, spawn, walls},
    process::{Ffmpeg, Input, Limits, on_path},
};
use std::{
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// Runs a program to its end, in a cage or outside. Returns its output, as an error if it failed.
async fn run(
    program: &Path,
    arguments: &[&str],
    cage: Option<&Cage<'_>>,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = match cage {
        Some(cage) => spawn(&mut command, cage),
        None => command.spawn(),
    };
    let output = child.expect("it starts").wait_with_output().await;
    let output = output.expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

/// Checks that a shell script works outside a cage and, if the kernel has the wall for it, not inside.
async fn is_kept(script: &str, cage: &Cage<'_>, has_wall: bool) {
    let shell = Path::new("/bin/bash");
    let outside = run(shell, &["-c", script], None).await;
    assert!(outside.is_ok(), "{script}: {outside:?}");
    let inside = run(shell, &["-c", script], Some(cage)).await;
    assert_eq!(inside.is_ok(), !has_wall, "{script}: {inside:?}");
}

fn ffmpeg() -> std::path::PathBuf {
    on_path().expect("ffmpeg on the PATH")
}

#[tokio::test]
async fn files_outside_of_the_folder_are_neither_read_nor_written() {
    let (inside, outside) = (tempfile::tempdir(), tempfile::tempdir());
    let (inside, outside) = (inside.expect("a folder"), outside.expect("a folder"));
    let file = |folder: &Path, name: &str| {
        let path = folder.join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (own, other) = (file(inside.path(), "own"), file(outside.path(), "other"));
    for path in [&own, &other] {
        std::fs::write(path, "some bytes").expect("a file");
    }
    let cage = Cage {
        folder: Some(inside.path()),
        ports: Vec::new(),
    };
    let to_own = file(inside.path(), "copy");
    let copy = |from: &str, to: &str| {
        let line = format!("-v error -y -f data -i {from} -map 0 -c copy -f data {to}");
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    for (arguments, is_kept) in [
        (copy("/etc/passwd", &to_own), walls().files),
        (copy(&other, &to_own), walls().files),
        (
            copy(&format!("concat:{own}|{other}"), &to_own),
            walls().files,
        ),
        (copy(&own, &file(outside.path(), "copy")), walls().files),
        (copy(&own, &to_own), false),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let outside = run(&ffmpeg(), &arguments, None).await;
        assert!(outside.is_ok(), "{arguments:?}: {outside:?}");
        let ended = run(&ffmpeg(), &arguments, Some(&cage)).await;
        assert_eq!(ended.is_ok(), !is_kept, "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn function_keeps_its_secrets() {
    let script = "read -r -d '' line < /proc/$PPID/environ && test -n \"$line\"";
    is_kept(script, &Cage::default(), walls().files).await;
}

#[tokio::test]
async fn no_connection_is_made_but_to_the_ports_that_are_named() {
    let canary = TcpListener::bind("127.0.0.1:0").expect("a port");
    canary
        .set_nonblocking(true)
        .expect("a socket without waiting");
    let served = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let connect = |port: u16| format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let connections = || std::iter::from_fn(|| canary.accept().ok()).count();
    let nowhere = Cage::default();
    let to_one = Cage {
        folder: None,
        ports: vec![port(&served)],
    };
    is_kept(
        &connect(port(&canary)),
        &nowhere,
        walls().calls || walls().ports,
    )
    .await;
    is_kept(&connect(port(&canary)), &to_one, walls().ports).await;
    is_kept(&connect(port(&served)), &to_one, false).await;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let datagram = format!(
        "echo x > /dev/udp/{}",
        socket
            .local_addr()
            .expect("an address")
            .to_string()
            .replace(':', "/")
    );
    is_kept(&datagram, &to_one, walls().calls).await;
    let (calls, ports) = (walls().calls, walls().ports);
    let unkept = usize::from(!calls && !ports) + usize::from(!ports);
    assert_eq!(connections(), 2 + unkept, "outside, and without a wall");

    let url = format!("http://127.0.0.1:{}/", port(&canary));
    let line = format!("-v error -rw_timeout 100000 -f data -i {url} -map 0 -c copy -f null -");
    let arguments: Vec<_> = line.split(' ').collect();
    let _ = run(&ffmpeg(), &arguments, Some(&to_one)).await;
    assert_eq!(connections(), usize::from(!ports));
    let _ = run(&ffmpeg(), &arguments, None).await;
    assert_eq!(connections(), 1);
}

#[tokio::test]
async fn no_process_is_started_and_no_other_program_is_run() {
    let cage = Cage::default();
    is_kept("(echo x) && exit $?", &cage, walls().calls).await;
    is_kept("exec /bin/ls /lib", &cage, walls().calls || walls().files).await;
    // Landlock would allow running this program again.
    is_kept("exec /bin/bash -c true", &cage, walls().calls).await;
}

/// A run cannot reach a file in the parent folder, however it is named.
#[tokio::test]
async fn runs_of_ffmpeg_are_caged() {
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    let source = "-v error -f lavfi -i testsrc2=size=64x64:duration=1 -c:v libx264 source.mp4";
    let mut make = Command::new(ffmpeg());
    let status = make
        .args(source.split(' '))
        .current_dir(above.path())
        .status();
    assert!(status.await.expect("ffmpeg").success());
    std::fs::copy(above.path().join("source.mp4"), folder.join("source.mp4")).expect("a copy");
    let ffmpeg = Ffmpeg::find().expect("ffmpeg");
    let limits = Limits {
        time: Duration::from_mins(1),
        file_bytes: 1 << 20,
    };
    let copy = async |from: &str, to: &str| {
        let output = ["-c", "copy", to].map(Into::into);
        ffmpeg
            .run(&folder, &[Input::mp4(from)], &output, limits)
            .await
    };
    assert_eq!(copy("source.mp4", "copy.mp4").await, Ok(()));
    for (from, to) in [("../source.mp4", "copy.mp4"), ("source.mp4", "../copy.mp4")] {
        let ended = copy(from, to).await;
        assert_eq!(
            ended.is_err(),
            walls().files,
            "from {from} to {to}: {ended:?}"
        );
    }
}
