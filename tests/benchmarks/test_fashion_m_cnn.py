"""Fashion-MNIST-M: what a pixel is made of, splits, seeds, and that a small network learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import datasets
from benchmarks.run import Run
from benchmarks.tasks.fashion_m_cnn import SEEDS, FashionM_Cnn, before
from methods.reference.baseline import Baseline

#: Photo, row and column of the first training image's patch.
FIRST = (1, 357, 300)


@pytest.fixture(scope="module")
def splits():
    return FashionM_Cnn(images=4000).prepare()


def tensors(split):
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in split.items()}


def test_splits_are_those_of_the_grey_images(splits):
    grey, parts = datasets.fashion_mnist(), {"train": 4000, "valid": 2000, "test": 10000}
    assert {name: len(split["y"]) for name, split in splits.items()} == parts
    for split in splits.values():
        assert split["x"].shape == (len(split["y"]), 3, 32, 32)
        assert split["x"].dtype == np.uint8 and split["y"].dtype == np.int64
    assert np.array_equal(splits["train"]["y"], grey["train_y"][:4000])
    assert np.array_equal(splits["valid"]["y"], grey["train_y"][18000:])
    assert np.array_equal(splits["test"]["y"], grey["test_y"])


def test_a_pixel_by_hand():
    photo = np.full((1, 32, 32, 3), (10, 100, 250), np.uint8)
    item = np.zeros((1, 1, 28, 28), np.uint8)
    item[0, 0, 0, 5] = 200
    mixed = before(photo, item, seed=0)[0]
    assert mixed[:, 2, 7].tolist() == [190, 100, 50]  # |10 - 200|, |100 - 200|, |250 - 200|
    mixed[:, 2, 7] = (10, 100, 250)
    assert (mixed == np.array([10, 100, 250])[:, None, None]).all()  # nothing else was touched


def test_the_first_image_by_hand(splits):
    photo, row, column = FIRST
    patch = datasets.photos()[photo, row : row + 32, column : column + 32].astype(int)
    item = np.zeros((32, 32), int)
    item[2:30, 2:30] = datasets.fashion_mnist()["train_x"][0]
    assert np.array_equal(splits["train"]["x"][0], np.abs(patch - item[..., None]).transpose(2, 0, 1))
    assert splits["train"]["x"][0, :, 16, 16].tolist() == [217, 142, 146]  # |0 - 217|, |75 - 217|, |71 - 217|


def test_the_same_each_time_and_however_many_follow(splits):
    few = FashionM_Cnn(images=100).prepare()
    assert np.array_equal(few["train"]["x"], splits["train"]["x"][:100])
    assert all(np.array_equal(few[name]["x"], splits[name]["x"]) for name in ("valid", "test"))


def test_every_split_has_patches_of_its_own():
    assert len(set(SEEDS.values())) == len(SEEDS) == 3
    photos, empty = datasets.photos(), np.zeros((500, 1, 28, 28), np.uint8)
    drawn = [before(photos, empty, seed) for seed in SEEDS.values()]
    same = [(a == b).all(axis=(1, 2, 3)).mean() for a, b in zip(drawn, drawn[1:] + drawn[:1], strict=True)]
    assert max(same) == 0
    # every row and column may be drawn: 396 x 609 places a photo
    tall, wide = photos[:1, :33, :32], photos[:1, :32, :33]
    for narrow in (tall, wide):
        assert len({image.tobytes() for image in before(narrow, empty, 0)}) == 2


def test_inputs_are_centred_and_scaled(splits):
    seen = FashionM_Cnn().inputs(tensors(splits["train"])["x"])
    assert seen.dtype == torch.float32
    assert abs(float(seen.mean())) < 0.02 and abs(float(seen.std()) - 1) < 0.02


def test_the_model_takes_three_colours(splits):
    task = FashionM_Cnn(width=4)
    model = task.model(None)
    assert [tuple(conv.weight.shape[:2]) for conv in model.convs] == [(4, 3), (8, 4), (16, 8)]
    assert model.eval()(task.inputs(tensors(splits["valid"])["x"][:5])).shape == (5, 10)


def test_a_small_network_learns(splits):
    task = FashionM_Cnn(images=4000, epochs=2)
    torch.manual_seed(0)
    train, valid = tensors(splits["train"]), tensors(splits["valid"])
    run = Run(task, Baseline(), 0, torch.device("cpu"), train, valid)
    scores = task.score(task.fit(run.method.build(run), run).eval(), valid, run)
    assert scores["accuracy"].values.mean() > 0.6
    assert scores["nll"].values.mean() < 1.1
