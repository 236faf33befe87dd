"""The whole job, resumable: from images and a supernet to fine-tuned, verified subnets in a run's folder."""

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nat.archive import Archive, Evaluation
from nat.bundle import Bundle, load_bundle, measure, save_bundle
from nat.datasets.device_stream import training_stream
from nat.datasets.preprocess import Preprocess
from nat.datasets.stream import Batching, TrainStream
from nat.errors import RunError, TransferError
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.files import write_json
from nat.finetuning import FinetuneRecipe, train_subnet
from nat.fronts import SCHEMA, control_row, front_hypervolume, pareto_set, row, thinned, verdict
from nat.options import TransferOptions, steps_of
from nat.plots import plot_front
from nat.preparation import (
    make_searcher,
    read_splits,
    suitable_threads,
    torch_device,
    transfer_space,
    with_absolute_paths,
)
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.pretrained.store import save_supernet
from nat.problem import SearchProblem, read_objectives
from nat.progress import Progress, Silence
from nat.run_folder import RunFolder
from nat.search import Plan, Search
from nat.searchers import check_searcher
from nat.starting import adapted_to, has_general_features, start
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits
from nat.supernet.subnet import Subnet
from nat.supernet.training import Schedule, WeightTrainer

PACKAGES = ("neural-architecture-transfer", "torch", "torchvision", "timm", "pymoo", "numpy", "scikit-learn")


