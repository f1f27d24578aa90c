"""The cloud's process: `python -m protloc.cloud.server HOME SOCKET`. `lifecycle` starts it, SIGTERM ends it.

SOCKET is the number of a listening socket that `lifecycle` hands over, so that its port stays its own.

The order matters: the engine reads its variables when it is imported, state is back before the first request,
and functions and model servers start once requests are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from protloc.cloud import idleness

if TYPE_CHECKING:  # imported in `build`: the engine reads its variables at its import
    from protloc.cloud.engine import Engine
    from protloc.cloud.engine.executions import Executions
    from protloc.cloud.engine.generations import Generations
    from protloc.cloud.engine.state import Saver
    from protloc.cloud.idleness import Idleness
    from protloc.cloud.lambdas.pool import WorkerPool
    from protloc.cloud.sagemaker.service import SageMaker

FUNCTIONS_AT_ONCE = 16
HOME_CHECK_SECONDS = 5.0
EVENT_MARGIN_SECONDS = 2.0  # an object's event follows it a moment later
MODELS_RETURN_SECONDS = 300.0
OWNER_CHECK_SECONDS = 0.5
NOT_STARTED = 3
"""The exit status where the state is damaged or missing; the last line of the log has the remedy."""
OWNER_VARIABLE = "PROTLOC_CLOUD_OWNER"

log = logging.getLogger("protloc.cloud")


class Parts(NamedTuple):
    """The parts of a running cloud; `saved_at` is when the state it began with was taken."""

    engine: Engine
    saver: Saver
    sagemaker: SageMaker
    executions: Executions
    pool: WorkerPool
    idleness: Idleness
    saved_at: float | None


def build(home: Path, port: int, recover: bool = False) -> Parts:
    """The engine with everything added and its state restored. Raises `LostStateError`."""
    from protloc.cloud.contracts import front_door
    from protloc.cloud.engine import (
        Engine,
        access,
        delivery,
        durability,
        fairness,
        memory,
        messages,
        multipart,
        repairs,
        trust,
    )
    from protloc.cloud.engine import state as snapshot
    from protloc.cloud.engine.clock import Clock
    from protloc.cloud.engine.executions import Executions
    from protloc.cloud.engine.names import REGION
    from protloc.cloud.engine.rows import Rows
    from protloc.cloud.engine.streams import Streams
    from protloc.cloud.engine.tables import rows_are_kept_on_disk
    from protloc.cloud.lambdas.pool import WorkerPool
    from protloc.cloud.sagemaker import resource_types as templates
    from protloc.cloud.sagemaker.scaling import Scaling
    from protloc.cloud.sagemaker.service import SageMaker
    from protloc.cloud.sagemaker.storage import S3AsRole

    generations, objects_exist = settled(home, recover)
    pool = WorkerPool(home / "tmp" / "functions", FUNCTIONS_AT_ONCE, max(4, 2 * (os.cpu_count() or 1)))
    engine = Engine(home, port, pool)
    scaling = Scaling()

    def storage(role: str) -> S3AsRole:
        return S3AsRole(engine.endpoint_url, REGION, engine.role_credentials(role, "SageMaker"))

    def environment(role: str) -> dict[str, str]:
        credentials = {
            name.upper(): value for name, value in engine.role_credentials(role, "SageMaker").items()
        }
        return {
            **credentials,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": engine.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    sagemaker = SageMaker(home, storage, environment, scaling.may_grow, lambda: engine.changed())
    engine.add_service(sagemaker, "sagemaker", "SageMaker", runtime="sagemaker-runtime")
    engine.add_service(scaling, "applicationautoscaling", "ApplicationAutoScaling")
    templates.add_types(engine, sagemaker, scaling)
    durability.objects_are_kept_whole(lambda: engine.changed())
    multipart.parts_are_kept_on_disk()
    engine.check_requests(front_door.refusal)
    requests = access.access_log()
    repairs.repair_all(lambda: engine.changed(), requests, sagemaker.hosted)
    executions = Executions(lambda: engine.changed())
    trust.services_need_to_be_let_in(requests)
    engine.refusal = access.refusals(sagemaker.hosted)
    delivery.functions_may_be_allowed_to_loop()
    delivery.messages_keep_the_trace_of_their_sender()
    fairness.queues_are_fair()
    delivery.queues_lose_no_message(lambda: engine.changed())
    clock = Clock(delivery.move_along)
    clock.watch()
    delivery.deliveries_come_back(engine.delivers, clock.look, lambda: engine.changed())
    Streams(engine.serving, engine.delivers, lambda: engine.changed())
    saved = generations.read(objects_exist, recover)
    rows = Rows(home / "state")
    rows.open(saved.get("rows") if saved else None, generations.number, recover)
    if saved is not None:
        memory.restore(engine, saved)
    rows_are_kept_on_disk(rows, lambda: engine.changed())
    saver = snapshot.Saver(generations, lambda: memory.capture(engine, rows), engine.run_at_rest, rows)
    engine.changed, engine.unsaved = saver.changed, lambda: saver.failure

    def at_work() -> bool:
        return executions.at_work() or sagemaker.at_work() or messages.any_left()

    idle = idleness.Idleness(at_work)
    engine.report = lambda: {**saver.report(), "idle_seconds": round(idle.seconds(), 1)}
    return Parts(engine, saver, sagemaker, executions, pool, idle, saved["taken"] if saved else None)


def settled(home: Path, recover: bool) -> tuple[Generations, bool]:
    """The generations of the state, and whether there are objects, whose files are in order afterwards.

    Before the engine is imported, which reads the objects. To recover without any whole state, the objects
    are put aside: without a state they have no names.
    """
    from protloc.cloud.disk import SYSTEM, TEMPORARY, objects
    from protloc.cloud.engine.generations import Generations

    stored = home / "s3"
    generations = Generations(home / "state", stored)
    for path in objects.recover(SYSTEM, objects.interrupted(map(str, stored.rglob("*" + TEMPORARY)))):
        log.error("%s is damaged: its body is not the one that was stored", path)
    exist = next(stored.rglob("*" + objects.SIDECAR), None) is not None
    if recover and exist and not generations.any_whole():
        aside = stored.with_name(f"s3.without-state.{int(time.time())}")
        stored.rename(aside)
        stored.mkdir(mode=0o700)
        log.warning("no state is whole: the files are in %s, and the cloud begins empty", aside)
        exist = False
    return generations, exist


def end_with(owner: int) -> None:
    """Exit as soon as the process `owner` is gone, however it ended; functions, models and jobs follow.

    Nothing is saved: the state is of no use without its owner.
    """

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(owner)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(OWNER_CHECK_SECONDS)
        log.warning("process %d, which this cloud belongs to, is gone", owner)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="owner-watch").start()


def run(home: Path, listening: socket.socket, recover: bool = False) -> None:
    """Serve on a socket until SIGTERM or SIGINT."""
    from protloc.cloud import gate, private
    from protloc.cloud.engine import delivery
    from protloc.cloud.engine.generations import LostStateError
    from protloc.cloud.engine.names import environment
    from protloc.cloud.engine.state import UnreadableStateError
    from protloc.cloud.gate import keys

    os.umask(private.UMASK)
    port = listening.getsockname()[1]
    if owner := os.environ.pop(OWNER_VARIABLE, ""):
        end_with(int(owner))
    for folder in ("s3", "state", "tmp", "code", "logs", "sagemaker"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    # Held until the last process of this cloud is gone, a child that still saves state included.
    running = private.opened(home / "running.lock")
    fcntl.flock(running, fcntl.LOCK_EX)
    shutil.rmtree(home / "tmp", ignore_errors=True)
    (home / "tmp").mkdir()
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "MINISTACK_", "LAMBDA_", "LOCALSTACK_"))
    ]:
        del os.environ[name]
    owner_keys = keys.made(home)
    os.environ.update(environment(home, port))
    # The engine's client of Docker, which has nobody to ask here, takes a fifth of a second to import.
    sys.modules["docker"] = None  # type: ignore[assignment]
    # The engine takes this key for the account's root; `gate` has checked the signature.
    os.environ.update(AWS_ACCESS_KEY_ID=owner_keys.access_key, AWS_SECRET_ACCESS_KEY=owner_keys.secret_key)
    try:
        parts = build(home, port, recover)
    except (LostStateError, UnreadableStateError) as problem:
        log.critical("%s", problem)
        logging.shutdown()
        os._exit(NOT_STARTED)
    application: Any = gate.Gate(parts.engine, port, owner_keys, parts.idleness)

    import hypercorn.asyncio
    import hypercorn.config

    config = hypercorn.config.Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    config.graceful_timeout = 2

    def end() -> None:
        parts.saver.stop()
        parts.sagemaker.stop()
        parts.pool.stop()

    async def serve() -> None:
        stopping, closing = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        server = asyncio.create_task(
            hypercorn.asyncio.serve(application, config, shutdown_trigger=closing.wait)
        )
        while not stopping.is_set() and home.exists():  # a cloud without its folder is over
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), HOME_CHECK_SECONDS)
            if server.done():
                server.result()
                break
            limit = idleness.limit(home)
            if limit is not None and parts.idleness.seconds() >= limit:
                log.info("nothing was asked for %.0f s: the cloud ends", limit)
                break
        with ThreadPoolExecutor(1) as thread:  # the loop goes on: storing and saving need it
            if home.exists() and not server.done():
                await asyncio.get_running_loop().run_in_executor(thread, parts.sagemaker.interrupt)
        closing.set()
        # A call in work, of a function that takes its time, holds up the server: it is not waited for.
        await asyncio.wait({server}, timeout=2 * config.graceful_timeout)
        with ThreadPoolExecutor(1) as thread:
            await asyncio.get_running_loop().run_in_executor(thread, end)
        logging.shutdown()
        os._exit(0)  # the engine's threads have no end of their own

    def begin() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/_protloc/health")  # which waits in the socket until requests are answered
        connection.getresponse().read()
        connection.close()
        parts.sagemaker.resume()
        if parts.saved_at is not None:
            delivery.announce_again(parts.saved_at - EVENT_MARGIN_SECONDS)
        parts.saver.save()  # from here on, objects without a state mean that it was lost
        parts.engine.serving.set()
        parts.saver.start()
        log.info("serving on port %d", port)
        # A delivery that found no model yet would be put off, longer each time the cloud dies.
        parts.sagemaker.await_return(MODELS_RETURN_SECONDS)
        parts.engine.delivering.set()
        parts.executions.resume()

    threading.Thread(target=begin, daemon=True, name="begin").start()
    try:
        asyncio.run(serve())
    finally:
        log.exception("the server ended by itself")
        logging.shutdown()
        os._exit(1)


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    run(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])), "--recover" in sys.argv[3:])


if __name__ == "__main__":
    main()
