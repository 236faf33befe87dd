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

from nat.archive import Archive, Evaluation, Proposal
from nat.bundle import Bundle, answers, load_bundle, metrics_of, save_bundle
from nat.datasets.device_stream import training_stream
from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import hold_out
from nat.datasets.stream import Batching, TrainStream
from nat.errors import BudgetError, RunError
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.files import write_json
from nat.finetuning import FinetuneRecipe, train_subnet
from nat.forecast import TimeBudget, Trial
from nat.fronts import pareto_set, thinned
from nat.objectives import ERROR, read_objectives
from nat.options import TransferOptions, steps_of
from nat.plan import Pace, Plan, within_evaluations
from nat.preparation import (
    feasible,
    latency_table,
    limits_of,
    make_searcher,
    read_splits,
    suitable_threads,
    torch_device,
    transfer_space,
    with_absolute_paths,
)
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.pretrained.store import load_supernet_file, save_supernet
from nat.problem import SearchProblem
from nat.progress import Progress, Silence
from nat.reports import write_report
from nat.run_folder import RunFolder
from nat.search import Search
from nat.searchers import SEARCHERS, check_searcher
from nat.starting import adapted_to, has_general_features, start
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.subnet import Subnet
from nat.supernet.training import Schedule, WeightTrainer
from nat.warm_start import seeds_of

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
    if options.warm_start is not None:
        job.seeds(job.amounts.initial)  # what cannot be used is said before anything is made
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
        self.tuning_steps: int | None = None
        check_searcher(options.searcher)
        objectives = read_objectives(options.objectives)
        self.device = torch_device(options.device)
        supernet, self.card = load_supernet(options.supernet, seed=options.seed, model=options.model)
        self.amounts = options.amounts(general=has_general_features(self.card))
        self.splits = read_splits(options, progress)
        # images for the supernet's weights, and those that only a `TrainedSearcher`'s own parameters are trained on
        self.shared: ImageSet = self.splits.train
        self.held_out: ImageSet | None = None
        share = getattr(SEARCHERS[options.searcher], "share", None)
        if share is not None:
            self.shared, self.held_out = hold_out(self.splits, share, options.seed)
        if skipped := self.splits.skipped:
            progress.say(f"skipped {len(skipped)} corrupt images, such as {skipped[0]}")
        self.space = space = transfer_space(self.card.space, options, self.splits)
        torch.set_num_threads(options.threads or suitable_threads(space))
        limits, classes = limits_of(options), self.splits.num_classes
        replace(limits, max_latency_ms=None).check(CostTable(space, classes))  # before latency is measured
        self.latency = latency_table(options, space, classes, self.device, folder.latency, progress)
        if self.latency is not None and not options.resolutions:
            self.space = space = feasible(space, limits, classes, self.latency)
        costs = CostTable(space, classes, self.latency)
        limits.check(costs)
        max_error = 1.0 if options.min_top1 is None else 1.0 - options.min_top1
        self.problem = SearchProblem(costs, objectives, limits, max_error)
        self.problem.reference_point()  # a user's objective that fails does so here
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
        if self.latency is not None and not self.folder.latency.is_file():
            write_json(self.folder.latency, self.latency.to_json())  # first: what follows depends on it
        with Archive(self.folder.archive) as archive:
            evaluations = self._search(archive)
        if not self.problem.keeping(evaluations):
            raise self._too_inaccurate(evaluations)
        front = [e.architecture for e in thinned(pareto_set(self.problem, evaluations), self.amounts.front)]
        space = self.problem.space
        ends = {"largest subnet": space.largest(), "smallest subnet": space.smallest()}
        if self.options.time is not None:
            stream = self.stream(self.options.seed + 1)
            budget = self._time(stream, self.evaluator())
            self.tuning_steps = budget.settle({*front, *ends.values()}, self._tuning_steps(stream))
        tuned = {architecture: self._tuned(architecture, self.folder.subnets) for architecture in front}
        controls = {name: self._tuned(architecture, self.folder.controls) for name, architecture in ends.items()}
        return write_report(self.folder, self.problem, self.options, evaluations, tuned, controls)

    def _too_inaccurate(self, evaluations: Sequence[Evaluation]) -> BudgetError:
        found = sorted(1.0 - evaluation.objectives[ERROR] for evaluation in evaluations)
        return BudgetError(
            f"expected --min-top1 of at most {found[-1]:.4f}, which is what the search found at best with the adapted "
            f"supernet's weights (the least is {found[0]:.4f}), got {self.options.min_top1}. Lower it in a new run, "
            f"which may start from --supernet {self.folder.supernet}, or give a greater --effort."
        )

    def _search(self, archive: Archive) -> list[Evaluation]:
        """The evaluations with the final weights, which the supernet then has."""
        searched = [event["version"] for event in self.folder.read_events() if event["event"] == "searched"]
        if searched and self.folder.supernet.is_file():
            self.load_adapted()
            return archive.at_version(searched[-1])
        fresh = not self.folder.training.is_file()
        evaluator, stream = self.evaluator(), self.stream(self.options.seed)
        if fresh:
            self._start(evaluator)
        plan, pace = self._planned(stream, evaluator)
        search = Search(
            self.problem,
            make_searcher(self.options.searcher, self.amounts),
            plan,
            WeightTrainer(self.supernet, self._schedule(plan)),
            self.stream(self.options.seed, self.shared),
            evaluator,
            archive,
            self.folder.training,
            self.folder.log,
            self.progress,
            pace=pace,
            seeds=[] if archive.proposals(0) else self.seeds(plan.initial),
            limit=self.options.evaluation_limit,
            held_out=None if self.held_out is None else self.stream(self.options.seed, self.held_out),
        )
        if fresh:
            search.save()
        else:
            search.restore()
        evaluations = search.run()
        save_supernet(self.supernet, self._adapted_card(), self.folder.supernet)
        self.folder.log("searched", 0.0, {"version": evaluations[0].weights_version})
        return evaluations

    def load_adapted(self) -> None:
        """Gives the supernet the weights that the search has left."""
        supernet, _ = load_supernet_file(self.folder.supernet)
        self.supernet.load_state_dict(supernet.state_dict())

    def seeds(self, initial: int) -> list[Proposal]:
        """Half of the initial sample, of the run to start from, if there is one."""
        if self.options.warm_start is None:
            return []
        return seeds_of(Path(self.options.warm_start), self.problem, initial // 2)

    def _schedule(self, plan: Plan) -> Schedule:
        return Schedule(self.amounts.learning_rate, max(1, plan.total_steps), min(20, plan.first_steps // 10))

    # --- amounts and time ------------------------------------------------------------------------------------------

    def _planned(self, stream: TrainStream, evaluator: SubnetEvaluator) -> tuple[Plan, Pace]:
        """The amounts of the search within the budgets, and what keeps it within its time."""
        a, frozen = self.amounts, self.options.adaptation == "frozen"
        first, each = (steps_of(text, stream.steps_per_epoch) for text in (a.first_training, a.round_training))
        plan = Plan(a.initial, a.rounds, a.per_round, a.archive, first, each, self.options.seed, frozen)
        if self.options.evaluations is not None:
            plan = within_evaluations(plan, self.options.evaluations)
        if self.options.time is None:
            return plan, Pace()
        timed = self._time(stream, evaluator).plan(plan, self._tuning_steps(stream), self.amounts.front + 2)
        return timed.plan, Pace(self.folder.elapsed, timed.until, timed.speeds)

    def _time(self, stream: TrainStream, evaluator: SubnetEvaluator) -> TimeBudget:
        assert self.options.time is not None
        self.progress.say(f"keeping to {self.options.time:.0f} s")
        images = len(self.splits.val) + len(self.splits.test)
        passes = SEARCHERS[self.options.searcher].passes
        trial = Trial(self.problem, self.supernet, stream, evaluator, images, passes)
        return TimeBudget(self.options.time, self.folder.elapsed, self.folder.plan, trial)

    def _tuning_steps(self, stream: TrainStream) -> int:
        """Steps of each subnet's fine-tuning: as settled for a budget of time, else as the effort says."""
        if self.tuning_steps is not None:
            return self.tuning_steps
        return steps_of(self.amounts.finetuning, stream.steps_per_epoch)

    # --- parts -----------------------------------------------------------------------------------------------------

    def _start(self, evaluator: SubnetEvaluator) -> None:
        started = time.perf_counter()
        start(
            self.supernet,
            self.card,
            self.shared,
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

    def stream(self, seed: int, images: ImageSet | None = None) -> TrainStream:
        """Training batches of this job's images, or of some of them."""
        batching = Batching.suited(self.splits.card, self.amounts.batch, seed, self.card.mean, self.card.std)
        batching = replace(batching, min_crop_area=max(batching.min_crop_area, self.amounts.min_crop_area))
        return training_stream(self.splits.train if images is None else images, batching, device=self.device)

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
        stream = self.stream(self.options.seed + 1)
        recipe = FinetuneRecipe(self._tuning_steps(stream), self.amounts.finetuning_rate)
        if finetune := finetune and recipe.steps > 0:
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
        splits = {"val": self.splits.val, "test": self.splits.test}
        logits = {name: answers(plain, preprocess, images) for name, images in splits.items()}
        metrics = {
            "id": architecture.id,
            "macs": macs,
            "params": params,
            "resolution": architecture.resolution,
            "finetuned": finetuned,
            "supernet": Path(self.options.supernet).name,  # of a file, not where it lies
            **{name: metrics_of(logits[name], images.labels) for name, images in splits.items()},
            "threads": torch.get_num_threads(),
            "data": self._data(),
        }
        correct = {name: logits[name].argmax(dim=1) == images.labels for name, images in splits.items()}
        save_bundle(path, plain, preprocess, self.splits.classes, metrics, correct)

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
