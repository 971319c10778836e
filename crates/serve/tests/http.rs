//! The server from outside: answers, streams, refusals, an orderly end.

mod common;

use std::time::{Duration, Instant};

use common::{Server, chat, frozen, streamed_text, tokenizer};
use serde_json::{Value, json};
use thinktune_policy::{Generate, Message, Prompt, SampleKey, Sampling, Score, Stream, TokenBatch};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// `base` with other fields.
fn with(mut base: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

#[test]
fn answers_are_those_of_generate() {
    let server = Server::start();
    let (mut model, tokenizer) = (frozen(server.dir.path()), tokenizer(server.dir.path()));
    let prompt = tokenizer.prompt_ids(&[Message::user("Ann has 3 pens.")]).unwrap();
    let mut sampling = Sampling::plain(77, 20, tokenizer.stop().to_vec());
    (sampling.temperature, sampling.top_p) = (0.8, 0.9);
    let mut expected = |keys: Vec<SampleKey>| {
        let prompt = Prompt { tokens: prompt.clone().into(), keys };
        model.generate(&[prompt], &sampling, &mut |_| ()).unwrap().concat()
    };
    let key = |sample| SampleKey { stream: Stream::Serve, step: 0, question: 0, sample };
    let fields =
        json!({ "seed": 77, "max_tokens": 20, "temperature": 0.8, "top_p": 0.9, "n": 3, "thinktune": {} });
    let answer = server.ok(CHAT, &with(chat("Ann has 3 pens."), fields.clone()));
    for (index, completion) in expected((0..3).map(key).collect()).iter().enumerate() {
        let choice = &answer["choices"][index];
        assert_eq!(choice["thinktune"]["tokens"], json!(completion.tokens));
        let ended = choice["finish_reason"] == "stop";
        let said = &completion.tokens[..completion.tokens.len() - usize::from(ended)];
        assert_eq!(choice["message"]["content"], tokenizer.decode(said));
        assert_eq!(choice["thinktune"]["text"], tokenizer.decode_raw(said));
    }
    // any key by name, as a teacher over the network is asked
    let named = SampleKey { stream: Stream::Teacher, step: 4, question: 9, sample: 2 };
    let extension = json!({ "n": 1, "seed": 0, "thinktune": { "key": [1, 4, 9, 2], "seed": 77 } });
    let answer = server.ok(CHAT, &with(with(chat("Ann has 3 pens."), fields), extension));
    assert_eq!(answer["choices"][0]["thinktune"]["tokens"], json!(expected(vec![named])[0].tokens));
}

#[test]
fn a_stream_is_the_whole_answer_in_pieces() {
    let server = Server::start();
    let fields = json!({ "seed": 3, "max_tokens": 40, "logprobs": true, "top_logprobs": 2,
                         "stream_options": { "include_usage": true } });
    let request = with(chat("How many pens?"), fields);
    let whole = server.ok(CHAT, &request);
    let events = server.stream(CHAT, &request).rest();
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let (text, finish) = streamed_text(&events);
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    assert_eq!(whole["choices"][0]["finish_reason"], finish);
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
    let pieces = events.iter().filter_map(|event| event["choices"].get(0)?["logprobs"]["content"].as_array());
    let pieces: Vec<Value> = pieces.flatten().cloned().collect();
    assert_eq!(whole["choices"][0]["logprobs"]["content"], json!(pieces));
    let tokens = pieces.iter().map(|piece| piece["token"].as_str().unwrap());
    let ordinary: String = tokens.filter(|token| !token.starts_with("<|")).collect();
    assert_eq!(ordinary, text, "the tokens are the text, but for special ones");

    let request = json!({ "model": "tiny", "prompt": ["Ann has", "Bob has"], "n": 2, "seed": 3, "echo": true,
                          "logprobs": 1, "max_tokens": 12 });
    let whole = server.ok(COMPLETIONS, &request);
    let events = server.stream(COMPLETIONS, &request).rest();
    for index in 0..4 {
        let mine = |event: &Value| event["choices"][0].clone();
        let mine: Vec<Value> = events.iter().map(mine).filter(|choice| choice["index"] == index).collect();
        let text: String = mine.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
        let whole = &whole["choices"][index];
        assert_eq!(whole["text"], text);
        for list in ["tokens", "token_logprobs", "text_offset"] {
            let joined: Vec<Value> =
                mine.iter().flat_map(|choice| choice["logprobs"][list].as_array().unwrap().clone()).collect();
            assert_eq!(whole["logprobs"][list], json!(joined), "{list}");
        }
    }
}

#[test]
fn a_silent_stream_is_kept_alive() {
    let pause = Duration::from_millis(300);
    let server = Server::with_pause(128, pause, |settings| settings.keep_alive = Duration::from_millis(20));
    let request = with(chat("a"), json!({ "max_tokens": 2, "stream": true, "seed": 1 }));
    let headers = "Content-Type: application/json\r\n";
    let (status, head, body) = server.exchange("POST", CHAT, headers, &request.to_string());
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/event-stream") && head.contains("cache-control: no-cache"),
        "{head}"
    );
    let comments = body.lines().filter(|line| line.starts_with(':')).count();
    assert!(comments >= 3, "{body}");
    assert!(body.contains("data: [DONE]\n\n"), "{body}");
}

