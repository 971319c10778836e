//! A teacher over the network: the same run as with the same teacher in process, and a run that survives what
//! networks and servers do.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{TestFolder, files, word_problems};
use serde_json::Value;

const TEACHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/word-problems/teacher");

/// `thinktune serve` with the demo's teacher.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(place: &TestFolder) -> Self {
        let mut child = place
            .command(&["serve", TEACHER, "--port", "0", "--name", "teacher"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr =
            line.trim().strip_prefix("serving teacher at http://").and_then(|rest| rest.strip_suffix("/v1"));
        let addr = addr.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        Self { child, addr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The word problems' configuration with a teacher at `addr`.
fn remote(addr: SocketAddr, more: &str) -> String {
    let named = format!("teacher = \"{TEACHER}\"");
    let named =
        word_problems().lines().find(|line| line.starts_with("teacher = ")).map_or(named, str::to_owned);
    let table = format!("teacher = {{ url = \"http://{addr}/v1\", model = \"teacher\"{more} }}");
    word_problems().replace(&named, &table)
}

/// What two runs share whose teachers answer alike.
fn results(place: &TestFolder, run: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = files(&place.path(run));
    let apart = ["timings.jsonl", "provenance.json", "run.lock", "config.toml", "teacher_replies.jsonl"];
    found.retain(|(name, _)| !apart.contains(&name.as_str()));
    found
}

fn assert_same(place: &TestFolder, a: &str, b: &str) {
    let (expected, found) = (results(place, a), results(place, b));
    assert!(expected.iter().any(|(name, _)| name == "final/model.safetensors"));
    assert_eq!(expected.len(), found.len());
    for ((name, expected), (other, found)) in expected.iter().zip(&found) {
        assert_eq!(name, other);
        assert!(expected == found, "{name} differs");
    }
}

fn kept_replies(place: &TestFolder, run: &str) -> Vec<String> {
    let text = place.read(&format!("{run}/teacher_replies.jsonl"));
    let request =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["request"].as_str().unwrap().to_owned();
    text.lines().map(request).collect()
}

#[test]
fn a_run_equals_the_one_with_the_teacher_in_process_and_a_resumed_one_asks_nothing_twice() {
    let place = TestFolder::new();
    let server = Server::start(&place);
    place.write("local.toml", &word_problems());
    place.ok(&["train", "local.toml", "--set", "out=runs/local"]);
    assert!(place.read("runs/local/rollouts/step_000001.jsonl").contains("\"guided\":true"));
    place.write("remote.toml", &remote(server.addr, ""));
    place.ok(&["train", "remote.toml", "--set", "out=runs/remote"]);
    assert_same(&place, "runs/local", "runs/remote");

    let completions = format!(", api = \"completions\", tokenizer = \"{TEACHER}\"");
    place.write("ids.toml", &remote(server.addr, &completions));
    place.ok(&["train", "ids.toml", "--set", "out=runs/ids"]);
    assert_same(&place, "runs/local", "runs/ids");

    // all four steps asked, the last checkpoint after the second, and nobody to ask any more
    let args = ["train", "remote.toml", "--set", "out=runs/killed"];
    place.start_until(&args, Some("checkpoint:4"), "stalled at").kill();
    drop(server);
    place.ok(&args);
    assert_same(&place, "runs/local", "runs/killed");
    let mut requests = kept_replies(&place, "runs/killed");
    let asked = requests.len();
    requests.sort();
    requests.dedup();
    assert!(asked > 8, "{asked} replies");
    assert_eq!(requests.len(), asked, "nothing was asked twice");
}

#[test]
fn a_begun_reply_and_drawn_examples_are_the_same_from_afar() {
    let place = TestFolder::new();
    let server = Server::start(&place);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../method/prompts/word-problems/guidance.toml");
    let set = std::fs::read_to_string(shipped).unwrap();
    place.write("mine.toml", &format!("prefill = '<opinion>'\norder = 'random'\nshown = 3\n{set}"));
    let completions = format!(", api = \"completions\", tokenizer = \"{TEACHER}\"");
    place.write("local.toml", &word_problems());
    place.write("ids.toml", &remote(server.addr, &completions));
    for run in ["local", "ids"] {
        let out = format!("out=runs/{run}");
        place.ok(&["train", &format!("{run}.toml"), "--set", &out, "--set", "guidance.prompts=mine.toml"]);
    }
    assert_same(&place, "runs/local", "runs/ids");
    assert!(place.read("runs/ids/rollouts/step_000001.jsonl").contains("\"feedback\":\"<opinion>"));
    let provenance = place.read("runs/local/provenance.json");
    assert!(provenance.contains("\"prompts\": \""), "{provenance}");
    place.write("mine.toml", &set);
    let again = ["train", "local.toml", "--set", "out=runs/local", "--set", "guidance.prompts=mine.toml"];
    place.fails(&again, 2, &["prompts"]);
}

/// Stands before a server and spoils answers: the n-th request as `fault` says, the rest go through.
fn spoiler(server: SocketAddr, fault: fn(usize) -> Fault) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let number = count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || spoil(stream, server, fault(number)));
        }
    });
    (addr, requests)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Garbage,
    WrongJson,
    Status(u16),
    HangUp,
    HalfAnAnswer,
    Silence,
    Endless,
}

