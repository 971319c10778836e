//! Models by name, against a hub that runs in the test: the same requests, answers and failures, no network.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use thinktune_text::hub::{BadHubName, HubName, HubSettings, dataset_file_with, resolve_with};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub does when asked for a file.
#[derive(Clone)]
enum Reply {
    File(Vec<u8>),
    /// Promises the whole and hangs up half way, until so many times have passed.
    Broken(Vec<u8>, usize),
    /// Elsewhere, as the hub keeps large files.
    Moved(Vec<u8>),
    /// A status and the value of `X-Error-Code`.
    Refuse(u16, &'static str),
}

/// A hub on a local port that serves one model, `org/tiny`.
struct Hub {
    endpoint: String,
    files: Arc<Mutex<BTreeMap<String, Reply>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(files: impl IntoIterator<Item = (&'static str, Reply)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files: BTreeMap<String, Reply> =
            files.into_iter().map(|(name, reply)| (name.into(), reply)).collect();
        let hub = Self { endpoint, files: Arc::new(Mutex::new(files)), requests: Arc::default() };
        let (files, requests) = (hub.files.clone(), hub.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up early is its own business.
                let _ = serve(stream, &files, &requests);
            }
        });
        hub
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn serve(
    stream: TcpStream,
    files: &Mutex<BTreeMap<String, Reply>>,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let token = headers.get("authorization").map_or("no token", String::as_str);
    let range = headers.get("range").map_or("", String::as_str);
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(format!("{target} {range} {token}"));
    let name = [
        "org/tiny/resolve/main",
        &format!("org/tiny/resolve/{COMMIT}"),
        "datasets/org/tiny/resolve/main",
        "datasets/org/tiny/resolve/refs%2Fconvert%2Fparquet",
        "elsewhere",
    ]
    .into_iter()
    .find_map(|folder| target.strip_prefix(&format!("/{folder}/")));
    let mut files = files.lock().unwrap();
    match name.map(|name| files.get_mut(name)) {
        None => refuse(
            stream,
            404,
            if target.starts_with("/org/tiny/") { "RevisionNotFound" } else { "RepoNotFound" },
        ),
        Some(None) => refuse(stream, 404, "EntryNotFound"),
        Some(Some(Reply::Refuse(status, code))) => refuse(stream, *status, code),
        Some(Some(Reply::Moved(body))) if target.starts_with("/elsewhere") => {
            send(stream, body, range, body.len())
        }
        Some(Some(Reply::Moved(_))) => {
            let place = format!("http://{}/elsewhere/model.safetensors", headers["host"]);
            redirect(stream, &place)
        }
        Some(Some(Reply::File(body))) => send(stream, body, range, body.len()),
        Some(Some(Reply::Broken(body, times))) => {
            let breaks = *times > 0 && range != "bytes=0-0";
            *times -= usize::from(breaks);
            send(stream, body, range, if breaks { body.len() / 2 } else { body.len() })
        }
    }
}

fn refuse(mut stream: TcpStream, status: u16, code: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} No\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn redirect(mut stream: TcpStream, place: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 302 Found\r\nLocation: {place}\r\nX-Linked-Etag: \"linked\"\r\nX-Repo-Commit: {COMMIT}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// Sends the range asked for, but nothing beyond `until`.
fn send(mut stream: TcpStream, body: &[u8], range: &str, until: usize) -> std::io::Result<()> {
    let (first, last) =
        range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(body.len(), |last: usize| (last + 1).min(body.len()));
    if first >= body.len() {
        return refuse(stream, 416, "");
    }
    write!(
        stream,
        "HTTP/1.1 206 Partial\r\nETag: \"{:x}-{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {first}-{}/{}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len(),
        body.iter().map(|byte| usize::from(*byte)).sum::<usize>(),
        end - 1,
        body.len(),
        end - first
    )?;
    stream.write_all(&body[first..end.min(until).max(first)])
}

fn text(content: &str) -> Reply {
    Reply::File(content.as_bytes().to_vec())
}

fn weights() -> Vec<u8> {
    (0..50_000u32).map(|at| (at % 251) as u8).collect()
}

fn tiny() -> Vec<(&'static str, Reply)> {
    vec![
        ("config.json", text("{\"model_type\": \"llama\"}")),
        ("tokenizer.json", text("{}")),
        ("tokenizer_config.json", text("{ }")),
        ("generation_config.json", text("{  }")),
        ("model.safetensors", Reply::File(weights())),
    ]
}

fn settings(endpoint: &str, cache: &TempDir) -> HubSettings {
    HubSettings {
        endpoint: endpoint.into(),
        cache: cache.path().join("hub"),
        token: None,
        offline: false,
        retries: 0,
        progress: false,
    }
}

fn cache() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[track_caller]
fn error(model: &str, revision: Option<&str>, settings: &HubSettings, parts: &[&str]) {
    let message = resolve_with(model, revision, settings).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_model_is_downloaded_once() {
    let (hub, cache) = (Hub::start(tiny()), cache());
    let settings = settings(&format!("{}/", hub.endpoint), &cache);
    let dir = resolve_with("org/tiny", None, &settings).unwrap();
    assert!(dir.ends_with(Path::new("hub/models--org--tiny/snapshots").join(COMMIT)), "{}", dir.display());
    let expected = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&dir), expected);
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let asked = hub.requests();
    assert!(asked[0].starts_with("/org/tiny/resolve/main/config.json bytes=0-0 no token"), "{asked:?}");
    assert!(
        asked.iter().any(|line| line.starts_with(&format!("/org/tiny/resolve/{COMMIT}/model.safetensors")))
    );

    assert_eq!(resolve_with("org/tiny", None, &settings).unwrap(), dir);
    assert_eq!(resolve_with("org/tiny", Some("main"), &settings).unwrap(), dir);
    assert_eq!(resolve_with("org/tiny", Some(COMMIT), &settings).unwrap(), dir);
    assert_eq!(hub.requests(), Vec::<String>::new());
}

#[test]
fn large_files_are_followed_to_where_they_are_kept() {
    let mut files = tiny();
    files.retain(|(name, _)| *name != "model.safetensors");
    files.push(("model.safetensors", Reply::Moved(weights())));
    let (hub, cache) = (Hub::start(files), cache());
    let dir = resolve_with("org/tiny", None, &settings(&hub.endpoint, &cache)).unwrap();
    let file = dir.join("model.safetensors");
    assert_eq!(fs::read(&file).unwrap(), weights());
    assert!(file.canonicalize().unwrap().ends_with("blobs/linked"));
}

#[test]
fn shards_are_fetched_by_their_index() {
    let index = r#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}}"#;
    let mut files = tiny();
    files.retain(|(name, _)| *name != "model.safetensors");
    files.push(("model.safetensors.index.json", text(index)));
    files.push(("model-1.safetensors", text("one")));
    let (hub, cache) = (Hub::start(files), cache());
    let settings = settings(&hub.endpoint, &cache);
    error("org/tiny", None, &settings, &["org/tiny", "no model-2.safetensors"]);
    hub.files.lock().unwrap().insert("model-2.safetensors".into(), text("two!"));
    // That the second shard is absent was remembered; the folder of such marks is what one clears.
    fs::remove_dir_all(cache.path().join("hub/models--org--tiny/.no_exist")).unwrap();
    let dir = resolve_with("org/tiny", None, &settings).unwrap();
    assert_eq!(fs::read_to_string(dir.join("model-1.safetensors")).unwrap(), "one");
    assert_eq!(fs::read_to_string(dir.join("model-2.safetensors")).unwrap(), "two!");
    let offline = HubSettings { offline: true, ..settings };
    assert_eq!(resolve_with("org/tiny", None, &offline).unwrap(), dir);
}

#[test]
fn an_index_may_not_name_foreign_paths() {
    for path in [
        "../../evil.safetensors",
        "/evil.safetensors",
        "a/b.safetensors",
        "..\\\\b.safetensors",
        "c:b.safetensors",
        "b.bin",
    ] {
        let mut files = tiny();
        files.retain(|(name, _)| *name != "model.safetensors");
        let index = format!(r#"{{"weight_map": {{"a": "model-1.safetensors", "b": "{path}"}}}}"#);
        files.push(("model.safetensors.index.json", text(&index)));
        files.push(("model-1.safetensors", text("one")));
        let (hub, cache) = (Hub::start(files), cache());
        let expected = "expected the name of a safetensors file in the same directory";
        error("org/tiny", None, &settings(&hub.endpoint, &cache), &[path, expected]);
        let asked = hub.requests();
        assert!(
            asked.iter().all(|request| !request.contains("evil") && !request.contains("model-1")),
            "{asked:?}"
        );
    }
}

#[test]
fn offline_uses_the_cache_and_nothing_else() {
    let (hub, cache) = (Hub::start(tiny()), cache());
    let online = settings(&hub.endpoint, &cache);
    let offline = HubSettings { offline: true, ..online.clone() };
    error("org/tiny", None, &offline, &["org/tiny", "config.json is not in the cache", "HF_HUB_OFFLINE"]);
    assert_eq!(hub.requests(), Vec::<String>::new());
    let dir = resolve_with("org/tiny", None, &online).unwrap();
    hub.requests();
    assert_eq!(resolve_with("org/tiny", None, &offline).unwrap(), dir);
    // A cache that another program filled has no marks of absent files.
    fs::remove_dir_all(cache.path().join("hub/models--org--tiny/.no_exist")).unwrap();
    assert_eq!(resolve_with("org/tiny", None, &offline).unwrap(), dir);
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    error("org/tiny", None, &offline, &["model.safetensors is not in the cache"]);
    assert_eq!(hub.requests(), Vec::<String>::new());
}

#[test]
fn the_token_is_sent_to_the_hub() {
    let (hub, cache) = (Hub::start(tiny()), cache());
    let settings = HubSettings { token: Some("hf_secret".into()), ..settings(&hub.endpoint, &cache) };
    resolve_with("org/tiny", None, &settings).unwrap();
    let asked = hub.requests();
    assert!(asked.len() > 5 && asked.iter().all(|line| line.ends_with("Bearer hf_secret")), "{asked:?}");
}

#[test]
fn refusals_say_how_to_get_in() {
    let cases: [(u16, &str, Option<&str>, &[&str]); 4] = [
        (401, "GatedRepo", None, &["access is restricted", "accept its terms", "/org/tiny", "HF_TOKEN"]),
        (403, "GatedRepo", Some("hf_x"), &["access is restricted", "HF_TOKEN"]),
        (
            401,
            "RepoNotFound",
            None,
            &["does not exist, or reading it takes a token", "check the spelling", "HF_TOKEN"],
        ),
        (401, "", Some("hf_x"), &["the token in use may not read it", "HF_TOKEN"]),
    ];
    for (status, code, token, parts) in cases {
        let (hub, cache) = (Hub::start([("config.json", Reply::Refuse(status, code))]), cache());
        let settings = HubSettings { token: token.map(str::to_owned), ..settings(&hub.endpoint, &cache) };
        error("org/tiny", None, &settings, parts);
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let (hub, cache) = (Hub::start(tiny()), cache());
    let settings = settings(&hub.endpoint, &cache);
    error(
        "org/nothing",
        None,
        &settings,
        &["org/nothing: not found on http://", "no directory of that name"],
    );
    error("org/tiny", Some("v9"), &settings, &["org/tiny at v9", "no revision `v9`"]);
    hub.files.lock().unwrap().remove("tokenizer.json");
    error(
        "org/tiny",
        None,
        &settings,
        &["no tokenizer.json", "only models with tokenizer.json and safetensors"],
    );
}

#[test]
fn a_model_without_safetensors_is_refused() {
    let mut files = tiny();
    files.retain(|(name, _)| *name != "model.safetensors");
    let (hub, cache) = (Hub::start(files), cache());
    let parts = ["no model.safetensors or model.safetensors.index.json"];
    error("org/tiny", None, &settings(&hub.endpoint, &cache), &parts);
}

#[test]
fn other_statuses_and_a_hub_that_is_away_are_named() {
    for (status, part) in [(500, "answered 500 when asked for config.json"), (429, "slow down (429)")] {
        let (hub, cache) = (Hub::start([("config.json", Reply::Refuse(status, ""))]), cache());
        error("org/tiny", None, &settings(&hub.endpoint, &cache), &[part]);
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cache = cache();
    let away = settings(&format!("http://127.0.0.1:{port}"), &cache);
    error("org/tiny", None, &away, &["cannot reach http://127.0.0.1", "HF_ENDPOINT", "HF_HUB_OFFLINE=1"]);
    error(
        "org/tiny",
        None,
        &settings("huggingface.co", &cache),
        &["HF_ENDPOINT is `huggingface.co`", "https://"],
    );
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_stopped() {
    let mut files = tiny();
    files.retain(|(name, _)| *name != "model.safetensors");
    files.push(("model.safetensors", Reply::Broken(weights(), 1)));
    let (hub, cache) = (Hub::start(files), cache());
    let settings = settings(&hub.endpoint, &cache);
    error(
        "org/tiny",
        None,
        &settings,
        &["the download of model.safetensors broke off", "run the same command"],
    );
    hub.requests();
    let dir = resolve_with("org/tiny", None, &settings).unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let asked = hub.requests();
    assert!(asked.iter().any(|line| line.contains("model.safetensors bytes=25000-")), "{asked:?}");
}

#[test]
fn retries_bridge_a_broken_transfer() {
    let mut files = tiny();
    files.retain(|(name, _)| *name != "model.safetensors");
    files.push(("model.safetensors", Reply::Broken(weights(), 1)));
    let (hub, cache) = (Hub::start(files), cache());
    let settings = HubSettings { retries: 2, ..settings(&hub.endpoint, &cache) };
    let dir = resolve_with("org/tiny", None, &settings).unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_leftover_that_cannot_be_resumed_is_dropped() {
    let (hub, cache) = (Hub::start(tiny()), cache());
    let settings = settings(&hub.endpoint, &cache);
    let dir = resolve_with("org/tiny", None, &settings).unwrap();
    let file = dir.join("model.safetensors");
    let blob = file.canonicalize().unwrap();
    for length in [50_000, 60_000] {
        fs::remove_file(&file).unwrap();
        fs::remove_file(&blob).unwrap();
        fs::write(blob.with_extension("part"), vec![7; length]).unwrap();
        resolve_with("org/tiny", None, &settings).unwrap();
        assert_eq!(fs::read(&file).unwrap(), weights());
    }
}

#[test]
fn directories_and_paths_never_reach_the_hub() {
    let (hub, cache) = (Hub::start(tiny()), cache());
    let settings = settings(&hub.endpoint, &cache);
    let here = cache.path().to_str().unwrap();
    assert_eq!(resolve_with(here, None, &settings).unwrap(), PathBuf::from(here));
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    error(file.to_str().unwrap(), None, &settings, &["is a file, expected the directory"]);
    for path in [
        "./missing",
        "../missing",
        "/missing/model",
        "a/b/c",
        "missing",
        "",
        "org/",
        "org/na me",
        "~/model",
        ".hidden/x",
    ] {
        error(path, None, &settings, &["no such directory", "org/name"]);
    }
    for revision in ["", "../x", "a b", "/x"] {
        error("org/tiny", Some(revision), &settings, &["is not a revision"]);
    }
    assert_eq!(hub.requests(), Vec::<String>::new());
}

#[test]
fn the_environment_is_read_as_the_hubs_tools_read_it() {
    let home = tempfile::tempdir().unwrap();
    let from = |pairs: &[(&str, &str)]| {
        let pairs: BTreeMap<String, OsString> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        HubSettings::from_lookup(&|name| pairs.get(name).cloned())
    };
    let plain = from(&[("HOME", "/home/me")]);
    assert_eq!(plain.endpoint, "https://huggingface.co");
    assert_eq!(plain.cache, PathBuf::from("/home/me/.cache/huggingface/hub"));
    assert_eq!((plain.token, plain.offline), (None, false));
    assert_eq!(from(&[("XDG_CACHE_HOME", "/x")]).cache, PathBuf::from("/x/huggingface/hub"));
    assert_eq!(from(&[("HF_HOME", "/h")]).cache, PathBuf::from("/h/hub"));
    assert_eq!(from(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]).cache, PathBuf::from("/c"));
    assert_eq!(from(&[("HF_ENDPOINT", "http://mirror")]).endpoint, "http://mirror");
    for (value, offline) in [("1", true), ("true", true), ("0", false), ("", false)] {
        assert_eq!(from(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
    }
    fs::write(home.path().join("token"), "hf_file\n").unwrap();
    fs::write(home.path().join("other"), "hf_other").unwrap();
    let at = home.path().to_str().unwrap();
    assert_eq!(from(&[("HF_HOME", at)]).token.as_deref(), Some("hf_file"));
    assert_eq!(from(&[("HF_HOME", at), ("HF_TOKEN", " hf_env ")]).token.as_deref(), Some("hf_env"));
    let other = home.path().join("other");
    assert_eq!(from(&[("HF_TOKEN_PATH", other.to_str().unwrap())]).token.as_deref(), Some("hf_other"));
}

#[test]
fn a_file_of_a_data_set_is_downloaded_once() {
    let (hub, cache) = (
        Hub::start([("main/test.parquet", text("rows")), ("gated", Reply::Refuse(403, "GatedRepo"))]),
        cache(),
    );
    let online = settings(&hub.endpoint, &cache);
    let offline = HubSettings { offline: true, ..online.clone() };
    let fetch = |file: &str, revision, settings: &HubSettings| {
        dataset_file_with("org/tiny", file, revision, settings).map_err(|error| error.to_string())
    };
    let missing = fetch("main/test.parquet", None, &offline).unwrap_err();
    assert!(missing.contains("data set org/tiny") && missing.contains("a folder of data"), "{missing}");
    let path = fetch("main/test.parquet", None, &online).unwrap();
    assert!(
        path.ends_with(format!("datasets--org--tiny/snapshots/{COMMIT}/main/test.parquet")),
        "{}",
        path.display()
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "rows");
    hub.requests();
    assert_eq!(fetch("main/test.parquet", None, &online).unwrap(), path);
    assert_eq!(fetch("main/test.parquet", None, &offline).unwrap(), path);
    assert_eq!(hub.requests(), Vec::<String>::new());

    let converted = Some("refs/convert/parquet");
    assert_eq!(fetch("main/test.parquet", converted, &online).unwrap(), path);
    assert_eq!(fetch("main/test.parquet", converted, &offline).unwrap(), path);
    let refused = fetch("gated", None, &online).unwrap_err();
    assert!(refused.contains("/datasets/org/tiny, then set HF_TOKEN"), "{refused}");
    let absent = fetch("absent.csv", None, &online).unwrap_err();
    assert!(absent.contains("the hub's copy has no absent.csv"), "{absent}");
}

#[test]
fn names_on_the_hub_have_one_form() {
    for (text, name, revision) in [
        ("org/name", "org/name", None),
        ("org/name@main", "org/name", Some("main")),
        ("my-org/Name_2.5@refs/pr/1", "my-org/Name_2.5", Some("refs/pr/1")),
    ] {
        let parsed: HubName = text.parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.revision.as_deref()), (name, revision));
        assert_eq!(parsed.to_string(), text);
    }
    for text in ["", "name", "org/", "/name", "a/b/c", "../name", "-a/b", "org/na me"] {
        assert!(matches!(text.parse::<HubName>(), Err(BadHubName::Name(_))), "{text}");
    }
    for text in ["org/name@", "org/name@a..b", "org/name@/x"] {
        assert!(matches!(text.parse::<HubName>(), Err(BadHubName::Revision(_))), "{text}");
    }
}
