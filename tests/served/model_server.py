"""A real HTTP server with a real model behind it, that speaks as one kind of program does and can be told to misbehave.

`vllm` echoes prompts in the parallel lists of completions, `llama_cpp` lists tokens with ids and takes a bias, `plain`
tells no log-probabilities, as `transformers serve` does.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch


class ModelServer:
    def __init__(self, model, tokenizer, kind="vllm", *, system=None, template=None, name="judged"):
        self.model, self.tokenizer, self.kind, self.system = model, tokenizer, kind, system
        self.template, self.name = template, name
        self.seen: list[tuple[str, dict, dict]] = []
        self.misbehave: Callable | None = None
        """Takes the handler and the number of the request, and says whether it has answered."""
        self.lock = threading.Lock()

    def nats(self, ids):
        with torch.no_grad():
            return self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)

    def text(self, token):
        return " " + self.tokenizer.decode([token])

    def completion(self, body):
        prompt = body["prompt"]
        ids = list(prompt) if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]
        return self.answer(ids, body, body.get("logprobs"), chat=False)

    def chat(self, body):
        messages = body["messages"]
        if self.system:
            messages = [{"role": "user", "content": self.system}, *messages]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=self.template
        )
        ids = self.tokenizer(text, add_special_tokens=not text.startswith("<s>"))["input_ids"]
        return self.answer(ids, body, body.get("top_logprobs"), chat=True)

    def answer(self, ids, body, count, *, chat):
        nats_TV = self.nats(ids)
        last = nats_TV[-1]
        taken = int(last.argmax())
        if self.kind == "llama_cpp" and body.get("logit_bias"):
            taken = int(max(body["logit_bias"], key=lambda token: body["logit_bias"][token]))
        choice = {"text": self.text(taken), "index": 0, "finish_reason": "length"}
        if chat:
            choice["message"] = {"role": "assistant", "content": choice.pop("text")}
        if count and self.kind != "plain":
            top = last.topk(min(int(count), len(last)))
            pairs = [(int(token), float(value)) for value, token in zip(*top, strict=True)]
            listed = self.kind == "llama_cpp" or chat
            choice["logprobs"] = self.listed(taken, last, pairs) if listed else self.parallel(ids, nats_TV, pairs, body)
        return {"choices": [choice], "model": self.name, "usage": {"prompt_tokens": len(ids), "completion_tokens": 1}}

    def listed(self, taken, last, pairs):
        ids = self.kind == "llama_cpp"

        def one(token, value):
            return {"token": self.text(token), "logprob": value} | ({"id": token} if ids else {})

        return {"content": [one(taken, float(last[taken])) | {"top_logprobs": [one(*pair) for pair in pairs]}]}

    def parallel(self, ids, nats_TV, pairs, body):
        taken = pairs[0][0]
        tokens, values = [self.text(taken)], [pairs[0][1]]
        tops = [{self.text(token): value for token, value in pairs}]
        if body.get("echo"):
            own = [float(nats_TV[place - 1, token]) for place, token in enumerate(ids) if place]
            tokens = [*map(self.text, ids), *tokens]
            values = [None, *own, *values]
            tops = [None] * len(ids) + tops
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer

    def log_message(self, *_):
        pass

    def say(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def drip(self, seconds):
        """A body that never ends."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.02)
        self.close_connection = True

    def do_GET(self):
        self.take({})

    def do_POST(self):
        self.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def take(self, body):
        served = self.server.served
        with served.lock:
            served.seen.append((self.path, body, dict(self.headers)))
            number = len(served.seen)
            if served.misbehave is not None and served.misbehave(self, number):
                return
            if self.path == "/v1/models":
                self.say(200, {"data": [{"id": served.name}]})
            elif body.get("model") != served.name:
                self.say(404, {"error": {"message": f"The model `{body.get('model')}` does not exist."}})
            else:
                self.say(200, served.chat(body) if self.path.endswith("/chat/completions") else served.completion(body))


@contextmanager
def serving(served, *, tls=None):
    """The URL of the server while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.served = True, served
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
