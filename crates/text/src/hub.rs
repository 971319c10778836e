//! A model by name: a directory, or `org/name` on the model hub, downloaded once into the shared cache; and files of
//! the hub's data sets.
//!
//! The cache is the one other programs of the hub use, so what they downloaded is found here and the reverse.
//! A revision that is complete in the cache is used as it is, without asking the network: the same
//! command gives the same model until another revision is named or the cache is cleared.

mod settings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::{CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, shard_names};

pub use settings::HubSettings;

/// The directory of a model: `model` itself where it is one, else the hub's model of that name at `revision`
/// (`main` by default), downloaded where the cache lacks it. `offline` forbids the network, as `HF_HUB_OFFLINE` does.
///
/// # Errors
/// A path that does not exist; a model that is unknown, gated, or not cached while offline; a transfer that fails.
pub fn resolve(model: &str, revision: Option<&str>, offline: bool) -> Result<PathBuf, ModelError> {
    let settings = HubSettings::from_env();
    resolve_with(model, revision, &HubSettings { offline: offline || settings.offline, ..settings })
}

/// [`resolve`] with settings given instead of read from the environment.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(
    model: &str,
    revision: Option<&str>,
    settings: &HubSettings,
) -> Result<PathBuf, ModelError> {
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.exists() {
        return Err(ModelError::bad_file(path, "is a file, expected the directory that holds it"));
    }
    if !is_hub_name(model) {
        return Err(ModelError::bad_file(
            path,
            "no such directory, nor is it a name on the model hub, which has the form org/name",
        ));
    }
    let revision = revision.unwrap_or("main");
    if !is_revision(revision) {
        return Err(ModelError::BadInput(format!(
            "`{revision}` is not a revision: expected a branch, tag or commit"
        )));
    }
    Download::new(RepoType::Model, model, revision, settings)?.run()
}

/// A file of a data set: the hub's `file` of `repo` at `revision` (`main` by default), downloaded where the cache
/// lacks it. `offline` forbids the network, as `HF_HUB_OFFLINE` does.
///
/// # Errors
/// A data set or file that is unknown, gated, or not cached while offline; a transfer that fails.
pub fn dataset_file(
    repo: &str,
    file: &str,
    revision: Option<&str>,
    offline: bool,
) -> Result<PathBuf, ModelError> {
    let settings = HubSettings::from_env();
    let settings = HubSettings { offline: offline || settings.offline, ..settings };
    dataset_file_with(repo, file, revision, &settings)
}

/// [`dataset_file`] with settings given instead of read from the environment.
///
/// # Errors
/// As [`dataset_file`].
pub fn dataset_file_with(
    repo: &str,
    file: &str,
    revision: Option<&str>,
    settings: &HubSettings,
) -> Result<PathBuf, ModelError> {
    let revision = revision.unwrap_or("main");
    Download::new(RepoType::Dataset, repo, revision, settings)?.need(file, revision)
}

/// A model's name on the hub: `org/name`, or `org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `org/name`.
    pub name: String,
    /// Branch, tag or commit.
    pub revision: Option<String>,
}

/// A text that is no name on the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHubName {
    /// The part before `@` is not of the form.
    #[error("{0:?} is not of the form org/name")]
    Name(String),
    /// The part after `@` is not a revision.
    #[error("{0:?} is not a revision: expected a branch, tag or commit")]
    Revision(String),
}

impl FromStr for HubName {
    type Err = BadHubName;

    fn from_str(text: &str) -> Result<Self, BadHubName> {
        let (name, revision) =
            text.split_once('@').map_or((text, None), |(name, revision)| (name, Some(revision)));
        if !is_hub_name(name) {
            return Err(BadHubName::Name(name.into()));
        }
        if let Some(revision) = revision.filter(|revision| !is_revision(revision)) {
            return Err(BadHubName::Revision(revision.into()));
        }
        Ok(Self { name: name.into(), revision: revision.map(String::from) })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// `org/name` of letters, digits, `-`, `_`, `.`; what begins with a dot is a path.
pub fn is_hub_name(model: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    matches!(model.split('/').collect::<Vec<_>>()[..], [org, name] if plain(org) && plain(name))
}

fn is_revision(revision: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !revision.is_empty()
        && revision.chars().all(allowed)
        && !revision.contains("..")
        && !revision.starts_with('/')
}

/// Error code of the hub for a file that a known model lacks.
const ENTRY_NOT_FOUND: &str = "EntryNotFound";

/// Recognises the name of a commit, whose files never change.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Files that a model may lack; an absence is remembered, so that the hub is asked once.
const OPTIONAL: [&str; 4] =
    ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja"];

/// A file in the cache, or its absence from the hub.
enum HubFile {
    Cached(PathBuf),
    Absent,
}

/// One model, or file of a data set, being brought into the cache.
struct Download<'a> {
    kind: RepoType,
    model: &'a str,
    revision: &'a str,
    settings: &'a HubSettings,
    folder: PathBuf,
    api: Option<Api>,
}

impl<'a> Download<'a> {
    fn new(
        kind: RepoType,
        model: &'a str,
        revision: &'a str,
        settings: &'a HubSettings,
    ) -> Result<Self, ModelError> {
        let cache =
            std::path::absolute(&settings.cache).map_err(|error| ModelError::io(&settings.cache, error))?;
        let folder = cache.join(Repo::new(model.to_owned(), kind).folder_name());
        let api = if settings.offline { None } else { Some(client(&cache, settings)?) };
        Ok(Self { kind, model, revision, settings, folder, api })
    }

