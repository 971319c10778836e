//! `thinktune serve`: a model behind an OpenAI-compatible HTTP server.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::json;
use thinktune_model::FrozenModel;
use thinktune_serve::{ServerSettings, Stop, serve};
use thinktune_text::ChatTokenizer;

use crate::args::{Common, ServeArgs};
use crate::commands::print;
use crate::failure::UsageError;
use crate::model_source::ModelSource;

/// Silence after which a stream sends a comment: less than the timeouts of common proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Holds the API key where the command line does not.
const KEY_VARIABLE: &str = "THINKTUNE_API_KEY";

/// Serves until Ctrl-C.
pub fn run(args: &ServeArgs, common: Common) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let place = ModelSource::named(&args.model)?;
    // a port that is taken is said before a large model is loaded
    let listener = listen(args)?;
    let address = listener.local_addr()?;
    warn_if_reachable(address, settings.api_key.is_some());
    let dir = place.fetch(common.offline)?;
    let tokenizer = ChatTokenizer::load(&dir, &args.date)?;
    let model = FrozenModel::load(&dir, args.device, args.precision.into())?;
    tokenizer.check_vocab(model.spec().vocab_size)?;
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let (name, url) = (&settings.name, format!("http://{address}/v1"));
    if args.json {
        print(&json!({ "name": name, "url": url }).to_string())?;
    } else {
        print(&format!("serving {name} at {url}"))?;
    }
    serve(&mut *model.into_batcher(), tokenizer, settings, listener, &stop)?;
    Ok(())
}

fn settings(args: &ServeArgs) -> Result<ServerSettings, UsageError> {
    let api_key = args.api_key.clone().or_else(|| std::env::var(KEY_VARIABLE).ok());
    if api_key.as_deref().is_some_and(|key| key.trim().is_empty()) {
        return Err(UsageError(format!(
            "--api-key, or {KEY_VARIABLE}, is empty: expected a key, or nothing"
        )));
    }
    let last = args.model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Ok(ServerSettings {
        name: args.name.clone().unwrap_or_else(|| last.to_owned()),
        api_key,
        max_body_bytes: (args.max_body as usize) << 20,
        max_samples: args.max_samples as usize,
        grace: Duration::from_secs(args.grace.into()),
        keep_alive: KEEP_ALIVE,
        seed: args.seed,
        clock: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    })
}

fn listen(args: &ServeArgs) -> anyhow::Result<TcpListener> {
    let found = (args.host.as_str(), args.port).to_socket_addrs();
    let found: Vec<SocketAddr> = found
        .map_err(|error| {
            UsageError(format!("--host {}: expected an address or a name ({error})", args.host))
        })?
        .collect();
    TcpListener::bind(&found[..]).with_context(|| format!("cannot listen on {}:{}", args.host, args.port))
}

fn warn_if_reachable(address: SocketAddr, keyed: bool) {
    if !address.ip().is_loopback() {
        let who = if keyed { "who knows the key" } else { "who asks: there is no --api-key" };
        eprintln!("warning: other machines can reach {address}, which answers everybody {who}");
    }
}

/// The first signal lets requests in flight end, the second does not.
fn stop_on_signals(stop: &Stop) -> anyhow::Result<()> {
    let (stop, again) = (stop.clone(), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        if again.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nthinktune: ending the requests in flight; press Ctrl-C again to stop at once");
        stop.stop();
    })?;
    Ok(())
}
