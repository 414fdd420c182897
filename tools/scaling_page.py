"""docs/scaling.md from what tools/scaling.py measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

BILLION = 1e9
MACHINES, CORES = 10, 16
PLANNED_BATCH = 4096
BAR_MEMORY, BAR_APART, BAR_KILL, BAR_BUILD, BAR_ASK, BAR_RECALL = 0.10, 1e-4, 60.0, 300.0, 1.0, 0.9
Content = dict[str, Any]

_LEAD = """# Past one machine and past memory

How to stream, share and score is in [the guide](uses/scale.md); here is what it costs. `make scaling` (`python
tools/scaling.py`) made this page: every figure is of a command that it ran, one thread a process unless said otherwise,
on generated images, and each row is printed as it is measured. {about}"""

_READING = """## Reading

One core, no worker processes; PNG but for npy and lists of pixels. *Opening* is what finds out how many images there
are, which every process of a training does once; *shuffled* is what a training reads, batches of 512 in blocks from all
over the source."""

_TRAINING = """## Training

An autoencoder with the default's network, one epoch. With one process, files are decoded by one more
process; with two, by two. On two cores, two processes with a decoder each thus want four. The sum of a step is one
vector with all gradients, the loss and the count; *carried* is what the loopback device sent a step, all of the start
of the processes among it."""

_MEMORY = """## Memory

The most that all processes of a command held together (resident, looked at every 20 ms)."""

_SCORING = """## Scoring

Parquet of PNG files; one core, no worker processes. *By two* is two processes as torchrun starts them, each with its
own shards."""

_AGREEMENT = """## One process and two