    /// Every file from one commit: the one the revision stands for when the first is fetched.
    fn run(&self) -> Result<PathBuf, ModelError> {
        let config = self.need(CONFIG_FILE, self.revision)?;
        let snapshot = config.parent().unwrap_or(&config);
        let commit = snapshot.file_name().and_then(|name| name.to_str()).unwrap_or(self.revision).to_owned();
        self.need("tokenizer.json", &commit)?;
        for name in OPTIONAL {
            self.get(name, &commit)?;
        }
        if let HubFile::Absent = self.get(WEIGHTS_FILE, &commit)? {
            let index = match self.get(INDEX_FILE, &commit)? {
                HubFile::Cached(path) => path,
                HubFile::Absent => return Err(self.lacks(&format!("{WEIGHTS_FILE} or {INDEX_FILE}"))),
            };
            for shard in shards(&index)? {
                self.need(&shard, &commit)?;
            }
        }
        Ok(snapshot.to_owned())
    }

    fn need(&self, file: &str, revision: &str) -> Result<PathBuf, ModelError> {
        match self.get(file, revision)? {
            HubFile::Cached(path) => Ok(path),
            HubFile::Absent => Err(self.lacks(file)),
        }
    }

    fn get(&self, file: &str, revision: &str) -> Result<HubFile, ModelError> {
        if let Some(path) = self.cached(file, revision) {
            return Ok(HubFile::Cached(path));
        }
        let absent = self.folder.join(".no_exist").join(revision).join(file);
        if absent.exists() {
            return Ok(HubFile::Absent);
        }
        let Some(api) = &self.api else {
            return self.not_cached(file, revision);
        };
        let repo = Repo::with_revision(self.model.to_owned(), self.kind, revision.to_owned());
        let repo = api.repo(repo);
        let answer = match repo.download(file) {
            Err(error) if cannot_resume(&error) => {
                self.discard_partial();
                repo.download(file)
            }
            answer => answer,
        };
        match answer {
            Ok(path) => Ok(HubFile::Cached(path)),
            Err(error) if lacks_file(file, &error) => {
                if is_commit(revision) && code(&error) == ENTRY_NOT_FOUND {
                    remember_absence(&absent);
                }
                Ok(HubFile::Absent)
            }
            Err(error) => Err(self.failure(file, &error)),
        }
    }

    /// Drops what earlier, broken transfers left.
    fn discard_partial(&self) {
        let entries = std::fs::read_dir(self.folder.join("blobs")).into_iter().flatten().flatten();
        for path in
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "part"))
        {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Offline: a file without which a model is complete is taken to be absent.
    fn not_cached(&self, file: &str, revision: &str) -> Result<HubFile, ModelError> {
        let weights_elsewhere = file == WEIGHTS_FILE && self.cached(INDEX_FILE, revision).is_some();
        if OPTIONAL.contains(&file) || weights_elsewhere {
            return Ok(HubFile::Absent);
        }
        Err(ModelError::Download(format!(
            "{}: {file} is not in the cache ({}) and the network is switched off; \
             run once without the offline switch (HF_HUB_OFFLINE), or give the path of {}",
            self.name(),
            self.folder.display(),
            self.local()
        )))
    }

    /// Path of a file in the cache, by revision or commit.
    fn cached(&self, file: &str, revision: &str) -> Option<PathBuf> {
        let commit = std::fs::read_to_string(self.folder.join("refs").join(revision));
        let commit = commit.map_or_else(|_| revision.to_owned(), |text| text.trim().to_owned());
        Some(self.folder.join("snapshots").join(commit).join(file)).filter(|path| path.is_file())
    }

    fn name(&self) -> String {
        let kind = if self.is_model() { "" } else { "data set " };
        if self.revision == "main" {
            format!("{kind}{}", self.model)
        } else {
            format!("{kind}{} at {}", self.model, self.revision)
        }
    }

    fn is_model(&self) -> bool {
        matches!(self.kind, RepoType::Model)
    }

    /// Kind of path that may be named instead.
    fn local(&self) -> &'static str {
        if self.is_model() { "a model directory" } else { "a folder of data" }
    }

    /// Its page on the hub.
    fn page(&self) -> String {
        let folder = if self.is_model() { "" } else { "datasets/" };
        format!("{}/{folder}{}", self.settings.endpoint, self.model)
    }

    fn lacks(&self, file: &str) -> ModelError {
        let expected = if self.is_model() {
            "only models with tokenizer.json and safetensors weights can be used"
        } else {
            "it may have been moved there; download the data yourself and give the path of their folder"
        };
        ModelError::Download(format!("{}: the hub's copy has no {file}; {expected}", self.name()))
    }

