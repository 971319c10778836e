"""The official openai client against `thinktune serve`: completes, streams, and is refused properly.

python openai_client.py --thinktune ../../target/release/thinktune --model ../../assets/word-problems/teacher
"""

import argparse
import concurrent.futures

import openai

from served import Served


def refused(kind, work):
    try:
        work()
    except kind as error:
        print(f"refused as it should be: {type(error).__name__} {error.status_code}: {error.body}")
        return
    raise SystemExit(f"expected {kind.__name__}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--thinktune", required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    with Served(args.thinktune, args.model, "--api-key", "sesame") as served:
        client = openai.OpenAI(base_url=served.url, api_key="sesame", max_retries=0)
        name = client.models.list().data[0].id
        assert client.models.retrieve(name).id == name
        ask = dict(model=name, messages=[{"role": "user", "content": "Ann has 3 pens. How many?"}], max_tokens=40)

        whole = client.chat.completions.create(**ask, seed=1, n=2, logprobs=True, top_logprobs=3)
        text = whole.choices[0].message.content
        print(f"{len(whole.choices)} answers, {whole.usage.completion_tokens} tokens, first: {text!r}")
        assert all(len(token.top_logprobs) == 3 for token in whole.choices[0].logprobs.content)

        pieces, finish, usage = [], None, None
        options = {"include_usage": True}
        for chunk in client.chat.completions.create(**ask, seed=1, stream=True, stream_options=options):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                pieces.append(choice.delta.content or "")
                finish = choice.finish_reason or finish
        assert "".join(pieces) == text and finish == whole.choices[0].finish_reason
        print(f"streamed in {len(pieces)} pieces, {finish}, {usage.total_tokens} tokens")

        legacy = client.completions.create(model=name, prompt="Ann has", max_tokens=8, logprobs=2, echo=True, seed=1)
        print(f"completions: {legacy.choices[0].text!r}")
        stream = client.completions.create(model=name, prompt="Ann has", max_tokens=8, echo=True, seed=1, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == legacy.choices[0].text

        def one(seed):
            answer = client.chat.completions.create(**ask, seed=seed)
            return answer.choices[0].message.content

        alone = [one(seed) for seed in range(32)]
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            assert list(pool.map(one, range(32))) == alone
        print("32 at once equal 32 one after another")

        refused(openai.NotFoundError, lambda: client.chat.completions.create(**{**ask, "model": "gpt-4"}))
        long = {**ask, "messages": [{"role": "user", "content": "pens " * 20000}]}
        refused(openai.BadRequestError, lambda: client.chat.completions.create(**long))
        refused(openai.BadRequestError, lambda: client.chat.completions.create(**ask, temperature=-1))
        other = openai.OpenAI(base_url=served.url, api_key="wrong", max_retries=0)
        refused(openai.AuthenticationError, lambda: other.models.list())
        headers = {"Authorization": "Bearer sesame", "Content-Type": "application/json"}
        answer = client._client.post(f"{served.url}/chat/completions", content=b'{"model', headers=headers)
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"
        print("refused as it should be: bad JSON 400")
    print("openai", openai.__version__, "agrees")


if __name__ == "__main__":
    main()
