"""The cloud's process: `python -m protloc.cloud.server HOME PORT`. Started by `lifecycle`, ended by SIGTERM.

The order matters: the engine reads its variables when it is imported, state is back before the first request,
and functions and model servers start once requests are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # imported in `build`: the engine reads its variables at its import
    from protloc.cloud.engine import Engine
    from protloc.cloud.sagemaker import SageMaker
    from protloc.cloud.snapshot import Saver
    from protloc.cloud.workers import WorkerPool

FUNCTIONS_AT_ONCE = 16
HOME_CHECK_SECONDS = 5.0
EVENT_MARGIN_SECONDS = 2.0  # an object's event follows it a moment later
MODELS_RETURN_SECONDS = 60.0

log = logging.getLogger("protloc.cloud")


class Parts(NamedTuple):
    """What a running cloud consists of; `saved_at` is when the state it began with was taken."""

    engine: Engine
    saver: Saver
    sagemaker: SageMaker
    pool: WorkerPool
    saved_at: float | None


def build(home: Path, port: int) -> Parts:
    """The engine with everything added and its state restored."""
    from protloc.cloud import access, delivery, front_door, repairs, snapshot, templates
    from protloc.cloud import engine as engines
    from protloc.cloud.sagemaker import SageMaker
    from protloc.cloud.scaling import Scaling
    from protloc.cloud.storage import S3AsRole
    from protloc.cloud.workers import WorkerPool

    pool = WorkerPool(home / "tmp" / "functions", FUNCTIONS_AT_ONCE, max(4, 2 * (os.cpu_count() or 1)))
    engine = engines.Engine(home, port, pool)
    scaling = Scaling()

    def storage(role: str) -> S3AsRole:
        return S3AsRole(engine.endpoint_url, engines.REGION, engine.role_credentials(role, "SageMaker"))

    def environment(role: str) -> dict[str, str]:
        credentials = {
            name.upper(): value for name, value in engine.role_credentials(role, "SageMaker").items()
        }
        return {
            **credentials,
            "AWS_REGION": engines.REGION,
            "AWS_DEFAULT_REGION": engines.REGION,
            "AWS_ENDPOINT_URL": engine.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    sagemaker = SageMaker(home, storage, environment, scaling.may_grow, lambda: engine.changed())
    engine.add_service(sagemaker, "sagemaker", "SageMaker", runtime="sagemaker-runtime")
    engine.add_service(scaling, "applicationautoscaling", "ApplicationAutoScaling")
    templates.add_types(engine, sagemaker, scaling)
    engine.check_requests(front_door.refusal)
    repairs.repair_all(lambda: engine.changed(), access.access_log())
    delivery.queues_lose_no_message(lambda: engine.changed())
    delivery.Streams(engine.serving, lambda: engine.changed())
    state_path = home / "state" / "state.pickle"
    saved = snapshot.read(state_path)
    if saved is not None:
        engine.restore(saved)
    saver = snapshot.Saver(state_path, engine.capture, engine.run_at_rest)
    engine.changed, engine.report = saver.changed, saver.report
    return Parts(engine, saver, sagemaker, pool, saved["taken"] if saved else None)


def run(home: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    from protloc.cloud import delivery
    from protloc.cloud import engine as engines

    for folder in ("s3", "state", "tmp", "code", "logs", "sagemaker"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    # Held until the last process of this cloud is gone, a child that still saves state included.
    running = (home / "running.lock").open("w")
    fcntl.flock(running, fcntl.LOCK_EX)
    shutil.rmtree(home / "tmp", ignore_errors=True)
    (home / "tmp").mkdir()
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "MINISTACK_", "LAMBDA_", "LOCALSTACK_"))
    ]:
        del os.environ[name]
    os.environ.update(engines.environment(home, port))
    parts = build(home, port)

    import hypercorn.asyncio
    import hypercorn.config

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    config.graceful_timeout = 2

    async def serve() -> None:
        asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, asked.set)

        async def wait() -> None:
            while not asked.is_set() and home.exists():  # whoever deletes the folder is done with the cloud
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asked.wait(), HOME_CHECK_SECONDS)

        await hypercorn.asyncio.serve(parts.engine, config, shutdown_trigger=wait)

    def begin() -> None:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            threading.Event().wait(0.02)
        parts.sagemaker.resume()
        if parts.saved_at is not None:
            delivery.announce_again(parts.saved_at - EVENT_MARGIN_SECONDS)
        parts.engine.serving.set()
        parts.saver.start()
        log.info("serving on port %d", port)
        # A delivery that found no model yet would be put off, longer each time the cloud dies.
        parts.sagemaker.await_return(MODELS_RETURN_SECONDS)
        parts.engine.delivering.set()

    threading.Thread(target=begin, daemon=True, name="begin").start()
    try:
        asyncio.run(serve())
    finally:
        parts.saver.stop()
        parts.sagemaker.stop()
        parts.pool.stop()
        logging.shutdown()
        os._exit(0)  # the engine's threads have no end of their own


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    run(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