    fn failure(&self, file: &str, error: &ApiError) -> ModelError {
        let name = self.name();
        let endpoint = &self.settings.endpoint;
        let message = match status(error) {
            Some(401 | 403) => self.refused(error),
            Some(404) if code(error) == "RevisionNotFound" => {
                format!("{name}: {endpoint} has it, but no revision `{}`", self.revision)
            }
            Some(404) => {
                format!(
                    "{name}: not found on {endpoint}, and there is no directory of that name; check the spelling, or give the path of {}",
                    self.local()
                )
            }
            Some(429) => format!("{name}: {endpoint} asks to slow down (429); try again in some minutes"),
            Some(other) => {
                format!("{name}: {endpoint} answered {other} when asked for {file}; try again later")
            }
            None if is_unreachable(error) => format!(
                "{name}: there is no directory of that name, and the program cannot reach {endpoint} ({}); check the network or HF_ENDPOINT, give the path of {}, \
                 or set HF_HUB_OFFLINE=1 to use what the cache holds",
                cause(error),
                self.local()
            ),
            None if matches!(error, ApiError::LockAcquisition(_)) => {
                format!("{name}: another process is downloading {file}; run the same command when it is done")
            }
            None => format!(
                "{name}: the download of {file} broke off ({}); run the same command to go on where it stopped",
                cause(error)
            ),
        };
        ModelError::Download(message)
    }

    fn refused(&self, error: &ApiError) -> String {
        let (name, page, endpoint) = (self.name(), self.page(), &self.settings.endpoint);
        match (&self.settings.token, code(error).as_str()) {
            (_, "GatedRepo") => format!(
                "{name}: access is restricted; accept its terms at {page}, then set HF_TOKEN to a token \
                 of that account (made under {endpoint}/settings/tokens)"
            ),
            (Some(_), _) => format!(
                "{name}: the token in use may not read it, or it does not exist; check the spelling, \
                 and set HF_TOKEN to a token of an account with access"
            ),
            (None, _) => format!(
                "{name}: it does not exist, or reading it takes a token; check the spelling, or set HF_TOKEN to a token \
                 made under {endpoint}/settings/tokens"
            ),
        }
    }
}

fn client(cache: &Path, settings: &HubSettings) -> Result<Api, ModelError> {
    let endpoint = settings.endpoint.trim_end_matches('/');
    if !(endpoint.starts_with("http://") || endpoint.starts_with("https://")) {
        let message = format!("HF_ENDPOINT is `{endpoint}`, expected an address that begins with https://");
        return Err(ModelError::BadInput(message));
    }
    ApiBuilder::from_cache(Cache::new(cache.to_owned()))
        .with_endpoint(endpoint.to_owned())
        .with_token(settings.token.clone())
        .with_retries(settings.retries)
        .with_progress(settings.progress)
        .build()
        .map_err(|error| ModelError::Download(format!("cannot set up the connection: {error}")))
}

/// The shards an index names.
fn shards(index: &Path) -> Result<Vec<String>, ModelError> {
    let text = std::fs::read_to_string(index).map_err(|error| ModelError::io(index, error))?;
    shard_names(index, &text)
}

/// An empty file under `.no_exist`, as the hub's own tools leave it. Without it the question is asked again, no more.
fn remember_absence(marker: &Path) {
    if let Some(parent) = marker.parent() {
        let _ = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(marker, ""));
    }
}

/// The hub has the model but not this file. Mirrors may leave out the reason; without it, a missing
/// `config.json` rather means a missing model.
fn lacks_file(file: &str, error: &ApiError) -> bool {
    status(error) == Some(404)
        && match code(error).as_str() {
            ENTRY_NOT_FOUND => true,
            "" => file != CONFIG_FILE,
            _ => false,
        }
}

/// Recognises a partial file that is as long as the whole, or longer.
fn cannot_resume(error: &ApiError) -> bool {
    matches!(error, ApiError::InvalidResume) || status(error) == Some(416)
}

fn request_error(error: &ApiError) -> Option<&ureq::Error> {
    match error {
        ApiError::RequestError(inner) => Some(inner),
        ApiError::TooManyRetries(inner) => request_error(inner),
        _ => None,
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match request_error(error)? {
        ureq::Error::Status(status, _) => Some(*status),
        ureq::Error::Transport(_) => None,
    }
}

/// Error code of the hub beside the status: `EntryNotFound`, `RepoNotFound`, `RevisionNotFound`, `GatedRepo`.
fn code(error: &ApiError) -> String {
    match request_error(error) {
        Some(ureq::Error::Status(_, response)) => {
            response.header("x-error-code").unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

fn is_unreachable(error: &ApiError) -> bool {
    matches!(request_error(error), Some(ureq::Error::Transport(_)))
}

fn cause(error: &ApiError) -> String {
    match error {
        ApiError::TooManyRetries(inner) => cause(inner),
        ApiError::RequestError(inner) => inner.to_string(),
        other => other.to_string(),
    }
}
