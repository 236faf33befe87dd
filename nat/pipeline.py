"""The whole job, resumable: from images and a supernet to fine-tuned, verified subnets in a run's folder."""

import copy
import json
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nat.archive import Archive, Evaluation, Proposal
from nat.bundle import Bundle, load_bundle
from nat.controls import COUNT, Control, shrinks, subnets_beside
from nat.datasets.balance import evenness, loss_weights
from nat.datasets.device_stream import training_stream
from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits, hold_out
from nat.datasets.stream import Batching, TrainStream
from nat.errors import BudgetError, InputError, NatError, RunError
from nat.evaluation import Normalisation, Preprocessing, SubnetEvaluator, preprocessing_of
from nat.files import write_json
from nat.finetuning_recipe import FinetuneRecipe
from nat.forecast import TimeBudget, Trial
from nat.fronts import best_within, pareto_set, thinned
from nat.meter import Prices, settled
from nat.objectives import ERROR, read_objectives
from nat.options import TransferOptions, steps_of
from nat.plan import Pace, Plan, within_evaluations
from nat.preparation import (
    feasible,
    latency_table,
    limits_of,
    looked_over,
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
from nat.report.writing import write_page
from nat.reports import write_report
from nat.run_folder import RunFolder
from nat.search import Search
from nat.searchers import Searcher, TrainedSearcher, check_searcher
from nat.starting import MOST_IMAGES, adapted_to, has_general_features, start
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer
from nat.timm_controls import (
    CANDIDATES,
    PRETRAINED,
    check_named,
    from_scratch,
    make_ready,
    read_control,
    timm_control,
    timm_like,
    with_weights,
)
from nat.tuning import Tuner, told_of
from nat.warm_start import seeds_of

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


def transfer(
    options: TransferOptions, out: Path, progress: Progress | None = None, shared: Shared | None = None
) -> dict[str, Any]:
    """Runs a transfer in a new folder.

    Args:
        options: what is asked.
        out: the run's folder, new or empty; it is made once everything has been checked.
        progress: shows how far it is.
        shared: of runs that differ in their strategy alone.

    Returns:
        The content of front.json.

    Raises:
        InputError: something that was asked cannot be done; nothing is left behind.
        TransferError: the work failed.
    """
    folder = RunFolder(out)
    folder.check_free()
    job = Transfer(with_absolute_paths(options), folder, progress or Silence(), shared)
    if options.warm_start is not None:
        job.seeds(job.amounts.initial)  # what cannot be used is said before anything is made
    if options.control_model is not None:
        job.check_control()
    with folder.locked():
        folder.create(job.config())
        return job.run()


def resume(out: Path, progress: Progress | None = None, shared: Shared | None = None) -> dict[str, Any]:
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
        return reopened(folder, progress or Silence(), shared).run()


def reopened(folder: RunFolder, progress: Progress, shared: Shared | None = None) -> "Transfer":
    """The job of an existing run, as it was asked.

    Raises:
        RunError: there is no run, or its data have changed, so that its splits would be others, or its supernet.
    """
    config = folder.read_config()
    job = Transfer(folder.read_options(), folder, progress, shared)
    if job.splits.fingerprint != config["data"].get("fingerprint"):
        raise RunError(f"the images of '{job.options.data}' are not those that the run started with. Start a new run.")
    if json.loads(json.dumps(job.space.to_json())) != config["space"]:
        raise RunError(f"'{job.options.supernet}' has other choices than when the run started. Start a new run.")
    return job


class Transfer:
    """One job, with everything it needs loaded and checked; makes no file before `run`."""

    def __init__(
        self, options: TransferOptions, folder: RunFolder, progress: Progress, shared: Shared | None = None
    ) -> None:
        self.options, self.folder, self.progress, self.common = options, folder, progress, shared or Shared()
        self.tuning_steps: int | None = None
        check_searcher(options.searcher)
        objectives = read_objectives(options.objectives)
        self.device = torch_device(options.device)
        supernet, self.card = load_supernet(options.supernet, seed=options.seed, model=options.model)
        self.amounts = options.amounts(general=has_general_features(self.card))
        rounds = self._within_evaluations().rounds  # a budget may be too small for a strategy
        searcher = make_searcher(options.searcher, self.amounts, rounds)
        self.passes = searcher.passes
        self.splits = self.common.splits = self.common.splits or read_splits(options, progress)
        # images for the supernet's weights, and those that only the strategy's own parameters are trained on
        self.shared: ImageSet = self.splits.train
        self.held_out: ImageSet | None = None
        if isinstance(searcher, TrainedSearcher):
            self.shared, self.held_out = hold_out(self.splits, searcher.share, options.seed)
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
        weights = loss_weights(options.balance, self.splits.train.labels, classes)
        self.class_weights = None if weights is None else weights.to(self.device)
        self.supernet = self._placed(supernet)

    def _placed(self, supernet: Supernet) -> Supernet:
        """A supernet for the images' classes and sizes, on the device.

        Its layout is set here, so that a subnet made later from the saved weights is the same to the last digit.
        """
        supernet = adapted_to(supernet, self.space, self.splits.num_classes, self.options.seed).to(self.device)
        return supernet.to(memory_format=torch.channels_last)

    def config(self) -> dict[str, Any]:
        """Content of config.json: the options with every amount resolved, so that later defaults change nothing."""
        resolved = {"overrides": self.amounts.model_dump(mode="json"), "threads": torch.get_num_threads()}
        return {
            "options": self.options.model_dump(mode="json") | resolved,
            "space": self.space.to_json(),
            "data": told_of(self.splits, self.options) | looked_over(self.splits, self.options, self.progress),
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
        front = self._reported(evaluations)
        beside = subnets_beside(self.amounts.controls, self.problem, front, self.options.seed)
        if self.options.time is not None:
            stream = self.stream(self.options.seed + 1)
            budget = self._time(stream, self.evaluator())
            # the network of another kind is taken to cost what the largest subnet does
            nets = [*{*front, *(net for _, _, net in beside)}, *self._further([self.problem.space.largest()])]
            self.tuning_steps = budget.settle(nets, self._tuning_steps(stream))
        tuned = {architecture: self._tuned(architecture, self.folder.subnets) for architecture in front}
        controls = [Control.of(name, kind, self._tuned(net, self.folder.controls)) for name, kind, net in beside]
        controls += [control for net in self._further(front[-1:]) if (control := self._outsider(net))]
        closing = self._closing(tuned, controls)
        if closing is not None:
            controls = [self._moved(control) if control.kind == "largest" else control for control in controls]
            tuned[closing.architecture] = load_bundle(self.folder.subnets / closing.architecture.id)
        report = write_report(self.folder, self.problem, self.options, evaluations, tuned, controls, closing)
        self._write_page()
        return report

    def _closing(self, tuned: Mapping[Architecture, Bundle], controls: Sequence[Control]) -> Evaluation | None:
        """The largest subnet, where it keeps the limits and no fine-tuned net of the front reaches it; else None.

        With the supernet's weights it is often no better than cheaper subnets, and the search leaves it behind; on its
        own weights it may be.
        """
        control = next((control for control in controls if control.kind == "largest"), None)
        if control is None or self.options.finetune_at is not None or ERROR not in self.problem.names:
            return None
        net, top1 = self.problem.space.largest(), control.metrics["val"]["top1"]
        reached = any(bundle.metrics["val"]["top1"] >= top1 for bundle in tuned.values())
        if reached or not self.problem.allows(self.problem.space.encode([net])).all():
            return None
        errors = self.evaluator().errors(self.supernet, net, self.problem.measured)
        evaluation = Evaluation(net, {**errors, **self.problem.known_of(net)}, round=0, weights_version=0)
        return next(iter(self.problem.keeping([evaluation])), None)

    def _moved(self, control: Control) -> Control:
        """A control among the subnets of the front."""
        path = self.folder.subnets / control.path.name
        if control.path != path:
            control.path.replace(path)
        return replace(control, path=path)

    def _further(self, nets: list[Architecture]) -> list[Architecture]:
        """The nets if a control that is no subnet is asked for, else none."""
        return nets if self.amounts.controls == "all" or self.options.control_model else []

    def check_control(self) -> None:
        """Raises what is wrong with the network of timm that is asked for as a control."""
        model, weights = self.options.control
        assert model is not None
        check_named(model, weights, self.splits.num_classes, self.space.resolutions[-1])

    def _outsider(self, like: Architecture) -> Control | None:
        """The control that is no subnet: the network of timm that is asked for, or that the supernet was grown from.

        Else one of timm of similar multiply-adds: trained on ImageNet where the supernet is, from scratch where it is.

        Args:
            like: the dearest net of the front, whose input size timm's network is to have, and its multiply-adds.
        """
        started = time.perf_counter()
        if self.options.control_model is None and not self.card.elastic and shrinks(self.card.space):
            control = Control.of("source network alone", "source", self._tuned_source())
        else:
            try:
                control = self._tuned_timm(like)
            except InputError as error:  # no weights: there is more to report than this control
                self.progress.say(f"no pretrained network of timm as a control: {error}")
                return None
        self.folder.log("finetune", time.perf_counter() - started, {"id": control.name})
        return control

    def _tuned_timm(self, like: Architecture) -> Control:
        """A network of timm, trained like the front, or taken up from its folder."""
        (model, weights), classes, seed = self.options.control, self.splits.num_classes, self.options.seed
        pretrained = model is not None or has_general_features(self.card)
        if model is None:
            among = PRETRAINED if pretrained else CANDIDATES
            model = timm_like(self.problem.costs.of(like)[0], like.resolution, classes, self.options.max_macs, among)
        path = self.folder.controls / f"timm-{model}{'-pretrained' if pretrained else ''}-{like.resolution}px"
        if path.is_dir():
            return read_control(path)
        if not pretrained:
            return timm_control(from_scratch(model, classes, self.card, seed), like.resolution, self.tuner(), path)
        found = with_weights(model, weights, classes, seed)
        tuner = self.tuner(found)
        if self.amounts.fit_classifier:
            make_ready(found, like.resolution, self.evaluator(found), tuner, seed)
        return timm_control(found, like.resolution, tuner, path)

    def _tuned_source(self) -> Bundle:
        """The grown space's largest subnet with the weights it had before the adaptation, fine-tuned alone."""
        path, net = self.folder.controls / "source", self.space.largest()
        if not path.is_dir():
            supernet, _ = load_supernet(self.options.supernet, seed=self.options.seed, model=self.options.model)
            supernet = self._placed(supernet)
            self._make_ready(supernet, self.evaluator())
            subnet, tuner = supernet.extract(net, fast=True), self.tuner()
            tuned = tuner.train(subnet, net.resolution, "the source network")
            tuner.write(subnet.cpu(), path, finetuned=tuned, supernet=Path(self.options.supernet).name)
        return load_bundle(path)

    def _write_page(self) -> None:
        """Writes report.html; the run is finished without it, and `nat report` makes it at any time."""
        try:
            write_page(self.folder, self.folder.report, self.progress, self.splits)
        except NatError as error:
            self.progress.say(f"there is no report.html: {error} Try 'nat report {self.folder.path}'.")

    def _reported(self, evaluations: Sequence[Evaluation]) -> list[Architecture]:
        """What is fine-tuned: a spread over the front, or the best net within each of the multiply-adds asked for."""
        front = pareto_set(self.problem, evaluations)
        if self.options.finetune_at is None:
            return [e.architecture for e in thinned(front, self.amounts.front)]
        macs, errors = ([e.objectives[name] for e in front] for name in ("macs", ERROR))
        chosen = best_within(macs, errors, self.options.finetune_at)
        return list(dict.fromkeys(front[i].architecture for i in chosen if i is not None))

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
        searcher = make_searcher(self.options.searcher, self.amounts, plan.rounds)
        passes = self.options.passes
        prices = None if passes is None else self.prices(searcher, evaluator)
        search = Search(
            self.problem,
            searcher,
            plan,
            WeightTrainer(self.supernet, self._schedule(plan), class_weights=self.class_weights),
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
            settle=lambda plan, count: settled(plan, prices, passes, count) if prices and passes else plan,
        )
        if fresh:
            search.save()
        else:
            search.restore()
        evaluations = search.run()
        save_supernet(self.supernet, self._adapted_card(), self.folder.supernet)
        detail: dict[str, object] = {"version": evaluations[0].weights_version}
        if prices:
            counts = Counter(evaluation.round for evaluation in archive.evaluations())
            charges = prices.charges(search.plan, [counts[round] for round in range(max(counts) + 1)])
            detail["charges"] = [charge.to_json() for charge in charges]
        self.folder.log("searched", 0.0, detail)
        return evaluations

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

    def _schedule(self, plan: Plan) -> Schedule:
        return Schedule(self.amounts.learning_rate, max(1, plan.total_steps), min(20, plan.first_steps // 10))

    # --- amounts and time ------------------------------------------------------------------------------------------

    def _planned(self, stream: TrainStream, evaluator: SubnetEvaluator) -> tuple[Plan, Pace]:
        """The amounts of the search within the budgets, and what keeps it within its time."""
        plan = self.plan(stream)
        if self.options.time is None:
            return plan, Pace()
        named = self.amounts.controls != "all" and self.options.control_model is not None
        nets = self.amounts.front + COUNT[self.amounts.controls] + named
        timed = self._time(stream, evaluator).plan(plan, self._tuning_steps(stream), nets)
        return timed.plan, Pace(self.folder.elapsed, timed.until, timed.speeds)

    def plan(self, stream: TrainStream) -> Plan:
        """The amounts of the search within the budget of evaluations, if there is one."""
        texts = (self.amounts.first_training, self.amounts.round_training)
        return self._within_evaluations(*(steps_of(text, stream.steps_per_epoch) for text in texts))

    def _within_evaluations(self, first_steps: int = 0, round_steps: int = 0) -> Plan:
        """The effort's amounts, cut to the budget of evaluations, if there is one."""
        a, frozen = self.amounts, self.options.adaptation == "frozen"
        plan = Plan(a.initial, a.rounds, a.per_round, a.archive, first_steps, round_steps, self.options.seed, frozen)
        return plan if self.options.evaluations is None else within_evaluations(plan, self.options.evaluations)

    def _time(self, stream: TrainStream, evaluator: SubnetEvaluator) -> TimeBudget:
        assert self.options.time is not None
        self.progress.say(f"keeping to {self.options.time:.0f} s")
        images = len(self.splits.val) + len(self.splits.test)
        trial = Trial(self.problem, self.supernet, stream, evaluator, images, self.passes)
        return TimeBudget(self.options.time, self.folder.elapsed, self.folder.plan, trial)

    def _tuning_steps(self, stream: TrainStream) -> int:
        """Steps of each subnet's fine-tuning: as settled for a budget of time, else as the effort says."""
        if self.tuning_steps is not None:
            return self.tuning_steps
        return steps_of(self.amounts.finetuning, stream.steps_per_epoch)

    # --- parts -----------------------------------------------------------------------------------------------------

    def _start(self, evaluator: SubnetEvaluator) -> None:
        started = time.perf_counter()
        self._make_ready(self.supernet, evaluator)
        self.folder.log("start", time.perf_counter() - started)

    def _make_ready(self, supernet: Supernet, evaluator: SubnetEvaluator) -> None:
        """Does what a supernet needs before its first training step, or takes it up from a run of the same seed."""
        ready, seed, fit = self.common.started, self.options.seed, self.amounts.fit_classifier
        if len(self.shared) in ready:
            supernet.load_state_dict(ready[len(self.shared)])
            return
        start(supernet, self.card, self.shared, evaluator, seed, self.progress, fit=fit)
        ready[len(self.shared)] = copy.deepcopy(supernet.state_dict())

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
        subnet, tuner = self.evaluator().calibrated(self.supernet, architecture), self.tuner()
        tuned = finetune and tuner.train(subnet, architecture.resolution, architecture.id)
        tuner.write(subnet.cpu(), path, finetuned=tuned, supernet=Path(self.options.supernet).name)

    def tuner(self, normalisation: Normalisation | None = None) -> Tuner:
        """What fine-tunes and measures the nets of this run, all alike but for what images are normalised with."""
        stream = self.stream(self.options.seed + 1, normalisation=normalisation)
        weights = () if self.class_weights is None else tuple(self.class_weights.tolist())
        recipe = FinetuneRecipe(self._tuning_steps(stream), self.amounts.finetuning_rate, class_weights=weights)
        data = told_of(self.splits, self.options)
        preprocessing = self.preprocessing(normalisation)
        return Tuner(self.splits, stream, recipe, preprocessing, data, self.device, self.progress)

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
