"""Which of the two generators a machine gets."""
import os
import shutil

import pytest
import tensorflow as tf

from src import files, generators, lite, sample
from src.console import UsageError


@pytest.fixture
def place(demo_models, tmp_path):
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'models' / 'tiny', ignore=shutil.ignore_patterns('*.tflite'))
    return files.find_model('tiny', str(tmp_path / 'models'))


def test_a_cpu_gets_int8_weights_and_float32_when_asked(place, monkeypatch):
    monkeypatch.setattr(generators, 'GPUS', {})
    for precision, expected in (('auto', 'int8'), ('float32', 'float32')):
        generator, said = generators.open_generator(place, precision=precision)
        assert isinstance(generator, lite.Generator) and generator.engine.precision == expected and said == f'{expected} weights on the CPU'
        assert (generator.draft is None) == (precision == 'auto')
    assert generators.open_generator(place, precision='float32', drafted=False)[0].draft is None


def test_a_gpu_gets_xla_unless_int8_is_asked_for(place, monkeypatch):
    monkeypatch.setattr(generators, 'finds_gpu', lambda verbose: True)
    assert isinstance(generators.open_generator(place)[0], sample.Generator)
    assert isinstance(generators.open_generator(place, precision='int8')[0], lite.Generator)


@pytest.mark.parametrize('build, asked', [('is_cuda_build', True), ('is_rocm_build', False)])
def test_a_gpu_that_tensorflow_does_not_find_or_was_not_built_for_is_none(place, monkeypatch, capsys, build, asked):
    if not tf.sysconfig.get_build_info()['is_cuda_build'] or tf.config.list_physical_devices('GPU'):
        pytest.skip('another TensorFlow, or a GPU')
    monkeypatch.setattr(generators, 'GPUS', {place: build})              # something that is there
    generator, said = generators.open_generator(place)
    assert isinstance(generator, lite.Generator) and said == 'int8 weights on the CPU'
    assert ('TensorFlow does not find the GPU of this machine' in capsys.readouterr().err) == asked


def test_bfloat16_is_made_by_xla_and_is_the_choice_of_a_gpu_that_has_it(place, monkeypatch):
    monkeypatch.setattr(generators, 'GPUS', {})
    generator, said = generators.open_generator(place, precision='bfloat16')
    assert isinstance(generator, sample.Generator) and generator.params['wte'].dtype == 'bfloat16' and said == 'bfloat16 weights'
    monkeypatch.setattr(generators, 'finds_gpu', lambda verbose: True)
    monkeypatch.setattr(generators.console, 'gpu_precision', lambda: 'bfloat16')
    assert [generators.open_generator(place, precision=precision)[1] for precision in ('auto', 'float32')] == ['bfloat16 weights', 'float32 weights']


def test_where_litert_cannot_be_had_xla_does_it_and_it_is_said(place, monkeypatch, capsys):
    monkeypatch.setattr(generators, 'GPUS', {})
    os.mkdir(os.path.join(place, 'int8.tflite'))                         # as good as a folder that cannot be written to
    generator, said = generators.open_generator(place)
    assert isinstance(generator, sample.Generator) and said == 'float32 weights' and '(no int8 weights: ' in capsys.readouterr().err


def test_a_precision_that_is_none(place):
    with pytest.raises(UsageError, match='--precision int4 .* auto, int8, bfloat16, float32'):
        generators.open_generator(place, precision='int4')