/// The answers of many at once are those of each alone.
#[test]
fn concurrent_streams_equal_the_answer_alone() {
    many_streams(64, Duration::ZERO);
}

/// A minute of it, looking at the memory: `cargo test --release -p thinktune-serve --test http -- --ignored`.
#[test]
#[ignore = "takes a minute"]
fn a_minute_of_streams_does_not_grow_memory() {
    many_streams(64, Duration::from_secs(60));
}

fn many_streams(count: usize, at_least: Duration) {
    let server = Server::start();
    let request = |index: usize| {
        let stops = &["sells", "\n\n"][..index % 3];
        let (temperature, top_k) = ([1.0, 0.0, 0.7][index % 3], [0, 5][index % 2]);
        let fields = json!({ "seed": index, "max_tokens": 20 + 7 * (index % 9), "temperature": temperature,
                             "top_k": top_k, "stop": stops });
        with(chat(&"How many pens? ".repeat(1 + index % 11)), fields)
    };
    let alone: Vec<Value> = (0..count).map(|index| server.ok(CHAT, &request(index))).collect();
    let (mut memory, begun) = (Vec::new(), Instant::now());
    while memory.is_empty() || begun.elapsed() < at_least {
        std::thread::scope(|scope| {
            for (index, alone) in alone.iter().enumerate() {
                let (server, request) = (&server, request(index));
                scope.spawn(move || {
                    let (text, finish) = streamed_text(&server.stream(CHAT, &request).rest());
                    assert_eq!(alone["choices"][0]["message"]["content"], text, "{index}");
                    assert_eq!(alone["choices"][0]["finish_reason"], finish, "{index}");
                });
            }
        });
        memory.push(resident_kib());
    }
    let (rounds, settled) = (memory.len(), memory.len() / 4);
    eprintln!(
        "{rounds} rounds, resident KiB: {:?}",
        memory.iter().step_by(1 + rounds / 12).collect::<Vec<_>>()
    );
    assert!(memory.last().unwrap() < &(memory[settled] + memory[settled] / 5 + 8192), "{memory:?}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn scores_of_given_ids_are_those_of_score() {
    let server = Server::start();
    let mut model = frozen(server.dir.path());
    let ids: Vec<u32> = (0..40).map(|i| 6 + (i * i * 7) % 90).collect();
    let mut batch = TokenBatch::new(1.0);
    batch.push(&ids, 1..ids.len());
    let expected = model.score(&batch).unwrap().logprobs;
    for max_tokens in [0, 1] {
        let request = json!({ "model": "tiny", "prompt": [ids, ids[..5]], "max_tokens": max_tokens, "logprobs": 1,
                              "echo": true, "temperature": 0 });
        let answer = server.ok(COMPLETIONS, &request);
        let logprobs = &answer["choices"][0]["logprobs"];
        assert_eq!(logprobs["token_logprobs"][0], Value::Null);
        let found: Vec<f32> = logprobs["token_logprobs"].as_array().unwrap()[1..40]
            .iter()
            .map(|value| value.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(found, expected);
        let second = &answer["choices"][1]["logprobs"]["token_logprobs"];
        assert_eq!(second.as_array().unwrap()[..5], logprobs["token_logprobs"].as_array().unwrap()[..5]);
        assert_eq!(second.as_array().unwrap().len(), 5 + max_tokens);
        for (own, top) in logprobs["token_logprobs"].as_array().unwrap()[1..]
            .iter()
            .zip(&logprobs["top_logprobs"].as_array().unwrap()[1..])
        {
            let best = top.as_object().unwrap().values().map(|value| value.as_f64().unwrap());
            assert!(best.fold(f64::MIN, f64::max) >= own.as_f64().unwrap());
        }
        assert_eq!(
            answer["usage"],
            json!({ "prompt_tokens": 45, "completion_tokens": 2 * max_tokens,
                                            "total_tokens": 45 + 2 * max_tokens })
        );
    }
}

#[test]
fn unseeded_requests_differ_and_stop_strings_stop() {
    let server = Server::start();
    let request = with(chat("Ann has"), json!({ "max_tokens": 30 }));
    let text = |answer: &Value| answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_ne!(text(&server.ok(CHAT, &request)), text(&server.ok(CHAT, &request)));

    let request = with(request, json!({ "seed": -3 }));
    let whole = text(&server.ok(CHAT, &request));
    assert_eq!(whole, text(&server.ok(CHAT, &request)));
    let stop: String = whole.chars().skip(20).take(7).collect();
    let cut = server.ok(CHAT, &with(request, json!({ "stop": stop })));
    assert_eq!(text(&cut), whole.split(&stop).next().unwrap());
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
}

#[test]
fn bad_requests_are_refused_in_openais_format() {
    let server = Server::with(128, |settings| settings.max_body_bytes = 10_000);
    let completion = json!({ "model": "tiny", "prompt": "a" });
    let refused = |path: &str, fields: Value, status: u16, param: Value, code: Value| {
        let base = if path == CHAT { chat("a") } else { completion.clone() };
        let request = with(base, fields);
        let (found, answer) = server.post(path, &request);
        let error = &answer["error"];
        assert_eq!((found, &error["param"], &error["code"]), (status, &param, &code), "{request}: {answer}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 5));
    };
    let invalid = |path: &str, name: &str, value: Value| {
        refused(path, json!({ name: value }), 400, name.into(), "invalid_value".into());
    };
    for path in [CHAT, COMPLETIONS] {
        refused(path, json!({ "model": "other" }), 404, "model".into(), "model_not_found".into());
        invalid(path, "model", 7.into());
        invalid(path, "n", 0.into());
        invalid(path, "n", 1000.into());
        invalid(path, "temperature", (-1).into());
        invalid(path, "temperature", "hot".into());
        invalid(path, "top_p", 0.into());
        invalid(path, "seed", 1.5.into());
        invalid(path, "stop", json!([""]));
        invalid(path, "stop", vec!["a"; 99].into());
        invalid(path, "max_tokens", (-1).into());
        invalid(path, "thinktune", json!({ "key": [1] }));
        invalid(path, "stream", "yes".into());
        for name in ["logit_bias", "presence_penalty", "tools"] {
            let value = if name == "tools" { json!([{}]) } else { json!({ "5": 1 }) };
            refused(path, json!({ name: value }), 400, name.into(), "unsupported_parameter".into());
        }
    }
    for prompt in [json!(null), json!(""), json!([]), json!([[]]), json!(7), json!([1, "a"]), json!([-1])] {
        if prompt != json!("") {
            invalid(COMPLETIONS, "prompt", prompt);
        }
    }
    invalid(COMPLETIONS, "prompt", json!([4_000_000]));
    invalid(CHAT, "top_logprobs", 3.into());
    for messages in
        [json!([]), json!("a"), json!([{ "role": "user" }]), json!([{ "role": "cat", "content": "a" }])]
    {
        invalid(CHAT, "messages", messages);
    }
    let long = json!({ "max_tokens": 500 });
    refused(COMPLETIONS, long.clone(), 400, "prompt".into(), "context_length_exceeded".into());
    refused(CHAT, long, 400, "messages".into(), "context_length_exceeded".into());
    let long = json!({ "prompt": vec![7; 128] });
    refused(COMPLETIONS, long, 400, "prompt".into(), "context_length_exceeded".into());
    let limited = json!({ "thinktune": { "max_prompt_tokens": 3 } });
    refused(CHAT, limited, 400, "messages".into(), "context_length_exceeded".into());

    let json_type = "Content-Type: application/json\r\n";
    for body in ["", "{", "[]", "\u{0}", &"[".repeat(5000)] {
        let (status, answer) = server.send("POST", CHAT, json_type, body);
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid_json")), "{body:?}");
    }
    assert_eq!(server.send("POST", CHAT, json_type, &" ".repeat(20_000)).0, 413);
    assert_eq!(server.send("POST", CHAT, "", &chat("a").to_string()).0, 415);
    for (method, path, status) in [
        ("GET", "/v1/nothing", 404),
        ("GET", CHAT, 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/models/x", 404),
    ] {
        let (found, answer) = server.send(method, path, "", "");
        assert_eq!(found, status, "{method} {path}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    assert_eq!(server.send("GET", "/v1/models", "", "").1["data"][0]["id"], "tiny");
    assert_eq!(server.send("GET", "/v1/models/tiny", "", "").0, 200);
    server.ok(
        CHAT,
        &with(chat("a"), json!({ "max_tokens": 2, "user": "x", "presence_penalty": 0, "unheard_of": 1 })),
    );
}

#[test]
fn a_key_is_demanded_where_there_is_one() {
    let server = Server::with(128, |settings| settings.api_key = Some("sesame".into()));
    let get = |headers: &str| server.send("GET", "/v1/models", headers, "");
    for headers in
        ["", "Authorization: Bearer no\r\n", "Authorization: sesame\r\n", "Authorization: Bearer \r\n"]
    {
        let (status, answer) = get(headers);
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("invalid_api_key")));
        assert!(!answer.to_string().contains("sesame"));
    }
    assert_eq!(get("Authorization: Bearer sesame\r\n").0, 200);
    assert_eq!(server.send("GET", "/health", "", "").0, 200);
}

#[test]
fn a_disconnected_client_frees_its_place_in_the_queue() {
    let server = Server::with(1 << 20, |settings| settings.max_samples = 2);
    let endless = with(chat("a"), json!({ "n": 2, "ignore_eos": true }));
    let mut events = server.stream(CHAT, &endless);
    (0..10).for_each(|_| drop(events.next()));
    let short = with(chat("a"), json!({ "max_tokens": 2 }));
    let headers = "Content-Type: application/json\r\n";
    let (status, head, body) = server.exchange("POST", CHAT, headers, &short.to_string());
    assert_eq!(status, 429, "{body}");
    assert!(head.contains("retry-after: 1"), "{head}");
    let (status, answer) = server.post(CHAT, &with(chat("a"), json!({ "n": 3 })));
    assert_eq!(
        (status, &answer["error"]["param"]),
        (400, &json!("n")),
        "more than there will ever be room for"
    );
    drop(events);
    let begun = Instant::now();
    while server.post(CHAT, &short).0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the place stays taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    // one that never waits for its answer, too
    drop(server.open("POST", CHAT, headers, &endless.to_string()));
    let begun = Instant::now();
    while server.post(CHAT, &with(short.clone(), json!({ "n": 2 }))).0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the place stays taken");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stopped_server_first_ends_requests_in_flight() {
    let mut server = Server::with(4096, |_| ());
    let mut events = server.stream(CHAT, &with(chat("a"), json!({ "max_tokens": 300, "ignore_eos": true })));
    events.next();
    server.stop.stop();
    let (_, finish) = streamed_text(&events.rest());
    assert_eq!(finish, "length");
    server.end().unwrap();
    assert!(std::net::TcpStream::connect(server.addr).is_err(), "nobody listens any more");
}

#[test]
fn a_stop_waits_no_longer_than_its_grace() {
    let mut server = Server::with(1 << 20, |settings| settings.grace = Duration::from_millis(300));
    let mut events = server.stream(CHAT, &with(chat("a"), json!({ "ignore_eos": true })));
    events.next();
    let begun = Instant::now();
    server.end().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}
