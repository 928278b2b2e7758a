"""Holds a running server to the HTTP contract of docs/serving.md, row by row, with no library but
Python's own: streams are read byte for byte, as the strictest clients of the field read them.

usage: api_rows.py WINGSPAN MODEL_DIRECTORY [EP]
"""

import concurrent.futures
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time


class Server:
    all = []

    def __init__(self, program, model, *options):
        Server.all.append(self)
        self.process = subprocess.Popen(
            [program, "serve", "--model", model, "--port", "0", *options],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.match(r"wingspan: serving (\S+) on http://[^:]+:(\d+)", line)
            if found:
                self.name, self.port = found[1], int(found[2])
                break
        else:
            raise SystemExit("the server did not start: " + "".join(self.lines))
        # Its log must be read, or it would wait for a reader.
        self.reader = concurrent.futures.ThreadPoolExecutor(1)
        self.rest = self.reader.submit(lambda: self.lines.extend(self.process.stderr))

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer, text

    def post(self, path, body, status=200):
        answer, text = self.request("POST", path, body, {"Content-Type": "application/json"})
        assert answer.status == status, (answer.status, text)
        return json.loads(text)

    def get(self, path):
        answer, text = self.request("GET", path)
        assert answer.status == 200, (path, answer.status, text)
        return json.loads(text)

    def complete(self, **body):
        body.setdefault("temperature", 0)
        return self.post("/v1/completions", body)

    def stream(self, path, **body):
        """The raw bytes of a stream's body."""
        body["stream"] = True
        answer, text = self.request("POST", path, body)
        assert answer.status == 200, text
        assert answer.getheader("Content-Type").startswith("text/event-stream")
        assert answer.getheader("Content-Encoding") is None
        return text

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.rest.result(10)
        return code


def events(raw):
    """Rows 1 to 3: every event is one "data: " line and a blank line, the last is [DONE]."""
    text = raw.decode()
    assert "\r" not in text and text.endswith("data: [DONE]\n\n"), text[-200:]
    parts = text.split("\n\n")
    assert parts[-1] == ""
    out = []
    for part in parts[:-1]:
        assert part.startswith("data: ") and "\n" not in part and not part.startswith("data:  "), part
        out.append(part[len("data: "):])
    assert out[-1] == "[DONE]" and "[DONE]" not in out[:-1]
    return [json.loads(e) for e in out[:-1]]


PROMPT = "Natalia has 12 apples and"
LONG = "To be or not to be, that is the question. " * 3


def check_streams(s):
    base = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    whole = s.complete(**base)
    got = events(s.stream("/v1/completions", **base))
    assert len(got) == whole["usage"]["completion_tokens"] == 12  # row 5, row 7: no usage event
    for i, e in enumerate(got):
        assert e["object"] == "text_completion" and e["id"] == got[0]["id"]  # row 25
        choice = e["choices"][0]
        assert choice["index"] == 0 and "finish_reason" in choice  # row 4
        assert choice["finish_reason"] == ("length" if i == 11 else None)  # row 6
        assert "usage" not in e
    assert "".join(e["choices"][0]["text"] for e in got) == whole["choices"][0]["text"]  # row 9
    got = events(s.stream("/v1/completions", **base, stream_options={"include_usage": True}))
    assert got[-1]["choices"] == [] and got[-1]["usage"]["completion_tokens"] == 12  # row 7
    got = events(s.stream("/v1/completions", **base, stream_options={"continuous_usage_stats": True}))
    assert [e["usage"]["completion_tokens"] for e in got] == list(range(1, 13))
    s.post("/v1/completions", {**base, "stream_options": {"include_usage": True}}, 400)
    chat = {"messages": [{"role": "user", "content": "How many?"}], "max_tokens": 6, "temperature": 0}
    got = events(s.stream("/v1/chat/completions", **chat))
    assert [("role" in e["choices"][0]["delta"]) for e in got] == [True] + [False] * (len(got) - 1)
    assert all(e["object"] == "chat.completion.chunk" for e in got)
    whole = s.post("/v1/chat/completions", chat)
    assert whole["object"] == "chat.completion"
    text = "".join(e["choices"][0]["delta"]["content"] for e in got)
    assert text == whole["choices"][0]["message"]["content"]
    # Several choices: one event each and token, told apart by index.
    got = events(s.stream("/v1/completions", prompt=[PROMPT, "Es war"], n=2, max_tokens=3))
    assert sorted(e["choices"][0]["index"] for e in got) == sorted([0, 1, 2, 3] * 3)


def check_requests(s):
    ids = s.post("/tokenize", {"prompt": PROMPT})
    assert ids["count"] == len(ids["tokens"]) and ids["max_model_len"] == 1024  # row 28
    assert PROMPT in s.post("/detokenize", {"tokens": ids["tokens"]})["prompt"]
    assert s.get("/tokenizer_info")["eos_token"]
    whole = s.complete(prompt=PROMPT, max_tokens=5)
    by_ids = s.complete(prompt=ids["tokens"], max_tokens=5)
    assert by_ids["choices"][0]["text"] == whole["choices"][0]["text"]
    lists = s.complete(prompt=[ids["tokens"], ids["tokens"][:4]], max_tokens=5)  # row 12
    assert [c["index"] for c in lists["choices"]] == [0, 1]
    assert lists["choices"][0]["text"] == whole["choices"][0]["text"]
    assert s.complete(prompt=PROMPT)["usage"]["completion_tokens"] == 16  # row 14
    echo = s.complete(prompt=PROMPT, max_tokens=0, echo=True)
    assert echo["choices"][0]["text"] == PROMPT and echo["usage"]["completion_tokens"] == 0
    # Row 15: stop texts across token edges, with and without themselves.
    text = s.complete(prompt=PROMPT, max_tokens=40)["choices"][0]["text"]
    stop = text[7:10]
    cut = s.complete(prompt=PROMPT, max_tokens=40, stop=[stop, "never there"])["choices"][0]
    assert cut["text"] == text[:text.index(stop)] and cut["finish_reason"] == "stop"
    kept = s.complete(prompt=PROMPT, max_tokens=40, stop=stop, include_stop_str_in_output=True)
    assert kept["choices"][0]["text"] == text[:text.index(stop) + len(stop)]
    got = events(s.stream("/v1/completions", prompt=PROMPT, max_tokens=40, temperature=0, stop=stop))
    assert "".join(e["choices"][0]["text"] for e in got) == cut["text"]
    assert got[-1]["choices"][0]["finish_reason"] == "stop"
    # Row 16.
    all_of_it = s.complete(prompt=PROMPT, max_tokens=300, ignore_eos=True)
    assert all_of_it["usage"]["completion_tokens"] == 300
    assert all_of_it["choices"][0]["finish_reason"] == "length"
    least = s.complete(prompt=PROMPT, max_tokens=60, min_tokens=50)
    assert least["usage"]["completion_tokens"] >= 50
    # Row 17 and 18.
    body = {"prompt": PROMPT, "max_tokens": 20, "temperature": 1.3, "seed": -5}
    assert s.complete(**body)["choices"] == s.complete(**body)["choices"]
    assert s.complete(**body)["choices"] != s.complete(**{**body, "seed": 6})["choices"]
    neutral = {"top_p": 1, "top_k": -1, "min_p": 0, "presence_penalty": 0, "frequency_penalty": 0,
               "repetition_penalty": 1.0, "logit_bias": {}, "n": 1, "best_of": 1}
    assert s.complete(**body, **neutral)["choices"] == s.complete(**body)["choices"]
    first = s.post("/tokenize", {"prompt": text[:3], "add_special_tokens": False})["tokens"][0]
    banned = s.complete(prompt=PROMPT, max_tokens=1, logit_bias={str(first): -100}, return_token_ids=True)
    plain = s.complete(prompt=PROMPT, max_tokens=1, return_token_ids=True)
    assert plain["choices"][0]["prompt_token_ids"] == ids["tokens"]  # row 24
    assert banned["choices"][0]["token_ids"] != plain["choices"][0]["token_ids"] or \
        plain["choices"][0]["token_ids"] != [first]
    loops = s.complete(prompt="a a a a a a", max_tokens=30, ignore_eos=True, frequency_penalty=2,
                       return_token_ids=True)["choices"][0]["token_ids"]
    assert len(set(loops)) > 10
    # Row 19: unknown ones are ignored, known and unsupported ones named.
    s.complete(prompt=PROMPT, max_tokens=1, no_such_field={"a": [1]}, lora_path=None)
    for field, value in (("tools", [{"type": "function"}]), ("response_format", {"type": "json_object"}),
                         ("guided_regex", "a+"), ("prompt_logprobs", 1), ("suffix", "x")):
        error = s.post("/v1/completions", {"prompt": "a", field: value}, 400)["error"]
        assert error["param"] == field and field in error["message"]
    s.complete(prompt=PROMPT, max_tokens=1, response_format={"type": "text"}, tools=[])


def check_logprobs(s):
    got = s.complete(prompt=LONG, max_tokens=1, echo=True, logprobs=1, seed=1234)["choices"][0]["logprobs"]
    count = s.post("/tokenize", {"prompt": LONG})["count"] + 1
    for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):  # row 20
        assert len(got[key]) == count, key
    assert got["token_logprobs"][0] is None and got["top_logprobs"][0] is None
    for token, p, top in zip(got["tokens"][1:], got["token_logprobs"][1:], got["top_logprobs"][1:]):
        assert top[token] == p and p <= 0  # row 21
        assert max(top.values()) >= p
    tail = s.complete(prompt=LONG, max_tokens=8, logprobs=3)["choices"][0]["logprobs"]
    assert all(len(t) in (3, 4) for t in tail["top_logprobs"])
    one = s.complete(prompt="x", max_tokens=2, logprobs=0, return_tokens_as_token_ids=True)
    assert all(t.startswith("token_id:") for t in one["choices"][0]["logprobs"]["tokens"])
    chat = s.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "many?"}]}],
        "max_completion_tokens": 4, "max_tokens": 9, "temperature": 0, "logprobs": True, "top_logprobs": 2})
    content = chat["choices"][0]["logprobs"]["content"]
    assert len(content) == chat["usage"]["completion_tokens"] <= 4  # rows 13, 14, 22
    for entry in content:
        assert all(isinstance(b, int) for b in entry["bytes"]) and len(entry["top_logprobs"]) == 2
        assert "\ufffd" not in entry["token"]
        assert entry["top_logprobs"][0]["logprob"] == entry["logprob"]