def transfer(options: TransferOptions, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Runs a transfer in a new folder.

    Args:
        options: what is asked.
        out: the run's folder, new or empty; it is made once everything has been checked.
        progress: shows how far it is.

    Returns:
        The content of front.json.

    Raises:
        InputError: something that was asked cannot be done; nothing is left behind.
        TransferError: the work failed.
    """
    folder = RunFolder(out)
    folder.check_free()
    job = Transfer(with_absolute_paths(options), folder, progress or Silence())
    with folder.locked():
        folder.create(job.config())
        return job.run()


def resume(out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Goes on with a run to the same result as if it had not been interrupted; a finished one returns at once.

    Raises:
        RunError: there is no run, its data have changed, or another process is at work in it.
    """
    folder = RunFolder(out)
    folder.read_config()
    if folder.front.is_file():
        return folder.read_front()
    folder.read_options()  # before the lock, which makes a file
    with folder.locked():
        folder.sweep()
        return reopened(folder, progress or Silence()).run()


def reopened(folder: RunFolder, progress: Progress) -> "Transfer":
    """The job of an existing run, as it was asked.

    Raises:
        RunError: there is no run, or its data have changed, so that its splits would be others, or its supernet.
    """
    config = folder.read_config()
    job = Transfer(folder.read_options(), folder, progress)
    if job.splits.fingerprint != config["data"].get("fingerprint"):
        raise RunError(f"the images of '{job.options.data}' are not those that the run started with. Start a new run.")
    if json.loads(json.dumps(job.space.to_json())) != config["space"]:
        raise RunError(f"'{job.options.supernet}' has other choices than when the run started. Start a new run.")
    return job


class Transfer:
    """One job, with everything it needs loaded and checked; makes no file before `run`."""

    def __init__(self, options: TransferOptions, folder: RunFolder, progress: Progress) -> None:
        self.options, self.folder, self.progress = options, folder, progress
        check_searcher(options.searcher)
        objectives = read_objectives(options.objectives)
        self.device = torch_device(options.device)
        supernet, self.card = load_supernet(options.supernet, seed=options.seed, model=options.model)
        self.amounts = options.amounts(general=has_general_features(self.card))
        self.splits = read_splits(options, progress)
        if skipped := self.splits.skipped:
            progress.say(f"skipped {len(skipped)} corrupt images, such as {skipped[0]}")
        self.space = space = transfer_space(self.card.space, options, self.splits)
        limits = Limits(options.max_macs, options.max_params)
        costs = CostTable(space, self.splits.num_classes)
        limits.check(costs)
        self.problem = SearchProblem(costs, objectives, limits)
        torch.set_num_threads(options.threads or suitable_threads(space))
        supernet = adapted_to(supernet, space, self.splits.num_classes, options.seed).to(self.device)
        # here, so that a subnet made later from the saved weights is the same to the last digit
        self.supernet = supernet.to(memory_format=torch.channels_last)

    def config(self) -> dict[str, Any]:
        """Content of config.json: the options with every amount resolved, so that later defaults change nothing."""
        resolved = {"overrides": self.amounts.model_dump(mode="json"), "threads": torch.get_num_threads()}
        return {
            "options": self.options.model_dump(mode="json") | resolved,
            "space": self.space.to_json(),
            "data": self._data(),
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "threads": torch.get_num_threads(),
            "device": str(self.device),
        }

    def run(self) -> dict[str, Any]:
        """Searches, fine-tunes, measures, reports; takes up whatever is there already."""
        with Archive(self.folder.archive) as archive:
            evaluations, total = self._search(archive), len(archive)
        front = thinned(pareto_set(self.problem, evaluations), self.amounts.front)
        tuned = {e.architecture: self._tuned(e.architecture, self.folder.subnets) for e in front}
        controls = {
            name: self._tuned(architecture, self.folder.controls)
            for name, architecture in (
                ("largest subnet", self.space.largest()),
                ("smallest subnet", self.space.smallest()),
            )
        }
        return self._report(evaluations, total, front, tuned, controls)

    def _search(self, archive: Archive) -> list[Evaluation]:
        a = self.amounts
        stream = self.stream(self.options.seed)
        first, each = (steps_of(text, stream.steps_per_epoch) for text in (a.first_training, a.round_training))
        plan = Plan(a.initial, a.rounds, a.per_round, a.archive, first, each, self.options.seed)
        evaluator = self.evaluator()
        schedule = Schedule(a.learning_rate, plan.total_steps, min(20, first // 10))
        trainer = WeightTrainer(self.supernet, schedule)
        search = Search(
            self.problem,
            make_searcher(self.options.searcher, a),
            plan,
            trainer,
            stream,
            evaluator,
            archive,
            self.folder.training,
            self.folder.log,
            self.progress,
        )
        if not search.restore():
            self._start(evaluator)
            search.save()
        evaluations = search.run()
        if not self.folder.supernet.is_file():
            save_supernet(self.supernet, self._adapted_card(), self.folder.supernet)
        return evaluations

    def _start(self, evaluator: SubnetEvaluator) -> None:
        started = time.perf_counter()
        start(
            self.supernet,
            self.card,
            self.splits.train,
            evaluator,
            self.options.seed,
            self.progress,
            fit=self.amounts.fit_classifier,
        )
        self.folder.log("start", time.perf_counter() - started)

    def evaluator(self) -> SubnetEvaluator:
        """Measures architectures on this job's validation split."""
        validation = self.splits.val
        if len(validation) > self.amounts.validation_images:
            generator = torch.Generator().manual_seed(self.options.seed)
            chosen = torch.randperm(len(validation), generator=generator)[: self.amounts.validation_images]
            validation = validation.subset(chosen.sort().values)
        return SubnetEvaluator(
            self.splits.train,
            validation,
            self.preprocessing,
            calibration_images=self.amounts.calibration_images,
            device=self.device,
            seed=self.options.seed,
        )

    def preprocessing(self, resolution: int) -> Preprocess:
        """What images go through for an input size."""
        return preprocessing_of(self.splits.card.crop_fraction, self.card)(resolution)

    def stream(self, seed: int) -> TrainStream:
        """Training batches of this job's images."""
        batching = Batching.suited(self.splits.card, self.amounts.batch, seed, self.card.mean, self.card.std)
        batching = replace(batching, min_crop_area=max(batching.min_crop_area, self.amounts.min_crop_area))
        return training_stream(self.splits.train, batching, device=self.device)

    def _tuned(self, architecture: Architecture, where: Path) -> Bundle:
        """The fine-tuned bundle of an architecture, from the run's folders if it is there."""
        ready = [folder / architecture.id for folder in (self.folder.subnets, where)]
        path = next((path for path in ready if path.is_dir()), None)
        if path is None:
            path = where / architecture.id
            started = time.perf_counter()
            self.write_subnet(architecture, path, finetune=True)
            self.folder.log("finetune", time.perf_counter() - started, {"id": architecture.id})
        return load_bundle(path)

    def write_subnet(self, architecture: Architecture, path: Path, *, finetune: bool) -> None:
        """Writes the bundle of an architecture with the adapted supernet's weights, fine-tuned or only recalibrated."""
        subnet = self.evaluator().calibrated(self.supernet, architecture)
        if finetune:
            stream = self.stream(self.options.seed + 1)
            recipe = FinetuneRecipe(
                steps_of(self.amounts.finetuning, stream.steps_per_epoch), self.amounts.finetuning_rate
            )
            title = f"fine-tuning {architecture.id} at {architecture.resolution} px"
            with self.progress.task(title, recipe.steps) as task:
                train_subnet(subnet, stream, recipe, self.device, task.advance)
        self._write_bundle(subnet.cpu(), path, finetuned=finetune)

    def _write_bundle(self, subnet: Subnet, path: Path, *, finetuned: bool) -> None:
        """Writes a bundle whose metrics are measured with the network as it is read back."""
        architecture = subnet.architecture
        plain = Subnet(self.space, architecture, self.splits.num_classes).eval()
        plain.load_state_dict(subnet.state_dict())  # the values, not the layout, which decides rounding
        preprocess = self.preprocessing(architecture.resolution)
        macs, params = self.problem.costs.of(architecture)
        metrics = {
            "id": architecture.id,
            "macs": macs,
            "params": params,
            "resolution": architecture.resolution,
            "finetuned": finetuned,
            "supernet": Path(self.options.supernet).name,  # of a file, not where it lies
            "val": measure(plain, preprocess, self.splits.val),
            "test": measure(plain, preprocess, self.splits.test),
            "threads": torch.get_num_threads(),
            "data": self._data(),
        }
        save_bundle(path, plain, preprocess, self.splits.classes, metrics)

    def _data(self) -> dict[str, Any]:
        return {
            "name": self.splits.card.name,
            "source": self.options.data,
            "data_root": self.options.data_root,
            "seed": self.options.seed,
            "skip_corrupt": self.options.skip_corrupt,
            "fingerprint": self.splits.fingerprint,
            "classes": self.splits.num_classes,
            "train": len(self.splits.train),
            "val": len(self.splits.val),
            "test": len(self.splits.test),
            "skipped": len(self.splits.skipped),
        }

    def _adapted_card(self) -> Card:
        return Card(
            name=f"{self.card.name}-{self.splits.card.name}",
            title=f"{self.card.title}, adapted to {self.splits.card.name}",
            space=self.space,
            num_classes=self.splits.num_classes,
            mean=self.card.mean,
            std=self.card.std,
            trained_on=f"{self.card.trained_on}; then {self.splits.card.name}",
            licence=self.card.licence,
        )

    def _report(
        self,
        evaluations: Sequence[Evaluation],
        total: int,
        front: Sequence[Evaluation],
        tuned: dict[Architecture, Bundle],
        controls: dict[str, Bundle],
    ) -> dict[str, Any]:
        if not front:
            raise TransferError("no subnet could be evaluated with the final weights.")
        reference = self.problem.reference_point()
        rows = [row(evaluation, tuned[evaluation.architecture].metrics) for evaluation in front]
        limits = {"macs": self.options.max_macs, "params": self.options.max_params}
        control_rows = [control_row(name, bundle.metrics) for name, bundle in controls.items()]
        report = {
            "schema": SCHEMA,
            "dataset": self.splits.card.name,
            "num_classes": self.splits.num_classes,
            "supernet": self.options.supernet,
            "searcher": self.options.searcher,
            "seed": self.options.seed,
            "evaluations": total,
            "seconds": round(self.folder.seconds_logged(), 1),
            "hypervolume": front_hypervolume(self.problem, evaluations),
            "reference_point": dict(zip(self.problem.objectives, reference.tolist(), strict=True)),
            "limits": limits,
            "front": rows,
            "controls": control_rows,
            "verdict": verdict(rows, control_rows, limits),
        }
        searched = [(e.objectives["macs"], 1.0 - e.objectives["top1_error"]) for e in evaluations]
        plot_front(report, searched, self.folder.picture)
        write_json(self.folder.front, report)  # last: it says that the run is finished
        return report