fn spoil(mut stream: TcpStream, server: SocketAddr, fault: Fault) {
    let Some(request) = read_request(&mut stream) else { return };
    let answer = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    };
    let text = match fault {
        Fault::None => forward(&request, server),
        Fault::Garbage => answer("200 OK", "\u{1}<html>not what you want"),
        Fault::WrongJson => {
            answer("200 OK", "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":7}}]}")
        }
        Fault::Status(429) => {
            answer("429 Too Many Requests", "{}").replace("Connection", "Retry-After: 1\r\nConnection")
        }
        Fault::Status(status) => answer(&format!("{status} Oh"), "{}"),
        Fault::HangUp => return,
        Fault::HalfAnAnswer => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choices\":[".into(),
        Fault::Silence => return std::thread::sleep(Duration::from_secs(30)),
        Fault::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes());
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(format!("{head}Connection: close\r\n\r\n{}", String::from_utf8(body).ok()?))
}

fn forward(request: &str, server: SocketAddr) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Every fault once in a while, never twice for the same request in a row of retries.
fn now_and_then(request: usize) -> Fault {
    let faults = [
        Fault::Garbage,
        Fault::Status(500),
        Fault::HangUp,
        Fault::WrongJson,
        Fault::Status(429),
        Fault::HalfAnAnswer,
        Fault::Status(503),
    ];
    if request % 4 == 1 { faults[request / 4 % faults.len()] } else { Fault::None }
}

#[test]
fn faults_that_pass_change_nothing() {
    let place = TestFolder::new();
    let server = Server::start(&place);
    let (spoilt, requests) = spoiler(server.addr, now_and_then);
    place.write("local.toml", &word_problems());
    place.ok(&["train", "local.toml", "--set", "out=runs/local"]);
    place.write("remote.toml", &remote(spoilt, ", retries = 8"));
    place.ok(&["train", "remote.toml", "--set", "out=runs/remote"]);
    assert_same(&place, "runs/local", "runs/remote");
    let (asked, kept) = (requests.load(Ordering::SeqCst), kept_replies(&place, "runs/remote").len());
    assert!(asked > kept + 3, "{asked} requests for {kept} replies: the faults are part of it");
}

/// As when it is killed and started again while the run goes on.
#[test]
fn a_server_that_is_away_for_a_while_costs_the_guidance_of_that_while() {
    let place = TestFolder::new();
    let server = Server::start(&place);
    let away = |request: usize| if (6..14).contains(&request) { Fault::HangUp } else { Fault::None };
    let (spoilt, _) = spoiler(server.addr, away);
    place.write("remote.toml", &remote(spoilt, ", retries = 0"));
    place.ok(&["train", "remote.toml", "--set", "out=runs/remote"]);
    let lines = place.read("runs/remote/metrics.jsonl");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = |of: &dyn Fn(&Value) -> &Value| lines.iter().filter_map(|line| of(line).as_u64()).sum::<u64>();
    assert_eq!(lines.len(), 4);
    assert_eq!(sum(&|line| &line["rejected"]["teacher_unreachable"]), 8);
    assert!(sum(&|line| &line["guided"]) > 4, "the others were guided");
    assert!(lines[3]["guided"].as_u64() > Some(0), "and so it goes on");
}