def check_errors(s):
    def error(status, method, path, body=None, headers=None):
        answer, text = s.request(method, path, body, headers)
        assert answer.status == status, (answer.status, text)
        e = json.loads(text)["error"]
        assert set(e) >= {"message", "type", "param", "code"} and answer.reason
        return e
    long = error(400, "POST", "/v1/completions", {"prompt": PROMPT, "max_tokens": 99999})  # row 31
    assert "1024" in long["message"] and "99999" in long["message"]
    error(404, "POST", "/v1/completions", {"prompt": "a", "model": "gpt-4"})
    error(404, "GET", "/etc/passwd")
    error(404, "GET", "/v1/../../etc/passwd")
    error(405, "GET", "/v1/completions")
    error(400, "POST", "/v1/completions", "{")
    error(400, "POST", "/v1/completions", '{"prompt":"a","prompt":"b"}')
    error(400, "POST", "/v1/completions", '{"prompt":"a","seed":1e999}')
    error(400, "POST", "/v1/completions", "[" * 100000)
    error(400, "POST", "/v1/completions", b'{"prompt":"\xff"}')
    for field, value in (("temperature", -1), ("top_p", 0), ("n", 0), ("logit_bias", {"a": 1}), ("seed", "x"),
                         ("prompt", []), ("prompt", [4096]), ("prompt", [-1]), ("max_tokens", 0),
                         ("stop", 7), ("top_k", 1.5), ("logprobs", 99), ("best_of", 3)):
        assert error(400, "POST", "/v1/completions", {"prompt": "a", field: value})["param"] == field
    error(400, "POST", "/v1/chat/completions", {"messages": []})
    error(400, "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})


def check_life(s):
    models = s.get("/v1/models")  # row 27
    entry = models["data"][0]
    assert models["object"] == "list" and entry["object"] == "model" and entry["root"]
    assert entry["id"] == s.name and entry["max_model_len"] == 1024
    answer, _ = s.request("GET", "/health", headers={"x-request-id": "abc-123"})
    assert answer.status == 200 and answer.getheader("x-request-id") == "abc-123"  # row 37
    assert s.request("GET", "/live")[0].status == 200
    answer, text = s.request("GET", "/metrics")
    assert answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")  # row 39
    text = text.decode()
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "cache_config_info",
                 "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_bucket",
                 "e2e_request_latency_seconds_bucket", "request_queue_time_seconds_bucket",
                 "request_prefill_time_seconds_bucket", "request_decode_time_seconds_bucket",
                 "request_inference_time_seconds_bucket", "request_prompt_tokens_bucket",
                 "request_generation_tokens_bucket", "prompt_tokens_total", "generation_tokens_total",
                 "request_success_total", "num_preemptions_total", "prefix_cache_queries_total",
                 "prefix_cache_hits_total", "iteration_tokens_total_bucket", "spec_decode_num_drafts_total",
                 "spec_decode_num_draft_tokens_total", "spec_decode_num_accepted_tokens_total",
                 "spec_decode_num_accepted_tokens_per_pos_total"):  # row 40
        assert re.search(r'^vllm:%s\{[^}]*model_name="' % name, text, re.M), name
    assert "wingspan_last_step_age_seconds" in text
    page = s.request("GET", "/")[1].decode()
    assert "<title>Wingspan</title>" in page and not re.search(r'(src|href)="https?:', page)
    assert s.get("/v1/wingspan/stats")["server"]["ep"] >= 1
    # Row 26: the second time the prompt's full blocks are found, and no bit changes.
    body = {"prompt": LONG * 2, "max_tokens": 8, "temperature": 0, "logprobs": 2}
    first, again = s.complete(**body), s.complete(**body)
    assert first["choices"] == again["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= 64


def check_clients_that_leave(s):
    body = json.dumps({"prompt": "a", "max_tokens": 900, "ignore_eos": True, "stream": True}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(8):  # row 10
        one = socket.create_connection(("127.0.0.1", s.port))
        one.sendall(head + body)
        one.recv(200)
        one.close()
    half = socket.create_connection(("127.0.0.1", s.port))
    half.sendall(head.replace(b"HTTP/1.1", b"HTTP/1.1") + body)
    half.shutdown(socket.SHUT_WR)  # has said all; is not gone
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        piece = half.recv(65536)
        assert piece, data[-100:]
        data += piece
    assert b"data: [DONE]" in data
    for _ in range(100):
        stats = s.get("/v1/wingspan/stats")
        if stats["running"] == 0 and stats["kv_blocks_used"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError(stats)


def check_traffic(s):
    """The same answers alone and among neighbours."""
    bodies = [{"prompt": PROMPT[: 4 + i % 20], "max_tokens": 4 + i % 9, "temperature": (i % 3) * 0.7, "seed": i,
               "logprobs": 2} for i in range(48)]
    alone = [s.complete(**b)["choices"] for b in bodies]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda b: s.complete(**b)["choices"], bodies))
    assert alone == together


def check_receipts(program, model, s):
    whole = s.complete(prompt=PROMPT, max_tokens=9, temperature=0.9, seed=4, receipt=True, stop="zzz")
    receipt = whole["choices"][0]["receipt"]
    path = f"/tmp/wingspan-receipt-{s.port}.json"
    for change, code in ((None, 0), ("output", 1)):
        if change:
            receipt["output_ids"][3] ^= 1
        with open(path, "w", encoding="utf-8") as f:
            json.dump(receipt, f)
        done = subprocess.run([program, "replay", path, "--model", model, "--json"], capture_output=True,
                              text=True, check=False)
        assert done.returncode == code, done
        assert json.loads(done.stdout)["equal"] == (code == 0)
    assert "output token 3" in done.stderr


def main():
    program, model = sys.argv[1], sys.argv[2]
    ep = sys.argv[3] if len(sys.argv) > 3 else "2"
    s = Server(program, model, "--ep", ep)
    for check in (check_streams, check_requests, check_logprobs, check_errors, check_life,
                  check_clients_that_leave, check_traffic):
        check(s)
        print("ok", check.__name__, flush=True)
    check_receipts(program, model, s)
    print("ok check_receipts", flush=True)
    assert s.stop() == 0  # row 38
    keyed = Server(program, model, "--api-key", "secret")
    assert keyed.request("GET", "/v1/models")[0].status == 401
    assert keyed.request("GET", "/v1/models", headers={"Authorization": "Bearer secret"})[0].status == 200
    assert keyed.request("GET", "/health")[0].status == 200
    # Row 38: what runs at the first signal finishes.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        body = {"prompt": "a", "max_tokens": 400, "ignore_eos": True}
        running = pool.submit(keyed.request, "POST", "/v1/completions", body, {"Authorization": "Bearer secret"})
        time.sleep(0.1)
        assert keyed.stop() == 0
        answer, text = running.result()
        assert answer.status == 200 and json.loads(text)["usage"]["completion_tokens"] == 400
    print("1 passed, 0 failed")


try:
    main()
finally:
    for one in Server.all:
        one.process.kill()
