"""``spdq serve``."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command(short_help="Answer searches over HTTP.")
@click.argument("index_dir", type=PATH)
@click.option(
    "--model",
    "model_dir",
    metavar="MODEL_DIR",
    type=PATH,
    help="The model to embed queries with.  [default: the one the index was built with]",
)
@click.option(
    "--host", default="127.0.0.1", help="The address to listen on; others than this machine's need a token."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="0 takes a free one.")
@click.option(
    "--pictures",
    metavar="DATA.h5",
    type=PATH,
    help="A data set that names the items' pictures, for thumbnails.  [default: that of `spdq build`, or none]",
)
@click.option(
    "--picture-folder",
    metavar="FOLDER",
    type=PATH,
    help="Pictures are shown from this folder alone.  [default: the one that DATA.h5 lies in]",
)
@click.option("--allow-writes", is_flag=True, help="Also add and remove items; needs --token-file.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=PATH,
    help="What clients send as a bearer token; 16 characters or more.  [default: no token]",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Also answer to this name in the Host header.  [default: this machine's names]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Requests worked on at once.  [default: the cores; with --ray at least four an encoder]",
)
@click.option(
    "--deadline", metavar="SECONDS", type=click.FloatRange(min=0.1), default=5.0, help="For one answer."
)
@click.option("--ray", "on_ray", is_flag=True, help="Serve by Ray Serve, which is for searches alone.")
@click.option(
    "--address",
    metavar="ADDRESS",
    help="With --ray: the cluster, HOST:PORT or auto.  [default: a private Ray on this machine]",
)
@click.option(
    "--encoders",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="With --ray: the most processes that embed queries, started as there is work.",
)
@click.option(
    "--replicas",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="With --ray: processes that answer HTTP and search.",
)
def serve(
    index_dir: Path,
    model_dir: Path | None,
    host: str,
    port: int,
    pictures: Path | None,
    picture_folder: Path | None,
    allow_writes: bool,
    token_file: Path | None,
    hosts: tuple[str, ...],
    threads: int | None,
    deadline: float,
    on_ray: bool,
    address: str | None,
    encoders: int,
    replicas: int,
) -> None:
    """Serve an index over HTTP, on this machine alone unless told otherwise, until Ctrl-C or SIGTERM.

    INDEX_DIR is an index, or the folder that `spdq build` made; with --ray also a folder of shards.

    /openapi.json describes what can be asked. Requests under way are answered before the server ends; a newer
    generation of the index is picked up within a second.
    """
    from spdq.distributed.serving import threads_for
    from spdq.errors import UsageError
    from spdq.serving import Settings
    from spdq.serving import serve as run
    from spdq.serving.settings import cores, read_token
    from spdq_cli.engine_folder import made_engine
    from spdq_cli.errors import note

    settings = Settings(
        host=host,
        port=port,
        allow_writes=allow_writes,
        token=None if token_file is None else read_token(token_file),
        allowed_hosts=hosts,
        threads=threads or (threads_for(encoders) if on_ray else cores()),
        deadline=deadline,
    )
    if (made := made_engine(index_dir)) is not None:
        # The model beside the index: the folder may have moved since the index noted where it was.
        index_dir, model_dir, pictures = made[0], model_dir or made[1], pictures or made[2]
    if not on_ray and (address, encoders, replicas) != (None, 1, 1):
        raise UsageError("--address, --encoders and --replicas are for Ray: add --ray")

    def ready(url: str) -> None:
        note(f"serving {index_dir} on {url}")

    if on_ray:
        from spdq.distributed.serving import serve as run_on_ray

        run_on_ray(
            index_dir, model_dir, pictures, settings, ready, picture_folder, address, encoders, replicas
        )
    else:
        run(index_dir, model_dir, pictures, settings, ready, picture_folder)
