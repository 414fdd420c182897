"""hourglass serve"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import device_option

_MEBIBYTE = 1 << 20


@click.command()
@click.argument("models", metavar="[NAME=]MODEL...", nargs=-1, required=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on. Others can reach any that is not loopback."
)
@click.option("--port", default=8300, show_default=True, type=click.IntRange(0, 65535), help="0 chooses a free port.")
@click.option("--allow-host", "allowed", multiple=True, metavar="NAME", help="A further host name that requests may ask for.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes, each with its own copy of the models.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with the bearer token that requests must bring; or set HOURGLASS_TOKEN.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Seconds for a body to come, and to answer.",
)
@click.option(
    "--queue", default=128, show_default=True, type=click.IntRange(1, 100_000), help="Requests under way in a worker."
)
@click.option("--batch", default=64, show_default=True, type=click.IntRange(1, 4096), help="Images in one call of a model.")
@click.option("--max-body", default=32, show_default=True, type=click.IntRange(1, 4096), help="Largest request, in MiB.")
@click.option(
    "--max-pixels",
    default=16.0,
    show_default=True,
    type=click.FloatRange(0.001, 1000),
    help="Largest request, in million pixels.",
)
@click.option(
    "--max-memory",
    default=1024,
    show_default=True,
    type=click.IntRange(1),
    help="Bodies and images under way in a worker, in MiB.",
)
@click.option("--quiet", is_flag=True, help="Log no requests but those that failed here.")
@device_option
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    allowed: tuple[str, ...],
    workers: int,
    token_file: Path | None,
    timeout: float,
    queue: int,
    batch: int,
    max_body: int,
    max_pixels: float,
    max_memory: int,
    quiet: bool,
    device: str,
) -> None:
    """Serve MODELs over HTTP: send an image or an array, get it denoised, scored, encoded, enlarged, compressed or compared.

    A MODEL is a folder, or an .onnx file that `hourglass export` wrote, which needs no torch. Each use of a model has an
    address, as /models/photos/denoise of photos.hg. The page at / shows and tries them, with examples; /openapi.json describes
    them, /metrics is for Prometheus, /health and /ready for whatever watches over it. A model that is saved anew is loaded
    without losing a request. The log goes to standard output, a line of JSON for each event.
    """
    import os

    from hourglass.errors import ParameterError

    try:
        from hourglass.web.listening import listen
        from hourglass.web.service import Limits, Settings, named, serve_models
        from hourglass.web.service.server import token_of
    except ModuleNotFoundError as error:
        extra = 'pip install "hourglass-autoencoders[web]", or of the runtime "hourglass-runtime[web]"'
        raise ParameterError(f"the service needs {error.name}: {extra}.") from error

    token = token_of(token_file, os.environ.pop("HOURGLASS_TOKEN", None))
    limits = Limits(max_body * _MEBIBYTE, round(max_pixels * 1e6), timeout, queue, max_memory * _MEBIBYTE, batch)
    paths = named(models)
    for path in paths.values():
        if not Path(path).exists():
            raise ParameterError(f"{path}: no such model.")
    address = listen(host, port)
    click.echo(f"{len(paths)} models at {address.url} (Ctrl-C ends it).", err=True)
    serve_models(Settings(paths, device, limits, (*address.hosts, *allowed), token, quiet), address, workers)