The largest difference of a weight after one epoch on MNIST, in batches of 512, Adam at a rate of 0.001, Muon at the
default's. They take the same steps but for rounding: in double precision they end within 1e-12 of each other
(`tests/test_distribution.py`). What single precision's rounding grows to is the optimiser's affair; beside it, in the
same run, stands how far one process comes from itself if each first weight is changed by a ten-millionth, and [the
guide](uses/scale.md#what-each-does) has how far it comes if its sums are made in another order.
"""

_KILLED = """## A process is killed

One of two processes on one machine, by SIGKILL, after the first checkpoint. `python tools/two_hosts.py` does it for two
hosts, as network namespaces, and pulls the cable between them: [the guide](uses/scale.md) has its figures."""

_RETRIEVAL = """## Search among a million codes

`python tools/scaling_index.py`: 32 numbers a code, all threads of two cores, 10 neighbours of 1,000 queries that are
not in the index. The second row is one Gaussian cloud without clusters, where lists help least."""


def page(content: Content) -> str:
    """The whole page, of the measurements that there are."""
    abouts = {name: part["about"] for name, part in content.items()}
    codes = sorted({about["code"] for about in abouts.values()})
    processors = sorted({about["processor"] for about in abouts.values()})
    about = f"Processor: {', '.join(processors)}, two cores; code {', '.join(codes)}."
    parts = [_LEAD.format(about=about).rstrip() + "\n"]
    tables = {
        "reading": (_READING, _reading),
        "training": (_TRAINING, _training),
        "memory": (_MEMORY, _memory),
        "scoring": (_SCORING, _scoring),
        "agreement": (_AGREEMENT, _agreement),
        "killed": (_KILLED, _killed),
        "retrieval": (_RETRIEVAL, _retrieval),
    }
    for name, (lead, rows) in tables.items():
        if name in content:
            headings, *lines = rows(content[name]["rows"])
            parts.append(f"{lead.rstrip()}\n\n{_table(headings, lines)}")
    if all(name in content for name in ("reading", "training", "scoring", "retrieval")):
        parts.append(_plan(content))
    return "\n".join(parts) + "\n"


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rules = ["---" if index == 0 else "---:" for index in range(len(headings))]
    return "".join("| " + " | ".join(line) + " |\n" for line in (headings, rules, *lines))


def _sides(row: Content) -> str:
    return "×".join(str(side) for side in row["shape"])


def _reading(rows: list[Content]) -> Iterator[list[str]]:
    yield ["form", "image", "bytes an image", "opened, images/s", "in order, images/s", "shuffled, images/s"]
    for row in rows:
        rates = [f"{row[name]:,.0f}" for name in ("open", "in order", "shuffled")]
        yield [row["form"], _sides(row), f"{row['bytes_an_image']:,.0f}", *rates]


def _training(rows: list[Content]) -> Iterator[list[str]]:
    yield ["data", "image", "batch", "processes", "images/s", "vector, bytes a step", "carried, bytes a step"]
    for row in rows:
        carried = f"{row['carried_bytes_a_step']:,.0f}" if row["processes"] > 1 else ""
        rate = f"{row['images_a_second']:,.0f}"
        yield [row["form"], _sides(row), str(row["batch"]), str(row["processes"]), rate, f"{row['vector_bytes']:,}", carried]


def _memory(rows: list[Content]) -> Iterator[list[str]]:
    yield ["form", "verb", "100,000 images, MB", "1,000,000 images, MB", f"growth (bar {BAR_MEMORY:.0%})"]
    for row in rows:
        yield [row["form"], row["verb"], f"{row['few']:.0f}", f"{row['many']:.0f}", f"{row['growth']:+.1%}"]


def _scoring(rows: list[Content]) -> Iterator[list[str]]:
    yield ["verb", "image", "images/s", "by two, images/s", "bytes written an image"]
    for row in rows:
        rates = [f"{row['images_a_second']:,.0f}", f"{row['by_two']:,.0f}"]
        yield [row["verb"], _sides(row), *rates, f"{row['bytes_an_image']:,.0f}"]


def _agreement(rows: list[Content]) -> Iterator[list[str]]:
    yield ["task", "optimiser", f"apart (bar {BAR_APART:g})", "nudged by 1e-7", "validation losses"]
    for row in rows:
        losses = ", ".join(f"{loss:.5f}" for loss in row["validation_losses"])
        yield [row["task"], row["optimizer"], f"{row['apart']:.1e}", f"{row['nudged_apart']:.1e}", losses]


def _killed(rows: list[Content]) -> Iterator[list[str]]:
    yield ["torchrun", f"over after, s (bar {BAR_KILL:.0f})", "exit code", "model written", "says"]
    for row in rows:
        written = "yes" if row["is_trained"] else "no"
        yield [f"--max-restarts {row['restarts']}", f"{row['seconds']:.1f}", str(row["exit_code"]), written, row["says"]]


def _retrieval(rows: list[Content]) -> Iterator[list[str]]:
    asked, found = f"1,000 queries, s (bar {BAR_ASK:g})", f"recall at 10 (bar {BAR_RECALL})"
    yield [
        "backend",
        "clusters",
        f"build, s (bar {BAR_BUILD:.0f})",
        asked,
        found,
        "save, load, s",
        "bytes a code, beside the code",
    ]
    for row in rows:
        times = f"{row['save_s']:.2f}, {row['load_s']:.2f}"
        yield [
            row["backend"],
            str(row["n_clusters"]),
            f"{row['build_s']:.1f}",
            f"{row['others_s']:.2f}",
            f"{row['others_recall_at_10']:.3f}",
            times,
            f"{row['index_bytes_a_code']:.1f}",
        ]


def _plan(content: Content) -> str:
    """A billion images, from the measured rows alone."""

    def row(part: str, **wanted: Any) -> Content:
        found: Content = next(row for row in content[part]["rows"] if all(row[name] == value for name, value in wanted.items()))
        return found

    shape = [64, 64, 3]
    read, tar = row("reading", form="parquet", shape=shape), row("reading", form="tar", shape=shape)
    folder = row("reading", form="folder", shape=shape)
    one, two = (row("training", form="npy", shape=shape, batch=PLANNED_BATCH, processes=n) for n in (1, 2))
    encode, index = row("scoring", verb="encode", shape=shape), row("retrieval", backend="ivfpq")
    held = index["index_bytes_a_code"] + 4 * index["n_components"]
    cores = MACHINES * CORES
    learned, decoded = 1 / one["images_a_second"], 1 / read["shuffled"]
    kept = two["images_a_second"] / (2 * one["images_a_second"])
    trainers = cores * learned / (learned + decoded)
    epoch = BILLION * (learned + decoded) / cores / kept
    batch = PLANNED_BATCH / 2 * trainers
    steps = BILLION / batch
    wire = 2 * one["vector_bytes"] * steps / epoch * trainers / MACHINES
    scored = BILLION / (encode["images_a_second"] * cores)
    lines = [
        [
            "images, Parquet of PNG",
            f"{BILLION * read['bytes_an_image'] / 1e12:.1f} TB",
            f"1e9 · {read['bytes_an_image']:,.0f} bytes",
        ],
        [
            "opening, each process",
            f"{BILLION / read['open'] / 60:.0f} min",
            f"1e9 / {read['open']:,.0f} images/s",
        ],
        [
            "an epoch",
            f"{epoch / 3600:.1f} h",
            f"1e9 · (1/{one['images_a_second']:,.0f} + 1/{read['shuffled']:,.0f}) s / {cores} cores / {kept:.2f}",
        ],
        ["cores that train, that decode", f"{trainers:.0f}, {cores - trainers:.0f}", "in the ratio of these two terms"],
        [
            "read from storage, together",
            f"{BILLION * read['bytes_an_image'] / epoch / MB:,.0f} MB/s",
            "each image once an epoch, by one process",
        ],
        [
            f"sums, batches of {batch:,.0f}",
            f"{wire / MB:,.0f} MB/s a machine",
            f"2 · {one['vector_bytes']:,} bytes · {steps:,.0f} steps, of {trainers / MACHINES:.0f} processes",
        ],
        ["encoding all", f"{scored / 3600:.1f} h", f"1e9 / ({encode['images_a_second']:,.0f} images/s · {cores} cores)"],
        [
            "codes, Parquet",
            f"{BILLION * encode['bytes_an_image'] / 1e9:,.0f} GB",
            f"1e9 · {encode['bytes_an_image']:,.0f} bytes",
        ],
        [
            "the index, in memory",
            f"{BILLION * held / 1e9:,.0f} GB",
            f"1e9 · {held:.1f} bytes",
        ],
        ["building it, two cores", f"{index['build_s'] * 1000 / 3600:.1f} h", f"1,000 · {index['build_s']:.1f} s"],
    ]
    return _PLAN.format(
        machines=MACHINES,
        cores=CORES,
        table=_table(["", "", "from"], lines),
        memory=BILLION * held / 1e9,
        tar_hours=BILLION / tar["open"] / 3600,
        folder_hours=BILLION / folder["open"] / 3600,
        kept=kept,
        each=PLANNED_BATCH // 2,
        batch=f"{batch:,.0f}",
        steps=f"{steps:,.0f}",
    )


MB = 1e6

_PLAN = """## A plan for a billion images

Of 64×64 in colour, on {machines} machines of {cores} cores each as fast as these two, by arithmetic from the rows
above and nothing else. Each process that trains takes {each:,} images a step, as in the row for two:

{table}
What breaks first, in this order:

1. **The index.** A `Retriever` holds codes and lists in the memory of one machine, {memory:,.0f} GB of them, and names
   besides. Beyond that the codes in Parquet have to be shared out among several indexes, whose answers are merged by
   distance; that is not built.
2. **Millions of files.** Listing them took time that would come to {folder_hours:.1f} h for a billion in each process,
   and no file system is glad of them; of tar files every header is read, {tar_hours:.1f} h. Parquet only has its
   footers read.
3. **The sums.** Two processes kept {kept:.0%} of twice the speed of one; the plan takes that share for any number. More
   than two have not been measured, nor any network but the loopback device; a sum grows with the network's weights and
   not with the images, so larger batches make it rarer.
4. **The steps.** Batches of {batch} make an epoch of {steps} steps. Whether so large a batch learns as well has not been
   measured; smaller ones need as many more sums.
5. **A buffer for many processes.** Each process reads blocks of its own while the buffer holds four for each process;
   beyond that, every process reads everything, with a note: `--buffer` must grow with the processes (16,384
   images are 64 blocks of npy, tar or folder, and about 16 of Parquet with row groups of 1,000)."""
