"""Ten steps of MoCo v2 and v3 beside `torch_moco.py`, a transcription of the official code in torch and float64."""

from functools import partial

import jax
import numpy as np
import pytest

from ssl_jax.methods.parts import networks
from ssl_jax.models import resnet, vit
from ssl_jax.models.norm import shuffled_groups
from ssl_jax.train import experiment, step

pytestmark = pytest.mark.parity

BATCH, STEPS = 16, 10
RUN_STEPS, STEPS_PER_EPOCH = 20, 4  # the ten steps are half of a run of five epochs: no schedule is at its end
RATE, DECAY, EMA = 0.03, 0.01, 0.9
TOLERANCE = 1e-9  # of a leaf's largest value
SMALL = 1e-4  # what a leaf's largest value counts as at least: leaves without a gradient hold rounding errors alone
CENTRED = {"predictor/norm_1/mean"}  # the mean of a linear function of what the projector's last norm has centred


@pytest.fixture
def official(monkeypatch):
    """The transcription, on one thread. Ours has one residual block a stage and is not optimized, to compile soon."""
    torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
    from tests.methods import torch_moco

    monkeypatch.setitem(resnet.BLOCKS, 18, (1, 1, 1, 1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch_moco
    torch.set_num_threads(threads)


def small(config):
    """Float64, colour images of 8 x 8, and an SGD and an EMA that ten steps show."""
    config.compute_dtype = "float64"
    config.parallel.devices = 1
    config.method.momentum = EMA
    config.augment.size = 8
    config.augment.greyscale_probability = 0.0
    config.augment.flip_probability, config.augment.jitter_probability = 0.5, 0.0  # crops and flips: quick to compile
    config.augment.mean, config.augment.std = (0.4, 0.5, 0.6), (0.5, 0.4, 0.3)
    config.train.steps = RUN_STEPS
    config.optim.name, config.optim.momentum, config.optim.weight_decay = "sgd", 0.9, DECAY
    config.optim.learning_rate, config.optim.scaling = RATE, "none"
    return config


def batches():
    numbers = np.random.default_rng(0)
    for _ in range(STEPS):
        yield {
            "image": numbers.integers(0, 256, (BATCH, 8, 8, 3), dtype=np.uint8),
            "label": np.zeros(BATCH, np.int32),
            "index": np.arange(BATCH, dtype=np.int32),
        }


def on_host(state):
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def by_name(tree):
    named = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in named}


def assert_equal(ours, theirs, what):
    ours, theirs = by_name(ours), by_name(jax.tree.map(lambda leaf: leaf.detach(), theirs))
    assert ours.keys() == theirs.keys(), what
    for name, y in theirs.items():
        assert ours[name].dtype == y.dtype == np.float64, f"{what} {name}"
        apart = np.abs(ours[name] - y).max() / max(np.abs(y).max(), SMALL)
        assert apart <= TOLERANCE, f"{what} {name}: {apart:.1e}"


def compare(config, make, rate, momentum, extra_inputs=lambda key: ()):
    """Takes ten steps on both sides and compares all that lasts after each of them.

    Args:
      config: ours.
      make: our state before the first step -> the transcription.
      rate: step -> learning rate of the transcription.
      momentum: step -> momentum of its teacher.
      extra_inputs: the key of a step -> what the transcription takes besides the two views.

    Returns:
      Our states before the first step and after the last, and the transcription.
    """
    import torch

    run = experiment.build(config, next(batches()), examples=STEPS_PER_EPOCH * BATCH)
    views = jax.jit(partial(step.views_of_step, run.method))
    state = run.create()
    first = before = on_host(state)
    theirs = make(before)
    losses = []
    for number, batch in enumerate(batches()):
        key, viewed = views(state.key, state.step, batch)
        images = [torch.tensor(np.array(viewed[name])).permute(0, 3, 1, 2) for name in ("view_0", "view_1")]
        state, metrics = run.step(state, run.parallel.place(batch))
        after = on_host(state)

        loss = theirs.step(rate(number), momentum(number), *images, *extra_inputs(key))
        at = f"step {number}:"
        assert abs(float(metrics["loss"]) - loss) <= TOLERANCE * abs(loss), f"{at} {metrics['loss']} and {loss}"
        assert_equal(after.params, theirs.params, f"{at} parameter")
        assert_equal(after.method["batch_stats"], theirs.stats, f"{at} statistic")
        assert_equal(after.method["teacher_stats"], theirs.teacher_stats, f"{at} teacher's statistic")
        # The official teacher follows as a step begins, from the parameters that the step before left, ours as that
        # step ends: our teacher before a step is the official one in it.
        assert_equal(before.method["teacher"], theirs.teacher, f"{at} teacher")
        if "queue" in after.method:
            assert_equal(after.method["queue"], theirs.queue.T, f"{at} queue")
            assert after.method["queue_pointer"] == theirs.pointer
        losses.append(loss)
        before = after
    theirs.follow(momentum(STEPS))  # as the eleventh step begins
    assert_equal(after.method["teacher"], theirs.teacher, "the last teacher")
    assert np.ptp(losses) > 0.01 * np.mean(losses)
    return first, after, theirs


def assert_moved(first, last, still=()):
    """The comparison means something: every leaf has moved by a thousandth of its size, but for those in `still`."""
    first, last = by_name(first), by_name(last)
    scale = {name: max(np.abs(leaf).max(), SMALL) for name, leaf in last.items()}
    moved = {name for name in last if np.abs(last[name] - first[name]).max() > 1e-3 * scale[name]}
    assert last.keys() - moved == set(still)


@pytest.mark.parametrize("symmetric", [False, True], ids=["official", "symmetric"])
def test_moco_v2_with_a_resnet(official, tiny, x64, symmetric):
    import torch

    config = small(tiny("moco"))
    config.method.symmetric = symmetric
    config.method.queue_size = 96 if symmetric else 64  # ten batches go round once, and end inside of it
    config.model.width, config.model.norm_groups = 1 / 16, 4
    config.model.projector.hidden_dims, config.model.projector.output_dim = (12,), 8
    config.optim.schedule = "cosine_epoch"

    def make(state):
        return official.MoCoV2(
            official.resnet, state.params, state.method["batch_stats"], queue=state.method["queue"],
            temperature=config.method.temperature, groups=4, symmetric=symmetric, momentum=0.9, weight_decay=DECAY,
        )  # fmt: skip

    def orders(key):
        # moco.py draws the groups of view v's keys with this key. Images sorted by group stand in contiguous blocks,
        # one a GPU; their order within a block changes nothing.
        key = jax.random.fold_in(key, networks.NO_EXAMPLE)
        groups = [shuffled_groups(jax.random.fold_in(key, 2 + view), BATCH, 4) for view in (0, 1)]
        return [torch.tensor(np.argsort(ids, kind="stable")) for ids in groups]

    epochs = RUN_STEPS / STEPS_PER_EPOCH
    first, last, theirs = compare(
        config, make, rate=lambda number: official.cosine(RATE, 0, number // STEPS_PER_EPOCH / epochs),
        momentum=lambda number: EMA, extra_inputs=orders,
    )  # fmt: skip
    assert_moved(first.params, last.params)
    for name in ("teacher", "batch_stats", "teacher_stats", "queue"):
        assert_moved(first.method[name], last.method[name])
    assert theirs.pointer == 32


def rate_v3(official, number, warmup=2):
    """The learning rate by iterations: a linear warm-up from 0, then a cosine to 0."""
    if number < warmup:
        return RATE * number / warmup
    return official.cosine(RATE, 0, (number - warmup) / (RUN_STEPS - warmup))


def compare_v3(official, config, encoder, projector, predictor, frozen=()):
    config.method.momentum_schedule = "cosine"
    config.optim.schedule, config.optim.warmup_steps = "cosine", 2

    def make(state):
        return official.MoCoV3(
            encoder, state.params, state.method["batch_stats"], temperature=config.method.temperature,
            projector=projector, predictor=predictor, momentum=0.9, weight_decay=DECAY, frozen=frozen,
        )  # fmt: skip

    return compare(
        config, make, rate=lambda number: rate_v3(official, number),
        momentum=lambda number: official.cosine(EMA, 1, number / RUN_STEPS),
    )  # fmt: skip


def test_moco_v3_with_a_resnet(official, tiny, x64):
    config = small(tiny("moco_v3"))
    config.model.width = 1 / 16
    for head in (config.model.projector, config.model.predictor):
        head.hidden_dims, head.output_dim = (12,), 8
    projector, predictor = dict(layers=2, last_norm=True), dict(layers=2, last_norm=False)
    first, last, _ = compare_v3(official, config, official.resnet, projector, predictor)
    assert_moved(first.params, last.params)
    for name in ("teacher", "teacher_stats"):
        assert_moved(first.method[name], last.method[name])
    assert_moved(first.method["batch_stats"], last.method["batch_stats"], CENTRED)


def test_moco_v3_with_a_vit(official, tiny, x64, monkeypatch):
    monkeypatch.setitem(vit.SIZES, "test", dict(width=16, depth=2, heads=2))
    config = small(tiny("moco_v3", "cifar10_vit_ti"))
    config.model.size, config.model.heads = "test", 0
    config.model.projector.hidden_dims, config.model.projector.output_dim = (12, 12), 8
    config.model.predictor.hidden_dims, config.model.predictor.output_dim = (12,), 8
    projector, predictor = dict(layers=3, last_norm=True), dict(layers=2, last_norm=True)
    encoder = official.vit(patch_size=4, heads=2)
    first, last, _ = compare_v3(official, config, encoder, projector, predictor, frozen=["patch_projection"])
    # The projection is frozen; the projector's batch norms take away what the last bias adds to all rows.
    still = {"encoder/patch_projection/kernel", "encoder/patch_projection/bias", "encoder/norm/bias"}
    assert_moved(first.params, last.params, still)
    assert_moved(first.method["teacher"], last.method["teacher"], still)
    assert_moved(first.method["batch_stats"], last.method["batch_stats"], CENTRED)
    assert_moved(first.method["teacher_stats"], last.method["teacher_stats"])
