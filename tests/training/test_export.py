"""The exported graph computes what PyTorch computes."""

import pathlib

import pytest


@pytest.fixture
def checkpoint(tmp_path: pathlib.Path) -> pathlib.Path:
    import torch
    from training.network.sizes import SIZES
    from training.train import Run

    from .tiny import make_corpora, make_tokenizer

    torch.set_num_threads(1)
    run = Run(tmp_path, SIZES["test"], make_corpora(make_tokenizer(tmp_path)), seed=1)
    for _ in range(30):
        run.step(0.5)
    run.save()
    return run.path


def test_logits_and_greedy_text(checkpoint: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Before int8 the logits agree to 1e-4, after it to 0.3 on average; 64 greedy tokens are the same in float32."""
    import numpy
    import openvino
    import torch
    from training.export import compare_logits, write_folder
    from training.train import load_model

    model, _ = load_model(checkpoint)
    tokens = numpy.random.default_rng(0).integers(12, model.shape.vocabulary, (2, 90))
    for bits in (8, 32):
        folder = tmp_path / str(bits)
        folder.mkdir()
        write_folder(checkpoint, folder, bits=bits)
        apart = compare_logits(model, folder, tokens)
        assert apart.mean() < 0.3 if bits == 8 else apart.max() < 1e-4
    request = (
        openvino.Core()
        .compile_model(str(tmp_path / "32/openvino_model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        .create_infer_request()
    )
    expected = tokens[:1, :20]
    given, fed = expected.copy(), expected
    for _ in range(64):
        with torch.no_grad():
            chosen = model.logits(torch.from_numpy(expected))[0, -1].argmax().item()
        expected = numpy.append(expected, [[chosen]], axis=1)
        place = numpy.arange(given.shape[1] - fed.shape[1], given.shape[1])[None]
        inputs = {
            "input_ids": fed,
            "attention_mask": numpy.ones_like(given),
            "position_ids": place,
            "beam_idx": numpy.zeros(1, numpy.int32),
        }
        fed = numpy.array([[int(request.infer(inputs)["logits"][0, -1].argmax())]])
        given = numpy.append(given, fed, axis=1)
    assert (given == expected).all()


def test_package_is_the_same_every_time(checkpoint: pathlib.Path, tmp_path: pathlib.Path) -> None:
    from training.export import write_folder, write_package

    packages: list[bytes] = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        write_folder(checkpoint, folder)
        write_package(folder, folder / "hokku.zip")
        packages.append((folder / "hokku.zip").read_bytes())
    assert packages[0] == packages[1]


def test_engine_runs_the_package(checkpoint: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Paged attention, a prefix that is cached and requests side by side: the same greedy tokens as PyTorch."""
    import numpy
    import torch
    from training.export import write_folder, write_package
    from training.train import load_model

    from renga.config import EngineSettings
    from renga.models.engine.ipc import GenerationRequest, SubmitCommand, TokensReport
    from renga.models.engine.loading.model_loader import load_model as load_package
    from renga.models.engine.process import load_engine

    folder = tmp_path / "package"
    folder.mkdir()
    write_folder(checkpoint, folder)
    write_package(folder, folder / "hokku.zip")
    package = load_package(str(folder / "hokku.zip"), cache_folder=tmp_path / "cache")
    assert (package.family.name, package.context_tokens) == ("hokku", 200_000)
    engine = load_engine(package.engine_config(EngineSettings(cache_bytes=1 << 24)))
    model, _ = load_model(checkpoint)
    prompts = numpy.random.default_rng(1).integers(12, model.shape.vocabulary, (3, 70)).tolist()
    for _ in range(2):
        given: dict[int, list[int]] = {index: [] for index in range(3)}
        for index, prompt in enumerate(prompts):
            engine.handle(SubmitCommand(index, GenerationRequest(prompt, max_tokens=8, temperature=0.0)))
        while engine.busy:
            for report in engine.step():
                if isinstance(report, TokensReport):
                    given[report.request_id] += report.batch.token_ids
        for index, prompt in enumerate(prompts):
            logits = model.logits(torch.tensor([prompt])).detach()[0, -1]
            ended = not given[index]
            chosen = 1 if ended else given[index][0]
            assert logits.max() - logits[chosen] < 0.5
