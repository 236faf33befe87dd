"""What a run works with: images, supernet, space, limits and amounts, loaded and checked; and what is made of them."""

import copy
import platform
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nat.allocation import keep_freed_memory
from nat.archive import Proposal
from nat.datasets.balance import evenness, loss_weights
from nat.datasets.device_stream import training_stream
from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits, hold_out
from nat.datasets.stream import Batching, TrainStream
from nat.efforts import steps_of
from nat.evaluation import Normalisation, Preprocessing, SubnetEvaluator, preprocessing_of
from nat.forecast import TimeBudget, Trial
from nat.meter import Prices
from nat.objectives import read_objectives
from nat.options import TransferOptions
from nat.plan import Plan, within_evaluations
from nat.preparation import (
    MACHINE_THREADS,
    feasible,
    latency_table,
    limits_of,
    looked_over,
    make_searcher,
    read_splits,
    suitable_threads,
    torch_device,
    transfer_space,
)
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.pretrained.store import load_supernet_file
from nat.problem import SearchProblem
from nat.progress import Progress
from nat.run_folder import RunFolder
from nat.searchers import Searcher, TrainedSearcher, check_searcher
from nat.starting import MOST_IMAGES, adapted_to, has_general_features, start
from nat.supernet.costs import CostTable
from nat.supernet.supernet import Supernet
from nat.tuning import told_of
from nat.warm_start import seeds_of
from nat.workers import Workers

PACKAGES = ("neural-architecture-transfer", "torch", "torchvision", "timm", "pymoo", "numpy", "scikit-learn")


@dataclass
class Shared:
    """What runs of one seed on the same data have in common, made by the first of them and taken up by the others.

    Attributes:
        splits: the images.
        started: weights of the supernet before the first training step, by the number of images they are settled on:
            strategies that hold images out have fewer.
    """

    splits: Splits | None = None
    started: dict[int, dict[str, Tensor]] = field(default_factory=dict)


