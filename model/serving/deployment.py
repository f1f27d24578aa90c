"""The adapter to Ray Serve: the four functions behind HTTP, requests gathered into true batches.

A copy of this file lies at the root of a packed artifact, where AWS's Ray Serve container looks for
`deployment:app` as `config.yaml` tells it; the artifact it serves is the folder that holds it. The
container's own adapter answers `/ping` and sends `/invocations` here as `POST /`; both are answered here
too, for a Ray Serve without that adapter. A model that cannot be loaded leaves the container unhealthy. One
request's refusal or failure costs no other that it was gathered with, and no answer or log line holds a
sequence.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import ray
import torch
from ray import serve
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

FOLDER = Path(__file__).resolve().parent
if (FOLDER / "code").is_dir():  # in an artifact; a replica imports this file anew, so the path is set here
    sys.path.insert(0, str(FOLDER / "code"))

from model.serving.inference import (  # noqa: E402
    JSON,
    Request,
    RequestError,
    input_fn,
    model_fn,
    output_fn,
    predict_many,
)
from model.serving.loading import Model  # noqa: E402

MAX_BODY_BYTES = 6 * 1024 * 1024  # InvokeEndpoint's limit
# Of the requests gathered into one batch: enough to fill the model, few enough that none waits long for the
# others. A larger request is a batch of its own.
BATCH_RESIDUES = 8192
WAIT_SECONDS = 0.005  # for another request to gather; under load they gather while a batch is computed


def residues(requests: list[Request]) -> int:
    """The size of a batch of requests; one alone never exceeds BATCH_RESIDUES."""
    sizes = (sum(len(one) + 1 for one in each.sequences if isinstance(one, str)) for each in requests)
    return sum(min(size, BATCH_RESIDUES) for size in sizes)


@serve.deployment(  # type: ignore[untyped-decorator, unused-ignore]
    max_ongoing_requests=64,
    ray_actor_options={"num_cpus": 0},
)
class Predictor:
    """One model in one process, which has the machine's cores to itself."""

    def __init__(self, folder: str) -> None:
        # Ray gives an actor one thread; `num_cpus` would give more, but waits for cores that are not free.
        torch.set_num_threads(max(1, int(ray.cluster_resources().get("CPU", os.cpu_count() or 1))))
        self.model: Model = model_fn(folder)

    async def __call__(self, http: HttpRequest) -> Response:
        """Answer one HTTP request."""
        if http.method == "GET":
            return Response(status_code=200 if http.url.path in ("/", "/ping") else 404)
        if http.method != "POST" or http.url.path not in ("/", "/invocations"):
            return _refusal(404, json.dumps({"error": "expected POST /invocations"}))
        body = await http.body()
        if len(body) > MAX_BODY_BYTES:
            return _refusal(413, json.dumps({"error": f"expected at most {MAX_BODY_BYTES} bytes"}))
        try:
            request = input_fn(body, http.headers.get("content-type", JSON))
            answer = await self.gather(request)
            if isinstance(answer, Exception):
                raise answer
            return Response(output_fn(answer, http.headers.get("accept", JSON)), media_type=JSON)
        except RequestError as refused:
            return _refusal(refused.status_code, refused.message)

    @serve.batch(  # type: ignore[untyped-decorator, unused-ignore]
        max_batch_size=BATCH_RESIDUES, batch_wait_timeout_s=WAIT_SECONDS, batch_size_fn=residues
    )
    async def gather(self, requests: list[Request]) -> list[dict[str, Any] | Exception]:
        """The answers to several requests, computed together."""
        # In a thread, so that further requests are taken in meanwhile.
        return await asyncio.to_thread(answer_all, requests, self.model)


def answer_all(requests: list[Request], model: Model) -> list[dict[str, Any] | Exception]:
    """An answer or an error for each request; requests that fail together are tried one by one."""
    try:
        return [*predict_many(requests, model)]
    except (RuntimeError, MemoryError) as failure:  # torch's errors are RuntimeErrors
        if len(requests) == 1:
            name = type(failure).__name__
            return [RequestError(f"the model failed with {name}", 500, "Internal Server Error")]
        return [answer_all([request], model)[0] for request in requests]


def _refusal(status: int, message: str) -> Response:
    return Response(message, status_code=status, media_type=JSON)


def app(_arguments: dict[str, str]) -> serve.Application:
    """Builds the application; errors of loading the model are raised.

    Ray goes on answering its health check with 200 where a replica cannot start, and the container's `/ping`
    is that check. Where the application cannot be built it has no routes, and the answer is 503: so SageMaker
    replaces the container, or says that it does not start. The build is a task of its own, which ends and
    frees its memory before the first replica starts.
    https://github.com/aws/deep-learning-containers/tree/main/scripts/docker/ray
    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
    """
    model_fn(str(FOLDER))
    # Ray hides the GPUs from a task that asks for none, as this one: torch would see none here.
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    options = {"num_cpus": 0, "num_gpus": gpus}
    bound: serve.Application = Predictor.options(ray_actor_options=options).bind(str(FOLDER))  # type: ignore[attr-defined, unused-ignore]
    return bound