#[test]
fn a_server_that_fails_costs_guidance_and_is_counted_by_its_reason() {
    let place = TestFolder::new();
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    for (fault, reason) in [
        ((|_| Fault::Garbage) as fn(usize) -> Fault, "teacher_bad_answer"),
        (|_| Fault::WrongJson, "teacher_bad_answer"),
        (|_| Fault::Status(500), "teacher_server_error"),
        (|_| Fault::Status(403), "teacher_refused"),
        (|_| Fault::Status(302), "teacher_refused"),
        (|_| Fault::HangUp, "teacher_unreachable"),
        (|_| Fault::Silence, "teacher_timed_out"),
        (|_| Fault::Endless, "teacher_bad_answer"),
    ] {
        let (spoilt, _) = spoiler(nowhere, fault);
        let more = ", retries = 0, timeout_seconds = 1, concurrency = 16";
        place.write("remote.toml", &remote(spoilt, more));
        let out = format!("out=runs/{reason}-{}", spoilt.port());
        let args = ["train", "remote.toml", "--set", &out, "--set", "run.steps=2"];
        place.fails(
            &args,
            1,
            &["nobody was guided", &format!("not used: {reason}"), "see the teacher's server"],
        );
        let metrics = place.read(&format!("{}/metrics.jsonl", &out[4..]));
        for line in metrics.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["chosen"].as_u64() > Some(0) && line["guided"] == 0, "{line}");
            assert_eq!(line["rejected"][reason], line["chosen"], "{}", line["rejected"]);
        }
    }
}

#[test]
fn a_server_that_stays_away_ends_the_run_and_one_that_comes_back_lets_it_go_on() {
    let place = TestFolder::new();
    let server = Server::start(&place);
    place.write("local.toml", &word_problems());
    place.ok(&["train", "local.toml", "--set", "out=runs/local"]);
    place.write("remote.toml", &remote("127.0.0.1:9".parse().unwrap(), ", retries = 1"));
    let args = ["train", "remote.toml", "--set", "out=runs/remote", "--set", "guidance.max_unguided_steps=1"];
    place.fails(&args, 1, &["teacher_unreachable", "guidance.max_unguided_steps"]);
    // nothing is learnt without guidance that a later start would have to undo: no checkpoint was made
    let url = format!("guidance.teacher.url=http://{}/v1", server.addr);
    let again = [&args[..], &["--set", &url]].concat();
    place.ok(&again);
    assert_same(&place, "runs/local", "runs/remote");
}

#[test]
fn the_key_comes_from_the_environment_and_stays_there() {
    let place = TestFolder::new();
    let mut child = place
        .command(&["serve", TEACHER, "--port", "0", "--name", "teacher"])
        .env("THINKTUNE_API_KEY", "open sesame")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr =
        line.trim().trim_start_matches("serving teacher at http://").trim_end_matches("/v1").parse().unwrap();
    let server = Server { child, addr };
    place.write("remote.toml", &remote(server.addr, ", key_env = \"TEACHERS_KEY\""));
    let args = ["train", "remote.toml", "--set", "run.steps=1"];
    place.fails(&args, 2, &["guidance.teacher.key_env", "TEACHERS_KEY", "not set"]);
    let run = |key: &str, guided: bool| {
        let output = place.command(&args).env("TEACHERS_KEY", key).output().unwrap();
        assert_eq!(output.status.success(), guided, "{}", String::from_utf8_lossy(&output.stderr));
        place.read("runs/remote/metrics.jsonl")
    };
    assert!(run("open", false).contains("teacher_refused"));
    std::fs::remove_dir_all(place.path("runs/remote")).unwrap();
    assert!(!run("open sesame", true).contains("teacher_refused"));
    for (name, bytes) in files(&place.path("runs/remote")) {
        let found = bytes.windows(11).any(|window| window == b"open sesame");
        assert!(!found, "{name} holds the key");
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_server_with_0() {
    let place = TestFolder::new();
    let mut server = Server::start(&place);
    let status =
        std::process::Command::new("kill").args(["-INT", &server.child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    place.fails(&["serve", "nowhere"], 2, &["nowhere"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    place.fails(&["serve", TEACHER, "--port", &port], 1, &["cannot listen on 127.0.0.1"]);
    place.fails(&["serve", TEACHER, "--api-key", " "], 2, &["is empty"]);
}
