//! Requests that join and leave a running batch get what they would have got alone, bit for bit.

mod common;
#[path = "common/models.rs"]
mod models;

use std::collections::BTreeMap;

use common::key;
use models::{LARGE, generate, large, load, prompts, threads};
use thinktune_model::LocalModel;
use thinktune_policy::{
    Alternatives, BatchEvent, BatchRequest, Batcher, Completion, Finish, ModelError, Prompt, Sampling, Score,
    Ticket, TokenBatch,
};

/// What a request was told, sample by sample.
#[derive(Default)]
struct Samples {
    prompt: Option<Vec<Alternatives>>,
    samples: BTreeMap<usize, Sample>,
}

#[derive(Default)]
struct Sample {
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    alternatives: Vec<Option<Alternatives>>,
    finish: Option<Finish>,
}

impl Samples {
    fn on_event(&mut self, event: BatchEvent) {
        match event {
            BatchEvent::Prompt(scores) => self.prompt = Some(scores),
            BatchEvent::Token { sample, drawn } => {
                let received = self.samples.entry(sample).or_default();
                assert!(received.finish.is_none(), "a token after the end");
                received.tokens.push(drawn.token);
                received.logprobs.push(drawn.logprob);
                received.alternatives.push(drawn.alternatives);
            }
            BatchEvent::End { sample, how } => {
                self.samples.entry(sample).or_default().finish = Some(how.unwrap())
            }
        }
    }

    fn completions(&self) -> Vec<Completion> {
        let completion = |sample: &Sample| {
            let (tokens, logprobs) = (sample.tokens.clone(), sample.logprobs.clone());
            Completion { tokens, logprobs, finish: sample.finish.expect("an end") }
        };
        self.samples.values().map(completion).collect()
    }
}

type Received = BTreeMap<Ticket, Samples>;

fn step(scheduler: &mut dyn Batcher, received: &mut Received) {
    scheduler.step(&mut |ticket, event| received.entry(ticket).or_default().on_event(event));
}

fn finish(scheduler: &mut dyn Batcher, received: &mut Received) {
    while !scheduler.is_idle() {
        step(scheduler, received);
    }
}

/// Different in everything a request may choose.
fn sampling(index: usize) -> Sampling {
    let temperature = [1.0, 0.0, 0.6, 1.3][index % 4];
    let mut sampling = Sampling::plain(11 + index as u64, 3 + 7 * (index % 5), vec![2, 5]);
    sampling.temperature = temperature;
    sampling.top_k = (index % 3 == 1).then_some(9);
    sampling.top_p = if index % 3 == 2 { 0.8 } else { 1.0 };
    sampling
}

fn request(prompt: &Prompt, index: usize) -> BatchRequest {
    let (prompt, keys) = (prompt.tokens.clone(), prompt.keys.clone());
    BatchRequest {
        prompt,
        keys,
        sampling: sampling(index),
        top: index.is_multiple_of(2).then_some(3),
        score_prompt: false,
    }
}

fn requests(model: &LocalModel) -> Vec<BatchRequest> {
    let prompts = prompts(model, 3);
    (0..10).map(|index| request(&prompts[index % prompts.len()], index)).collect()
}

fn alone(model: &mut LocalModel, request: &BatchRequest) -> Vec<Completion> {
    let prompt = Prompt { tokens: request.prompt.clone(), keys: request.keys.clone() };
    generate(model, &[prompt], &request.sampling).concat()
}

#[test]
fn requests_that_join_while_others_run_equal_those_alone() {
    for name in ["llama", "qwen3 bf16", "wide"].into_iter().chain(large().iter().copied()) {
        let mut model = load(name);
        let requests = requests(&model);
        let expected: Vec<_> = requests.iter().map(|request| alone(&mut model, request)).collect();
        for count in [1, 3] {
            let frozen = model.frozen().expect("frozen");
            let found = threads(count, || {
                let (mut scheduler, mut received, mut tickets) =
                    (frozen.into_batcher(), Received::new(), Vec::new());
                for (index, request) in requests.iter().enumerate() {
                    tickets.push(scheduler.submit(request.clone()).unwrap());
                    (0..index % 4).for_each(|_| step(&mut *scheduler, &mut received));
                }
                finish(&mut *scheduler, &mut received);
                tickets.iter().map(|ticket| received[ticket].completions()).collect::<Vec<_>>()
            });
            assert!(found == expected, "{name}, {count} threads");
        }
    }
}

#[test]
fn neighbours_that_leave_change_nothing() {
    let mut model = load("wide");
    let requests = requests(&model);
    let expected: Vec<_> = requests.iter().map(|request| alone(&mut model, request)).collect();
    let (mut scheduler, mut received) = (model.frozen().expect("frozen").into_batcher(), Received::new());
    let tickets: Vec<Ticket> =
        requests.iter().map(|request| scheduler.submit(request.clone()).unwrap()).collect();
    scheduler.cancel(tickets[9]);
    for (index, ticket) in tickets.iter().enumerate() {
        step(&mut *scheduler, &mut received);
        if index % 3 == 0 {
            scheduler.cancel(*ticket);
        }
    }
    let running = scheduler.running();
    scheduler.cancel_sample(tickets[4], 1);
    assert!(scheduler.running() < running, "its place is free at once");
    finish(&mut *scheduler, &mut received);
    assert_eq!(scheduler.running(), 0);
    for index in [1, 2, 5, 7, 8] {
        assert_eq!(received[&tickets[index]].completions(), expected[index], "{index}");
    }
    let received = &received[&tickets[4]];
    assert!(received.samples[&1].finish.is_none(), "no end is told of what was cancelled");
    for sample in [0, 2] {
        assert_eq!(received.samples[&sample].tokens, expected[4][sample].tokens);
    }
}

