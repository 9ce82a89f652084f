"""A second process may take parts of a batch; what comes out is the same to the bit."""

import pathlib


def test_a_helper_changes_nothing(tmp_path: pathlib.Path) -> None:
    import torch
    from training.network.sizes import Size
    from training.train import Machine, Run

    from .tiny import make_corpora, make_tokenizer

    torch.set_num_threads(1)
    tokenizer = make_tokenizer(tmp_path)
    size = Size(64, 2, (0, 1), 6144, 100_000)
    weights: list[dict[str, torch.Tensor]] = []
    for gradient_worker in (False, True):
        run = Run(tmp_path, size, make_corpora(tokenizer), seed=3, machine=Machine(gradient_worker=gradient_worker))
        assert run.parts > 1
        for step in range(4):
            run.step(step / 4)
        weights.append({name: value.clone() for name, value in run.model.state_dict().items()})
        run.close()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_parts_come_back_in_order_and_a_late_answer_is_dropped() -> None:
    import torch
    from training.learning.gradient_worker import Gradients, GradientWorker, Job, compute_parts

    parameter = torch.zeros(1).share_memory_()

    def compute(job: Job) -> Gradients:
        return Gradients(float(job.part), 1, (torch.full((1,), float(10 * job.step + job.part)),), 7)

    gradient_worker = GradientWorker([parameter], compute)
    try:
        gradient_worker.give(Job(0, 3, 0.0))  # an answer to a step that is over
        for step in (1, 2, 3):
            results = compute_parts(compute, [Job(step, part, 0.5) for part in range(5)], gradient_worker)
            assert [result.gradients[0].item() for result in results] == [10 * step + part for part in range(5)]
    finally:
        gradient_worker.close()
