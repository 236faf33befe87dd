"""The whole job, resumable: from images and a supernet to fine-tuned, verified subnets in a run's folder."""

import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nat.archive import Archive, Evaluation
from nat.bundle import Bundle, load_bundle, measure, save_bundle
from nat.classifier import fit_classifier
from nat.datasets.loading import load_dataset
from nat.datasets.preprocess import Preprocess
from nat.datasets.splits import Splits
from nat.datasets.stream import TrainStream
from nat.errors import BudgetError, InputError, RunError, TransferError
from nat.evaluation import SubnetEvaluator
from nat.files import write_json
from nat.finetuning import FinetuneRecipe, train_subnet
from nat.fronts import SCHEMA, control_row, front_hypervolume, pareto_set, row, thinned, verdict
from nat.options import Effort, TransferOptions, steps_of
from nat.plots import plot_front
from nat.pretrained.card import Card
from nat.pretrained.catalogue import load_supernet
from nat.pretrained.store import save_supernet
from nat.problem import SearchProblem, read_objectives
from nat.progress import Progress, Silence
from nat.run_folder import RunFolder
from nat.search import Plan, Search
from nat.searchers import NatSearcher, RandomSearcher, Searcher, check_searcher
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.sampling import Limits
from nat.supernet.space import MobileNetV3Space
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet
from nat.supernet.training import Schedule, WeightTrainer

SHARED_RESOLUTION = 64  # below it, a second thread gains under 10 % and loses much when the machine is busy
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
    job = Transfer(options, folder, progress or Silence())
    folder.create(job.config())
    return job.run()