#[test]
fn a_prompt_that_begins_like_an_earlier_one_gives_the_same_bits() {
    let mut model = load("wide");
    let vocab = model.spec().vocab_size as u32;
    let long: Vec<u32> = (0..330).map(|i| (i * i * 7 + 3) % vocab).collect();
    let lengths = [300, 330, 299, 17, 330, 150];
    let (mut scheduler, mut received) = (model.frozen().expect("frozen").into_batcher(), Received::new());
    for (index, length) in lengths.into_iter().enumerate() {
        let mut tokens = long[..length].to_vec();
        tokens[length - 1] = index as u32;
        let prompt = Prompt { tokens: tokens.into(), keys: vec![key(index as u32, 0), key(index as u32, 1)] };
        let request = request(&prompt, index);
        let ticket = scheduler.submit(request.clone()).unwrap();
        finish(&mut *scheduler, &mut received);
        assert_eq!(received[&ticket].completions(), alone(&mut model, &request), "{length}");
    }
}

#[test]
fn scores_of_a_prompt_equal_those_of_score() {
    for name in ["llama", "wide bf16", LARGE] {
        let mut model = load(name);
        let (mut scheduler, mut received) = (model.frozen().expect("frozen").into_batcher(), Received::new());
        for prompt in prompts(&model, 1) {
            for max_tokens in [0, 2] {
                let sampling = Sampling::plain(1, max_tokens, vec![]);
                let (tokens, keys) = (prompt.tokens.clone(), prompt.keys.clone());
                let request =
                    BatchRequest { prompt: tokens, keys, sampling, top: Some(4), score_prompt: true };
                let ticket = scheduler.submit(request).unwrap();
                finish(&mut *scheduler, &mut received);
                let told = &received[&ticket];
                let scores = told.prompt.as_ref().expect("scores");
                let mut batch = TokenBatch::new(1.0);
                batch.push(&prompt.tokens, 1..prompt.tokens.len());
                let expected =
                    if prompt.tokens.len() > 1 { model.score(&batch).unwrap().logprobs } else { vec![] };
                let found: Vec<f32> = scores.iter().map(|score| score.logprob).collect();
                assert!(found == expected, "{name}");
                check_tops(&mut model, &prompt.tokens, scores);
                assert_eq!(told.samples[&0].tokens.len(), max_tokens);
                assert_eq!(told.samples[&0].finish, Some(Finish::Length));
            }
        }
    }
}

/// The likeliest of each place are those of the logits.
fn check_tops(model: &mut LocalModel, tokens: &[u32], scores: &[Alternatives]) {
    let vocab = model.spec().vocab_size;
    let logits = model.logits(tokens).unwrap();
    for (row, score) in logits.chunks_exact(vocab).zip(scores) {
        let mut order: Vec<u32> = (0..vocab as u32).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b)));
        assert_eq!(score.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), order[..4]);
        assert!(score.top.is_sorted_by(|a, b| a.1 >= b.1));
    }
}

#[test]
fn alternatives_are_the_models_own_whatever_the_temperature() {
    let mut told = Vec::new();
    for temperature in [1.0, 0.3] {
        let mut model = load("wide");
        let (mut scheduler, mut received) = (model.frozen().expect("frozen").into_batcher(), Received::new());
        let prompt = &prompts(&model, 1)[1];
        let mut request = request(prompt, 0);
        request.sampling.temperature = temperature;
        request.sampling.max_tokens = 1;
        let ticket = scheduler.submit(request).unwrap();
        finish(&mut *scheduler, &mut received);
        let Sample { logprobs, alternatives, .. } = &received[&ticket].samples[&0];
        let alternatives = alternatives[0].clone().expect("asked for");
        assert_eq!(logprobs[0] == alternatives.logprob, temperature == 1.0);
        told.push(alternatives.top);
    }
    assert_eq!(told[0], told[1]);
}

#[test]
fn requests_that_cannot_be_run_are_refused_and_the_others_go_on() {
    let mut model = load("llama");
    let context = model.spec().context;
    let mut scheduler = model.frozen().expect("frozen").into_batcher();
    let good = request(&prompts(&model, 1)[1], 0);
    let refused = |scheduler: &mut dyn Batcher, change: &dyn Fn(&mut BatchRequest)| {
        let mut request = good.clone();
        change(&mut request);
        assert!(matches!(scheduler.submit(request), Err(ModelError::BadInput(_))));
    };
    refused(&mut *scheduler, &|request| request.prompt = vec![].into());
    refused(&mut *scheduler, &|request| request.prompt = vec![1; context].into());
    refused(&mut *scheduler, &|request| request.prompt = vec![u32::MAX].into());
    refused(&mut *scheduler, &|request| request.sampling.max_tokens = 0);
    refused(&mut *scheduler, &|request| request.sampling.temperature = f32::NAN);
    assert!(scheduler.is_idle());
    let mut whole = good.clone();
    (whole.prompt, whole.score_prompt, whole.sampling.max_tokens) = (vec![1; context].into(), true, 0);
    scheduler.submit(whole).expect("a prompt that fills the context can be scored");
    let (ticket, mut received) = (scheduler.submit(good.clone()).unwrap(), Received::new());
    finish(&mut *scheduler, &mut received);
    assert_eq!(received[&ticket].completions(), alone(&mut model, &good));
}
