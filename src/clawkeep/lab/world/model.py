"""A model provider's API, as far as OpenClaw asks: it lists one model and answers every conversation the same way."""

from __future__ import annotations

import json

from clawkeep.lab.world.http import Application, Reply, Request, main

MODEL = "lab-model"
ANSWER = "This is the lab's model; it says the same to everyone."


class Model(Application):
    """The OpenAI-compatible subset: `/v1/models` and `/v1/chat/completions`, whole or streamed."""

    def answer(self, request: Request) -> Reply:
        """The reply; 401 without a bearer token, whatever its value."""
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return Reply.json({"error": {"message": "no bearer token", "type": "invalid_request_error"}}, 401)
        if request.path == "/v1/models":
            return Reply.json({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "clawkeep"}]})
        if request.path == "/v1/chat/completions" and request.method == "POST":
            return self._complete(request)
        return Reply.json({"error": {"message": "no such path", "type": "invalid_request_error"}}, 404)

    def _complete(self, request: Request) -> Reply:
        try:
            asked = json.loads(request.body)
        except ValueError:
            return Reply.json({"error": {"message": "not JSON", "type": "invalid_request_error"}}, 400)
        message = {"role": "assistant", "content": ANSWER}
        common = {"id": "chatcmpl-lab", "created": 0, "model": MODEL}
        if not asked.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            return Reply.json({**common, "object": "chat.completion", "choices": [choice], "usage": usage})
        pieces = ({"delta": message, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"})
        chunks = [{**common, "object": "chat.completion.chunk", "choices": [{"index": 0, **p}]} for p in pieces]
        events = "".join(f"data: {json.dumps(c)}\n\n" for c in chunks)
        return Reply(body=f"{events}data: [DONE]\n\n", content_type="text/event-stream")


if __name__ == "__main__":
    main(Model())