def resume(out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Goes on with a run to the same result as if it had not been interrupted; a finished one returns at once.

    Raises:
        RunError: there is no run, or its data have changed.
    """
    folder = RunFolder(out)
    config = folder.read_config()
    if folder.front.is_file():
        return folder.read_front()
    folder.sweep()
    job = Transfer(folder.read_options(), folder, progress or Silence())
    if job.splits.fingerprint != config["data"]["fingerprint"]:
        raise RunError(f"the images of '{job.options.data}' are not those that the run started with. Start a new run.")
    return job.run()


class Transfer:
    """One job, with everything it needs loaded and checked; makes no file before `run`."""

    def __init__(self, options: TransferOptions, folder: RunFolder, progress: Progress) -> None:
        self.options, self.folder, self.progress = options, folder, progress
        self.amounts = options.amounts()
        check_searcher(options.searcher)
        objectives = read_objectives(options.objectives)
        self.device = torch_device(options.device)
        supernet, self.card = load_supernet(options.supernet, seed=options.seed)
        with progress.task("reading images", 1) as task:
            self.splits = read_splits(options)
            task.advance()
        space = transfer_space(self.card.space, options, self.splits)
        limits = Limits(options.max_macs, options.max_params)
        costs = CostTable(space, self.splits.num_classes)
        limits.check(costs)
        self.problem = SearchProblem(costs, objectives, limits)
        torch.set_num_threads(options.threads or suitable_threads(space))
        supernet = adapted_to(supernet, space, self.splits.num_classes, options.seed).to(self.device)
        # here, so that a subnet made later from the saved weights is the same to the last digit
        self.supernet = supernet.to(memory_format=torch.channels_last)

    def config(self) -> dict[str, Any]:
        """Content of config.json."""
        return {
            "options": self.options.model_dump(mode="json"),
            "amounts": self.amounts.model_dump(mode="json"),
            "space": self.problem.space.to_json(),
            "data": self._data(),
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "threads": torch.get_num_threads(),
            "device": str(self.device),
        }

    def run(self) -> dict[str, Any]:
        """Searches, fine-tunes, measures, reports; takes up whatever is there already."""
        with Archive(self.folder.archive) as archive:
            evaluations = self._search(archive)
        front = thinned(pareto_set(self.problem, evaluations), self.amounts.front)
        tuned = {e.architecture: self._tuned(e.architecture, self.folder.subnets) for e in front}
        controls = {
            name: self._tuned(architecture, self.folder.controls)
            for name, architecture in (
                ("largest subnet", self.problem.space.largest()),
                ("smallest subnet", self.problem.space.smallest()),
            )
        }
        return self._report(evaluations, front, tuned, controls)

    def _search(self, archive: Archive) -> list[Evaluation]:
        a = self.amounts
        stream = self._stream(self.options.seed)
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
            self._fit_classifier(evaluator)
            search.save()
        evaluations = search.run()
        if not self.folder.supernet.is_file():
            save_supernet(self.supernet, self._adapted_card(), self.folder.supernet)
        return evaluations

    def _fit_classifier(self, evaluator: SubnetEvaluator) -> None:
        if self.card.name.startswith("scratch"):
            return
        started = time.perf_counter()
        with self.progress.task("fitting a classifier on frozen features", 1) as task:
            fit_classifier(self.supernet, self.problem.space.largest(), self.splits.train, evaluator, self.options.seed)
            task.advance()
        self.folder.log("classifier", time.perf_counter() - started)

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
        return Preprocess.for_resolution(resolution, self.splits.card.crop_fraction, self.card.mean, self.card.std)

    def _stream(self, seed: int) -> TrainStream:
        card = self.splits.card
        return TrainStream(
            self.splits.train,
            self.amounts.batch,
            seed,
            flip=card.flip,
            min_crop_area=card.min_crop_area,
            mean=self.card.mean,
            std=self.card.std,
        )

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
            stream = self._stream(self.options.seed + 1)
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
        plain = self.supernet.extract(architecture)
        plain.load_state_dict(subnet.state_dict())
        plain = plain.cpu().eval()
        preprocess = self.preprocessing(architecture.resolution)
        macs, params = self.problem.costs.of(architecture)
        metrics = {
            "id": architecture.id,
            "macs": macs,
            "params": params,
            "resolution": architecture.resolution,
            "finetuned": finetuned,
            "supernet": self.options.supernet,
            "val": measure(plain, preprocess, self.splits.val),
            "test": measure(plain, preprocess, self.splits.test),
            "data": self._data(),
        }
        save_bundle(path, plain, preprocess, self.splits.classes, metrics)

    def _data(self) -> dict[str, Any]:
        return {
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
            space=self.problem.space,
            num_classes=self.splits.num_classes,
            mean=self.card.mean,
            std=self.card.std,
            trained_on=f"{self.card.trained_on}; then {self.options.data}",
            licence=self.card.licence,
        )

    def _report(
        self,
        evaluations: Sequence[Evaluation],
        front: Sequence[Evaluation],
        tuned: dict[Architecture, Bundle],
        controls: dict[str, Bundle],
    ) -> dict[str, Any]:
        if not front:
            raise TransferError("no subnet could be evaluated with the final weights.")
        with Archive(self.folder.archive, read_only=True) as archive:
            total = len(archive)
        reference = self.problem.reference_point()
        rows = [row(evaluation, tuned[evaluation.architecture].metrics) for evaluation in front]
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
            "limits": {"macs": self.options.max_macs, "params": self.options.max_params},
            "front": rows,
            "controls": control_rows,
            "verdict": verdict(rows, control_rows),
        }
        searched = [(e.objectives["macs"], 1.0 - e.objectives["top1_error"]) for e in evaluations]
        plot_front(report, searched, self.folder.picture)
        write_json(self.folder.front, report)  # last: it says that the run is finished
        return report


def read_splits(options: TransferOptions, progress: Callable[[int, int], None] | None = None) -> Splits:
    """The data set that the options name, split."""
    return load_dataset(
        options.data,
        root=Path(options.data_root) if options.data_root else None,
        seed=options.seed,
        skip_corrupt=options.skip_corrupt,
        progress=progress,
    )


def transfer_space(space: MobileNetV3Space, options: TransferOptions, splits: Splits) -> MobileNetV3Space:
    """The supernet's space with the input sizes that suit the images and the budget.

    Up to four sizes, multiples of 8, from half the images' size (the median of their shorter sides) to all of it; at
    least 24 and 32 pixels, at most twice the greatest size that the supernet was trained at. Sizes at which even the
    smallest subnet breaks a limit are left out, but for the least one.

    Raises:
        InputError: the sizes asked for are too small.
    """
    if options.resolutions:
        if min(options.resolutions) < 8:
            raise InputError(f"expected --resolutions of at least 8 pixels, got {min(options.resolutions)}.")
        return space.with_resolutions(options.resolutions)
    native = float(np.median([min(image.shape[-2:]) for image in splits.train.images]))
    top = max(32, int(min(native, 2 * space.resolutions[-1])) // 8 * 8)
    low = max(24, top // 2)
    sizes = sorted({round((low + i * (top - low) / 3) / 8) * 8 for i in range(4)})
    limits = Limits(options.max_macs, options.max_params)
    return space.with_resolutions([r for r in sizes if _feasible(space, r, limits, splits.num_classes)] or sizes[:1])


def _feasible(space: MobileNetV3Space, resolution: int, limits: Limits, num_classes: int) -> bool:
    try:
        limits.check(CostTable(space.with_resolutions([resolution]), num_classes))
    except BudgetError:
        return False
    return True


def suitable_threads(space: MobileNetV3Space) -> int:
    """CPU threads worth having: one for tiny images, whose operations are too short to share, else torch's default."""
    return 1 if space.resolutions[-1] < SHARED_RESOLUTION else torch.get_num_threads()


def adapted_to(supernet: Supernet, space: MobileNetV3Space, num_classes: int, seed: int) -> Supernet:
    """The same weights for other input sizes, with a fresh classifier for that many classes."""
    generator = torch.Generator().manual_seed(seed)
    supernet.reset_classifier(num_classes, generator)
    supernet.space = space
    return supernet


def make_searcher(name: str, amounts: Effort) -> Searcher:
    """The strategy of a name, with the effort's settings."""
    check_searcher(name)
    if name == "random":
        return RandomSearcher()
    return NatSearcher(population=amounts.population, generations=amounts.generations)


def torch_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA or MPS where there is one, else the CPU.

    Raises:
        InputError: the device is unknown or not there.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device '{name}' cannot be used here ({reason}). There are auto, cpu, cuda, mps.") from error
    return device
