"""What a step is estimated to take."""
import pytest

from src import plan
from src.model import HParams
from src.plan import Plan

SMALL = HParams(n_vocab=512, n_ctx=64, n_embd=32, n_head=4, n_layer=4)


def test_estimates_of_124M():
    """6 operations a weight and token (4 for the way back), attention's beside them: nanoGPT's estimate_mfu gives 0.855e9 a token."""
    assert plan.n_params(HParams()) == 124_439_808
    one = Plan(HParams(), 1, 1024, n_trained=124_439_808)
    assert one.flops() / 1024 == pytest.approx(6 * (124_439_808 - 1024 * 768) + 12 * 12 * 768 * 1024, rel=1e-9)
    assert Plan(HParams(), 1, 1024, n_trained=124_439_808, recompute=True).flops() == pytest.approx(one.flops() * 4 / 3)


def test_the_memory_estimate_grows_with_what_takes_memory():
    n = plan.n_params(SMALL)
    adam, sgd, saving = Plan(SMALL, 4, 64, n), Plan(SMALL, 4, 64, n, optimizer='sgd'), Plan(SMALL, 4, 64, n, recompute=True)
    assert saving.bytes() < adam.bytes() < Plan(SMALL, 8, 64, n).bytes() and sgd.bytes() < adam.bytes()
    assert plan.memory() > 1e8