class Job:
    """Everything that a run needs, loaded and checked; makes no file of its own accord.

    Args:
        options: what is asked.
        folder: of the run.
        progress: shows how far it is.
        shared: of runs that differ in their strategy alone.
        adapted: with the supernet that the run's search has left, not with the one it started from.

    Raises:
        InputError: something that was asked cannot be done.
    """

    def __init__(
        self,
        options: TransferOptions,
        folder: RunFolder,
        progress: Progress,
        shared: Shared | None = None,
        *,
        adapted: bool = False,
    ) -> None:
        self.options, self.folder, self.progress, self.shared = options, folder, progress, shared or Shared()
        check_searcher(options.searcher)
        objectives = read_objectives(options.objectives)
        self.device = torch_device(options.device)
        if adapted:
            supernet, self.card = load_supernet_file(folder.supernet)
        else:
            supernet, self.card = load_supernet(options.supernet, seed=options.seed, model=options.model)
        self.amounts = options.amounts(general=has_general_features(self.card))
        rounds = self._within_evaluations().rounds  # a budget may be too small for a strategy
        searcher = make_searcher(options.searcher, self.amounts, rounds)
        self.passes = searcher.passes
        self.splits = self.shared.splits = self.shared.splits or read_splits(options, progress)
        # images for the supernet's weights, and those that only the strategy's own parameters are trained on
        self.weight_images: ImageSet = self.splits.train
        self.held_out: ImageSet | None = None
        if isinstance(searcher, TrainedSearcher):
            self.weight_images, self.held_out = hold_out(self.splits, searcher.share, options.seed)
        self.space = space = self.card.space if adapted else transfer_space(self.card.space, options, self.splits)
        keep_freed_memory()
        torch.set_num_threads(options.threads or suitable_threads(space.resolutions[-1]))
        asked = options.threads or MACHINE_THREADS  # a run that is resumed has the same options with its torch threads
        self.cpus = int(folder.read_config().get("cpus", asked)) if folder.config.is_file() else asked
        limits, classes = limits_of(options), self.splits.num_classes
        replace(limits, max_latency_ms=None).check(CostTable(space, classes))  # before latency is measured
        self.latency = latency_table(options, space, classes, self.device, folder.latency, progress)
        if self.latency is not None and not options.resolutions and not adapted:
            self.space = space = feasible(space, limits, classes, self.latency)
        costs = CostTable(space, classes, self.latency)
        limits.check(costs)
        max_error = 1.0 if options.min_top1 is None else 1.0 - options.min_top1
        self.problem = SearchProblem(costs, objectives, limits, max_error)
        self.problem.reference_point()  # a user's objective that fails does so here
        weights = loss_weights(options.balance, self.splits.train.labels, classes)
        self.class_weights = None if weights is None else weights.to(self.device)
        self.supernet = self.placed(supernet)

    def placed(self, supernet: Supernet) -> Supernet:
        """A supernet for the images' classes and sizes, on the device.

        Its layout is set here, so that a subnet made later from the saved weights is the same to the last digit.
        """
        supernet = adapted_to(supernet, self.space, self.splits.num_classes, self.options.seed).to(self.device)
        return supernet.to(memory_format=torch.channels_last)

    def config(self) -> dict[str, Any]:
        """Content of config.json: the options with every amount resolved, so that later defaults change nothing."""
        resolved = {"overrides": self.amounts.model_dump(mode="json"), "threads": torch.get_num_threads()}
        looked = looked_over(self.splits, self.options, self.progress, self.folder.duplicates)
        return {
            "options": self.options.model_dump(mode="json") | resolved,
            "space": self.space.to_json(),
            "data": told_of(self.splits, self.options) | looked,
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "threads": torch.get_num_threads(),
            "cpus": self.cpus,
            "device": str(self.device),
        }

    def _within_evaluations(self, first_steps: int = 0, round_steps: int = 0) -> Plan:
        """The effort's amounts, cut to the budget of evaluations, if there is one."""
        a, frozen = self.amounts, self.options.adaptation == "frozen"
        plan = Plan(a.initial, a.rounds, a.per_round, a.archive, first_steps, round_steps, self.options.seed, frozen)
        return plan if self.options.evaluations is None else within_evaluations(plan, self.options.evaluations)

    def plan(self, stream: TrainStream) -> Plan:
        """The amounts of the search within the budget of evaluations, if there is one."""
        texts = (self.amounts.first_training, self.amounts.round_training)
        return self._within_evaluations(*(steps_of(text, stream.steps_per_epoch) for text in texts))

    def workers(self, nets: int) -> Workers:
        """How many of so many nets are fine-tuned at once: one on a GPU, which many would only share."""
        threads = torch.get_num_threads()
        if self.device.type != "cpu":
            return Workers(1, threads)
        pixels = self.amounts.batch * self.space.resolutions[-1] ** 2
        return Workers.sharing(self.cpus, threads, nets, pixels)

    def time_budget(self, stream: TrainStream, evaluator: SubnetEvaluator, nets: int) -> TimeBudget:
        """What keeps the run within its time, so many nets to be fine-tuned; times a few steps and evaluations."""
        assert self.options.time is not None
        self.progress.say(f"keeping to {self.options.time:.0f} s")
        images = len(self.splits.val) + len(self.splits.test)
        trial = Trial(self.problem, self.supernet, stream, evaluator, images, self.workers(nets), self.passes)
        return TimeBudget(self.options.time, self.folder.elapsed, self.folder.plan, trial)

    def prices(self, searcher: Searcher, evaluator: SubnetEvaluator) -> Prices:
        """What a strategy's work on these images costs, in passes."""
        images, calibration = len(self.splits.train), len(evaluator.calibration)
        started = 0 if self.card.elastic else calibration
        started += min(MOST_IMAGES, images) + calibration if self.amounts.fit_classifier else 0
        return Prices.of(searcher, self.amounts.batch, calibration + len(evaluator.validation), started)

    def load_adapted(self) -> None:
        """Gives the supernet the weights that the search has left."""
        supernet, _ = load_supernet_file(self.folder.supernet)
        self.supernet.load_state_dict(supernet.state_dict())

    def seeds(self, initial: int) -> list[Proposal]:
        """Half of the initial sample, of the run to start from, if there is one."""
        if self.options.warm_start is None:
            return []
        return seeds_of(Path(self.options.warm_start), self.problem, initial // 2)

    def make_ready(self, supernet: Supernet, evaluator: SubnetEvaluator) -> None:
        """Does what a supernet needs before its first training step, or takes it up from a run of the same seed."""
        ready, images, seed = self.shared.started, self.weight_images, self.options.seed
        if len(images) in ready:
            supernet.load_state_dict(ready[len(images)])
            return
        start(supernet, self.card, images, evaluator, seed, self.progress, fit=self.amounts.fit_classifier)
        ready[len(images)] = copy.deepcopy(supernet.state_dict())

    def evaluator(self, normalisation: Normalisation | None = None) -> SubnetEvaluator:
        """Measures architectures on this job's validation split; normalised as for the supernet, or another network."""
        validation = self.splits.val
        if len(validation) > self.amounts.validation_images:
            generator = torch.Generator().manual_seed(self.options.seed)
            chosen = torch.randperm(len(validation), generator=generator)[: self.amounts.validation_images]
            validation = validation.subset(chosen.sort().values)
        return SubnetEvaluator(
            self.splits.train,
            validation,
            self.preprocessing(normalisation),
            calibration_images=self.amounts.calibration_images,
            device=self.device,
            seed=self.options.seed,
        )

    def preprocessing(self, normalisation: Normalisation | None = None) -> Preprocessing:
        """What images go through, by input size."""
        return preprocessing_of(self.splits.card.crop_fraction, normalisation or self.card)

    def stream(
        self, seed: int, images: ImageSet | None = None, normalisation: Normalisation | None = None
    ) -> TrainStream:
        """Training batches of this job's images, or of some of them."""
        to = normalisation or self.card
        batching = Batching.suited(self.splits.card, self.amounts.batch, seed, to.mean, to.std)
        even = evenness(self.options.balance, self.splits.train.labels)
        crop_area = max(batching.min_crop_area, self.amounts.min_crop_area)
        batching = replace(batching, min_crop_area=crop_area, evenness=even)
        return training_stream(self.splits.train if images is None else images, batching, device=self.device)

    def adapted_card(self) -> Card:
        """What the adapted supernet is."""
        then = f"; then {self.splits.card.name}"
        return Card(
            name=f"{self.card.name}-{self.splits.card.name}",
            title=f"{self.card.title}, adapted to {self.splits.card.name}",
            space=self.space,
            num_classes=self.splits.num_classes,
            mean=self.card.mean,
            std=self.card.std,
            trained_on=self.card.trained_on.removesuffix(then) + then,  # said once of one that is adapted already
            licence=self.card.licence,
        )
