"""The nets of a run: fine-tuned by one recipe, several at once on a CPU, and written as bundles."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nat.bundle import Bundle, load_bundle
from nat.datasets.stream import TrainStream
from nat.efforts import steps_of
from nat.evaluation import Normalisation, SubnetEvaluator
from nat.finetuning_recipe import FinetuneRecipe
from nat.job import Job
from nat.progress import Progress
from nat.supernet.architecture import Architecture
from nat.tuning import Tuner, told_of

HEAVY = 2.0  # times the largest subnet's multiply-adds, above which a network is trained by itself


@dataclass(frozen=True)
class Work:
    """A network that a run trains.

    Attributes:
        name: in the log.
        macs: multiply-adds for an image.
        path: its folder, which is there once it is trained.
        do: makes the folder; called from any thread with what fine-tunes the run's subnets. None where it is there.
    """

    name: str
    macs: float
    path: Path
    do: Callable[[Tuner], None] | None


@dataclass(frozen=True)
class Bundling:
    """Makes bundles of the subnets of a run's adapted supernet.

    Attributes:
        job: the run.
        steps: of each fine-tuning, as settled for a budget of time; None for what the effort says.
    """

    job: Job
    steps: int | None = None

    def steps_on(self, stream: TrainStream) -> int:
        """Steps of each fine-tuning."""
        return steps_of(self.job.amounts.finetuning, stream.steps_per_epoch) if self.steps is None else self.steps

    def tuner(self, normalisation: Normalisation | None = None) -> Tuner:
        """What fine-tunes and measures the nets of the run, all alike but for what images are normalised with."""
        job = self.job
        stream = job.stream(job.options.seed + 1, normalisation=normalisation)
        weights = () if job.class_weights is None else tuple(job.class_weights.tolist())
        recipe = FinetuneRecipe(self.steps_on(stream), job.amounts.finetuning_rate, class_weights=weights)
        data = told_of(job.splits, job.options)
        return Tuner(job.splits, stream, recipe, job.preprocessing(normalisation), data, job.device, job.progress)

    def tuned(self, places: Mapping[Architecture, Path], beside: Sequence[Work] = ()) -> dict[Architecture, Bundle]:
        """The fine-tuned bundles of architectures, from the run's folders where they are there, else made.

        Args:
            places: the folder that each one's bundle is to be in.
            beside: other networks, trained at the same time.
        """
        job = self.job
        paths = {net: job.folder.subnets / net.id for net in places}
        paths = {net: path if path.is_dir() else places[net] / net.id for net, path in paths.items()}
        evaluator = job.evaluator()

        def tune(net: Architecture, tuner: Tuner) -> None:
            self._write(net, paths[net], tuner, evaluator, finetune=True)

        macs = {net: job.problem.costs.of(net)[0] for net in paths}
        self._do([*(Work(net.id, macs[net], path, partial(tune, net)) for net, path in paths.items()), *beside])
        return {net: load_bundle(path) for net, path in paths.items()}

    def _do(self, works: Sequence[Work]) -> None:
        """Does what is not done yet, several at once on a CPU, but what may need too much memory by itself."""
        job, workers, tuner = self.job, self.job.workers(len(works)), self.tuner()
        missing = [work for work in works if not work.path.is_dir()]
        missing.sort(key=lambda work: -work.macs)  # so that no worker is long alone at the end
        most = HEAVY * job.problem.costs.of(job.problem.space.largest())[0]
        together = [work for work in missing if work.macs <= most]
        for group, count in ((together, workers.count), ([work for work in missing if work.macs > most], 1)):
            at_once = max(1, min(count, len(group)))
            title = f"fine-tuning {len(group)} nets, {at_once} at once"
            tasks = [partial(self._timed, work, tuner, at_once) for work in group]
            replace(workers, count=at_once).run(tasks, job.progress, title, len(group) * tuner.recipe.steps)

    def _timed(self, work: Work, tuner: Tuner, at_once: int, progress: Progress) -> None:
        assert work.do is not None
        started = time.perf_counter()
        work.do(replace(tuner, progress=progress))
        seconds = time.perf_counter() - started
        # of those that several take together its share, so that they add up
        self.job.folder.log("finetune", seconds / at_once, {"id": work.name, "at_once": at_once})

    def write(self, architecture: Architecture, path: Path, *, finetune: bool) -> None:
        """Writes the bundle of an architecture with the adapted supernet's weights, fine-tuned or only recalibrated."""
        self._write(architecture, path, self.tuner(), self.job.evaluator(), finetune=finetune)

    def _write(
        self, architecture: Architecture, path: Path, tuner: Tuner, evaluator: SubnetEvaluator, *, finetune: bool
    ) -> None:
        job = self.job
        subnet = evaluator.calibrated(job.supernet, architecture)
        tuned = finetune and tuner.train(subnet, architecture.resolution, architecture.id)
        supernet, told = Path(job.options.supernet).name, {"supernet_card": job.adapted_card().origin}
        tuner.write(subnet.cpu(), path, finetuned=tuned, supernet=supernet, told=told)
