"""What one of several processes does in a test: join the group, load an epoch, and once more from a state on.

Called as `python _one_rank.py RANK RANKS RENDEZVOUS STORE OUT STATE`.
"""

import json
import sys
from pathlib import Path

import torch.distributed

import cgstore
from cgstore.learn import Loader, Split


def main(rank: str, ranks: str, rendezvous: str, store: str, out: str, state: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=int(rank), world_size=int(ranks)
    )
    split = Split.from_dict({"train": [{"dataset": "a/*"}, {"dataset": "b/*"}]})
    loader = Loader(cgstore.open_catalog(store), split.train, batch_size=16, seed=5)
    seen = [look(batch) for batch in loader]
    loader.load_state_dict(json.loads(state))
    seen += [look(batch) for batch in loader]
    Path(out).write_text(json.dumps(seen))
    torch.distributed.destroy_process_group()
    for _ in loader:
        return  # in the middle of an epoch: threads that read keep nobody from ending


def look(batch: dict[str, torch.Tensor]) -> list[object]:
    """Return the samples of all ranks, and which are here."""
    size = torch.tensor(len(batch["frame"]))
    torch.distributed.all_reduce(size)  # fails unless every rank has as many steps
    labels = list(zip(batch["dataset"].tolist(), batch["frame"].tolist(), strict=True))
    return [int(size), labels, float(batch["position"].double().sum())]


if __name__ == "__main__":
    main(*sys.argv[1:])
