"""What a version costs on an object store: requests and bytes of a first version, an append, and nothing new.

python benchmarks/objects.py [FRAMES]

Needs the extra `test`: moto plays S3 on this machine, so that requests are counted; times on a real network differ.
"""

import logging
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from cgstore.catalog import write_catalog
from cgstore.frames import Frames
from cgstore.store.integrity import list_versions
from cgstore.store.mirrors import local_store, write_lists
from cgstore.store.versions import stage
from cgstore.topology import Topology

NAME, URL = "methane/r1/cg", "s3://bucket/store"
PARTICLES, BLOCK = 222, 4096


def topology() -> Topology:
    """Return beads without bonds."""
    index = np.arange(PARTICLES, dtype=np.int32)
    name = np.full(PARTICLES, "CH4")
    none = {"bond": 2, "angle": 3, "dihedral": 4}
    return Topology(
        name=name,
        type=name,
        residue=name,
        residue_id=index,
        molecule=index,
        molecule_kind=name,
        mass=np.full(PARTICLES, 16.0),
        charge=np.zeros(PARTICLES),
        **{term: np.empty((0, width), np.int32) for term, width in none.items()},
    )


def frames(start: int, stop: int) -> Frames:
    """Return frames of beads that diffuse."""
    rng = np.random.default_rng(start)
    steps = rng.normal(0, 0.01, (stop - start, PARTICLES, 3)).cumsum(axis=0)
    position = np.random.default_rng(0).uniform(0, 3, (1, PARTICLES, 3)) + steps
    number = np.arange(start, stop)
    box = np.tile(np.eye(3, dtype=np.float32) * 3, (stop - start, 1, 1))
    return Frames(position=np.round(position, 3).astype(np.float32), time=number * 1.0, step=number * 500, box=box)


def publish(first: int, last: int) -> None:
    """Bring a version with more frames into the store, as an ingest does; the same frames are no version."""
    with local_store(URL, [NAME]) as folder:
        versions = list_versions(folder / NAME)
        if last > first:
            with stage(folder / NAME, base=versions[-1] if versions else None) as staged:
                for start in range(first, last, BLOCK):
                    block = frames(start, min(start + BLOCK, last))
                    if start == 0:
                        staged.create(topology(), block, precision=0.001, attrs={})
                    staged.append(block)
                staged.publish()
    write_lists(URL, write_catalog)


class Meter:
    """Counts requests by kind, and bytes of bodies sent and received, in the client of the object store."""

    def __init__(self) -> None:
        import s3fs.core

        self.count: Counter[str] = Counter()
        kind, call = s3fs.core.S3FileSystem, s3fs.core.S3FileSystem._call_s3

        async def counted(fs, method, *words, **options):
            self.count[method] += 1
            self.count["sent"] += len(options.get("Body", b""))
            answer = await call(fs, method, *words, **options)
            if method == "get_object":
                self.count["received"] += int(answer["ContentLength"])
            return answer

        kind._call_s3 = counted

    def show(self, what: str) -> None:
        """Print what was counted since the last time."""
        sent, received = (self.count.pop(key, 0) / 1e6 for key in ("sent", "received"))
        requests = ", ".join(f"{count} {method}" for method, count in sorted(self.count.items()))
        print(
            f"{what}: {sent:.2f} MB sent, {received:.2f} MB received; {sum(self.count.values())} requests: {requests}"
        )
        self.count.clear()


def main(words: list[str]) -> None:
    """Count for a first version of FRAMES frames, an append of a hundredth of it, and a look that finds nothing new."""
    from moto.server import ThreadedMotoServer

    total = next((int(word) for word in words if word.isdigit()), 100_000)
    logging.getLogger("werkzeug").disabled = True
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    import fsspec

    fsspec.filesystem("s3").mkdir(Path(URL.split("://")[1]).parts[0])
    meter = Meter()
    publish(0, total)
    meter.show(f"first version of {total} frames")
    publish(total, total + total // 100)
    meter.show(f"append of {total // 100} frames")
    publish(total, total)
    meter.show("nothing new")
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
