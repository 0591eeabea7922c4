"""What Lightning does with a loader: an epoch through, and one stopped in the middle and gone on from its checkpoint.

Called as `python _lightning.py STORE FOLDER`; the output ends with what the three runs saw.
"""

import json
import logging
import sys
import warnings

import lightning
import torch

import cgstore
from cgstore.learn import Loader, Split


class Watching(lightning.LightningModule):
    """Learns nothing much and remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(3, 1), []

    def training_step(self, batch, number):
        self.seen.append([batch["dataset"].tolist(), batch["frame"].tolist()])
        return self.layer(batch["position"]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def train(store, folder, steps, checkpoint=None, save=None):
    split = Split.from_dict({"train": [{"dataset": "a/*"}, {"dataset": "b/*"}]})
    loader = Loader(cgstore.open_catalog(store), split.train, batch_size=16, seed=5)
    module = Watching()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(
        max_steps=steps, max_epochs=-1, default_root_dir=folder, enable_checkpointing=save is not None, **quiet
    )
    trainer.fit(module, loader, ckpt_path=checkpoint, **({"weights_only": False} if checkpoint else {}))
    if save:
        trainer.save_checkpoint(save)
    return module.seen


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    store, folder = sys.argv[1:]
    steps = 11  # an epoch has 7
    through = train(store, folder, steps)
    before = train(store, folder, 4, save=f"{folder}/stopped.ckpt")
    after = train(store, folder, steps, checkpoint=f"{folder}/stopped.ckpt")
    sys.stdout.write(json.dumps([through, before, after]))
