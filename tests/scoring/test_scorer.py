"""A net run over images for its scores."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from small_net import NAMES, TEXT, picture

from netspec import DataError, Net, SnapshotError, SpecError, evaluate, parse_net
from netspec.data import write_mean
from netspec.evaluation import accuracy
from netspec.scoring import CENTER, Crops, Preparation, Scorer, parse_crops
from netspec.scoring.scorer import averaged


def scored(folder, images=None, kind="raw", average="softmax", net="net.prototxt", weights="net.caffemodel", **options):
    """The scores of a net, and the names of its classes."""
    scorer = Scorer(folder / net, folder / weights, images, **options)
    try:
        return scorer.scores(kind, average, scorer.names())
    finally:
        scorer.close()


def same(found, expected):
    """Whether scores are the same, but for the order of sums in batches of other sizes."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def by_hand(folder, images, y, x, mirrored=False):
    """The scores of images (N, C, 8, 9) cut at a place, from the net itself."""
    cut = images[:, :, y : y + 5, x : x + 5].astype(np.float32)
    cut = cut[..., ::-1] if mirrored else cut
    data = (cut - np.array([90, 100, 110], np.float32)[:, None, None]) * np.float32(0.01)
    net = Net(folder / "net.prototxt", weights=folder / "net.caffemodel", shapes={"data": (1, 3, 5, 5), "label": (1,)})
    with torch.no_grad():
        return net(data=data, blobs=["ip"])["ip"]


def test_the_data_of_the_net(folder, images):
    """Every record of the TEST data comes once, in order, with its key, its label and the names of the classes."""
    scores = scored(folder)
    np.testing.assert_allclose(scores.scores, by_hand(folder, images, 1, 2), atol=1e-6)
    assert scores.keys == tuple(f"{i:08d}_x{i}.png" for i in range(10))
    assert scores.labels.tolist() == [i % 4 for i in range(10)]
    assert (scores.classes, scores.kind, scores.origin) == (tuple(NAMES), "raw", str(folder / "net.prototxt"))


def test_which_weights_made_the_scores(folder):
    """They are told by their values, whatever file they are in and whatever is scored."""
    net = Net(folder / "net.prototxt", weights=folder / "net.caffemodel")
    net.save(folder / "same.safetensors")
    with torch.no_grad():
        net.layer_params["ip"][1][0] += 1
    net.save(folder / "others.caffemodel")
    ours = scored(folder).net
    assert len(ours) == 16
    assert scored(folder, folder / "images", weights="same.safetensors").net == ours
    assert scored(folder, weights="others.caffemodel").net != ours


def test_the_accuracy_is_that_of_the_test_net(folder):
    """The scores have the accuracy that the test net has over the same data."""
    net = Net(folder / "net.prototxt", weights=folder / "net.caffemodel")
    assert accuracy(scored(folder)).value == pytest.approx(evaluate(net)["accuracy"][0])


def test_softmax(folder):
    """As distributions the scores are the softmax of the raw ones."""
    expected = torch.from_numpy(scored(folder).scores).softmax(1)
    found = scored(folder, kind="softmax")
    assert found.kind == "softmax"
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)


PLACES = {
    "5": [(0, 0), (0, 4), (3, 0), (3, 4), (1, 2)],
    "grid:2": [(0, 0), (0, 4), (3, 0), (3, 4)],
}


@pytest.mark.parametrize("form", PLACES)
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("average", ["scores", "softmax"])
def test_crops_are_averaged(folder, images, form, mirror, average):
    """Over the windows of an image the scores are averaged, or their softmax; raw, its logarithm."""
    crops = Crops(**{**vars(parse_crops(form)), "mirror": mirror})
    windows = [by_hand(folder, images, y, x, m) for m in (False, True)[: 1 + mirror] for y, x in PLACES[form]]
    stacked = torch.stack(windows, 1)
    expected = stacked.mean(1) if average == "scores" else stacked.softmax(2).mean(1).log()
    found = scored(folder, crops=crops, average=average)
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    both = scored(folder, crops=crops, average=average, kind="softmax")
    np.testing.assert_allclose(both.scores, expected.softmax(1), atol=1e-6)


def test_averages_by_hand():
    """The two averages differ where one window is sure and another is not; one window stays what it is."""
    windows = torch.tensor([[[0.0, 4.0], [0.0, 0.0]]])
    assert averaged(windows, "scores").tolist() == [[0.0, 2.0]]
    shares = averaged(windows, "softmax").exp()[0]
    sure = np.exp(4) / (1 + np.exp(4))
    assert shares.tolist() == pytest.approx([(1 - sure + 0.5) / 2, (sure + 0.5) / 2])
    assert averaged(windows[:, :1], "softmax").tolist() == [[0.0, 4.0]]


def test_windows_that_are_sure_stay_finite():
    """The logarithm of a share too small for its number is still a number."""
    assert averaged(torch.tensor([[[0.0, 900.0], [0.0, 900.0]]]), "softmax").tolist() == [[-900.0, 0.0]]


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
@pytest.mark.parametrize("crops", [CENTER, parse_crops("10"), parse_crops("random:3")])
def test_the_batch_does_not_matter(folder, saved, batch, crops):
    """The scores do not depend on how many images the net has at once, those of windows at random neither."""
    other = saved(TEXT.replace("batch_size: 4", f"batch_size: {batch}"))
    expected = scored(folder, crops=crops).scores
    np.testing.assert_allclose(scored(folder, net=other.name, crops=crops).scores, expected, atol=1e-6)


def test_no_mirror_at_random(folder, saved):
    """`mirror` in the TEST data layer, which acts at random, does not act here."""
    other = saved(TEXT.replace("{ crop_size: 5 mean", "{ mirror: true crop_size: 5 mean"))
    np.testing.assert_allclose(scored(folder, net=other.name).scores, scored(folder).scores, atol=1e-6)


# --- other images ----------------------------------------------------------------------------------------------------


def test_an_unlabelled_folder(folder):
    """Images without labels have the same scores, their names as keys, and the names of classes of the net's data."""
    scores = scored(folder, folder / "images")
    same(scores.scores, scored(folder).scores)
    assert (scores.labels, scores.classes) == (None, tuple(NAMES))
    assert scores.keys == tuple(f"x{i}.png" for i in range(10))


def test_a_folder_of_classes(folder):
    """The folders of a labelled set are its classes, with words where words.txt has them and the net's own data are
    not there to name them."""
    class_folders(folder, ("n1", "n2", "n3", "n4"))
    (folder / "words.txt").write_text("n1\tcat\nn3\tcow, ox\n")
    (folder / "labels.txt").unlink()
    scores = scored(folder, str(folder / "set"))
    assert (scores.labels.tolist(), scores.keys[1]) == ([0, 1, 2, 3], "n2/x1.png")
    assert scores.classes == ("n1 cat", "n2", "n3 cow, ox", "n4")
    same(scores.scores, scored(folder).scores[:4])


def class_folders(folder, names):
    """A set of one image for each class."""
    for index, name in enumerate(names):
        (folder / "set" / name).mkdir(parents=True)
        shutil.copy(folder / "images" / f"x{index}.png", folder / "set" / name)


@pytest.mark.parametrize("names", [("n00000002", "n00000004"), ("dog", "hen")])
def test_a_folder_with_some_of_the_classes(folder, names):
    """Its classes have the net's numbers, not those of their own order; the names are the net's."""
    class_folders(folder, names)
    scores = scored(folder, folder / "set")
    assert (scores.labels.tolist(), scores.classes) == ([1, 3], tuple(NAMES))


def test_a_folder_of_other_classes(folder):
    """A class that the net does not know is refused by its name."""
    class_folders(folder, ("dog", "owl"))
    with pytest.raises(DataError, match=r'set: its class 1, "owl", is none of the net\'s: "n00000001 cat, tom", "n0'):
        scored(folder, folder / "set")


def test_a_list_of_damaged_images(folder, saved):
    """The net's own word on how many may be left out holds for other images too."""
    (folder / "images" / "x3.png").write_bytes(b"no image")
    net = saved(TEXT.replace('source: "test_lmdb"', 'source: "test_lmdb" skip_damaged: 1'))
    assert len(scored(folder, folder / "images", net=net.name).keys) == 9
    with pytest.raises(DataError, match=r"x3\.png"):
        scored(folder, folder / "images")


@pytest.mark.parametrize(("line", "labels"), [("{} 3", [3, 3]), ("{}", None)])
def test_a_list(folder, line, labels):
    """A list may have labels or not."""
    (folder / "list.txt").write_text("\n".join(line.format(folder / "images" / f"x{i}.png") for i in (4, 2)))
    scores = scored(folder, folder / "list.txt")
    assert (None if scores.labels is None else scores.labels.tolist()) == labels
    same(scores.scores, scored(folder).scores[[4, 2]])


def test_another_database(folder):
    """A database may stand for the net's own, by its folder or its file."""
    for place in ("train_lmdb", "train_lmdb/data.mdb"):
        same(scored(folder, folder / place).scores, scored(folder).scores)


def test_files_of_any_size(folder, images):
    """Image files are resized to the size of the net's own data, as Caffe resizes, and cropped in the centre."""
    large = folder / "large.png"
    picture(images[3]).resize((90, 80), Image.Resampling.NEAREST).save(large)
    scores = scored(folder, [folder / "images" / "x5.png", large])
    assert scores.keys == (str(folder / "images" / "x5.png"), str(large))
    same(scores.scores[0], scored(folder).scores[5])
    np.testing.assert_allclose(scores.scores[1], scored(folder).scores[3], atol=0.2)


def test_a_caffemodel_alone(folder, images):
    """What a .caffemodel tells of its data prepares images, whose size must be given."""
    files = [folder / "images" / f"x{i}.png" for i in range(3)]
    given = Preparation(size=(8, 9))
    scores = scored(folder, files, net="net.caffemodel", given=given)
    np.testing.assert_allclose(scores.scores, scored(folder).scores[:3], atol=1e-6)
    with pytest.raises(DataError, match=r"net\.caffemodel: how large images are before they are cropped is not known"):
        scored(folder, files, net="net.caffemodel")


RANDOM = "crop_size: 5 rotation: 30 contrast_min: 0.5 copy { crop_size: 5 } random_resized_crop {}"


def test_a_caffemodel_of_a_training(folder, saved):
    """What a training does to images at random is not done to another set, though its net is the one that is stored."""
    net = saved(TEXT.replace("{ crop_size: 5 mirror: true", f"{{ mirror: true {RANDOM}"))
    Net(net, "TRAIN", weights=folder / "net.caffemodel").save(folder / "trained.caffemodel")
    for images in (folder / "test_lmdb", folder / "images"):
        found = scored(
            folder, images, net="trained.caffemodel", weights="trained.caffemodel", given=Preparation(size=(8, 9))
        )
        same(found.scores, scored(folder).scores)


def test_a_caffemodel_with_images_from_memory(folder, saved):
    """A MemoryData layer tells how large images are."""
    memory = "memory_data_param { batch_size: 1 channels: 3 height: 5 width: 5 }"
    data = f' name: "in" type: "MemoryData" top: "data" top: "y" {memory} }}'
    text = "\nlayer {".join(["", data, *TEXT.split("\nlayer {")[3:5]])
    Net(saved(text), weights=folder / "net.caffemodel").save(folder / "memory.caffemodel")
    file, given = folder / "images" / "x0.png", Preparation(mean=(90, 100, 110), scale=0.01)
    expected = scored(folder, [file], net=saved(DEPLOY).name, given=given).scores
    np.testing.assert_array_equal(scored(folder, [file], net="memory.caffemodel", given=given).scores, expected)


DEPLOY = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 3, 5, 5] } } }' + "".join(
    f"\nlayer {{{part}" for part in TEXT.split("\nlayer {")[3:5]
)


def test_a_deploy_net(folder, saved, images):
    """Images for an Input layer are resized to it; mean and scale are those given, a mean file's by channel."""
    net = saved(DEPLOY).name
    mean = np.zeros((3, 20, 20), np.float32) + np.array([90, 100, 110], np.float32)[:, None, None]
    mean[:, :10] += 7
    mean[:, 10:] -= 7
    write_mean(folder / "mean.binaryproto", mean)
    file = folder / "small.png"
    picture(images[0][:, 1:6, 2:7]).save(file)
    expected = scored(folder).scores[:1]
    for given in (
        Preparation(mean=(90, 100, 110), scale=0.01),
        Preparation(mean_file=str(folder / "mean.binaryproto"), scale=0.01),
    ):
        np.testing.assert_allclose(scored(folder, [file], net=net, given=given).scores, expected, atol=1e-5)
    given = Preparation(mean=(90, 100, 110), std=(100,))
    np.testing.assert_allclose(scored(folder, [file], net=net, given=given).scores, expected, atol=1e-5)
    with pytest.raises(DataError, match=r"other\.prototxt has no data of its own: name a set to score"):
        scored(folder, net=net)


def test_a_mean_image_of_the_inputs_size(folder, saved, images):
    """It is taken away pixel by pixel, as pycaffe's Transformer does."""
    mean = images[9][:, 2:7, 1:6].astype(np.float32)
    write_mean(folder / "mean.binaryproto", mean)
    picture(images[0][:, 1:6, 2:7]).save(folder / "small.png")
    given = Preparation(mean_file=str(folder / "mean.binaryproto"))
    net = Net(saved(DEPLOY), weights=folder / "net.caffemodel")
    data = torch.from_numpy(images[0][:, 1:6, 2:7] - mean)[None]
    same(
        scored(folder, [folder / "small.png"], net="other.prototxt", given=given).scores, net(data=data)["ip"].detach()
    )


@pytest.mark.parametrize("form", ["center", "10", "grid:2"])
def test_crops_for_an_input(folder, saved, form):
    """Images that are resized to more than a square input are cropped to it, as Caffe's Classifier does."""
    given = Preparation(mean=(90, 100, 110), scale=0.01, size=(8, 9))
    found = scored(folder, folder / "images", net=saved(DEPLOY).name, given=given, crops=parse_crops(form))
    same(found.scores, scored(folder, crops=parse_crops(form)).scores)


def test_a_grey_net(folder, saved, images):
    """A net whose data is grey gets grey images."""
    text = TEXT.replace("crop_size: 5 mean_value: [90, 100, 110]", "force_gray: true crop_size: 5")
    net = Net(parse_net(text), shapes={"data": (1, 1, 5, 5), "label": (1,)})
    net.save(folder / "grey.caffemodel")
    files = [folder / "images" / "x1.png"]
    scores = scored(folder, files, net=saved(text).name, weights="grey.caffemodel")
    luma = np.asarray(picture(images[1]).convert("L"), np.float32)[1:6, 2:7] * np.float32(0.01)
    with torch.no_grad():
        np.testing.assert_allclose(scores.scores, net(data=luma[None, None], blobs=["ip"])["ip"], atol=1e-6)


def test_means_are_one_or_the_other():
    """Mean values and a mean file are not given together."""
    with pytest.raises(DataError, match="give mean values or a mean file, not both"):
        Preparation(mean=(1,), mean_file="x")


# --- which blob, and mistakes ----------------------------------------------------------------------------------------

TWO = TEXT + 'layer { name: "t" type: "TanH" bottom: "conv" top: "t" }'
HEADS = TEXT + "".join(
    f"layer {{{part}".replace('"ip"', '"ip2"').replace('"loss"', '"loss2"') for part in TEXT.split("\nlayer {")[4:6]
)


def test_the_scores_among_outputs(folder, saved):
    """The one output that is a softmax has the scores; of several the user names the blob."""
    expected = scored(folder).scores
    same(scored(folder, net=saved(TWO).name).scores, expected)
    other = saved(TWO.replace("SoftmaxWithLoss", "HingeLoss"))
    same(scored(folder, net=other.name, blob="ip").scores, expected)
    with pytest.raises(SpecError, match=r"which of these outputs are the scores is not known: ip, t; name one"):
        scored(folder, net=other.name)
    with pytest.raises(SpecError, match=r'the net has no blob "x"; its outputs are ip, t'):
        scored(folder, net=other.name, blob="x")


def test_two_heads(folder, saved):
    """Two losses of equal weight are two candidates; a lesser one's head is none."""
    net = saved(HEADS)
    Net(net).save(folder / "heads.caffemodel")
    with pytest.raises(SpecError, match=r"which of these outputs are the scores is not known: ip2_prob, prob"):
        scored(folder, net=net.name, weights="heads.caffemodel")
    first = scored(folder, net=net.name, weights="heads.caffemodel", blob="prob").scores
    lesser = saved(HEADS.replace('bottom: "ip2" bottom: "label"', 'loss_weight: 0.3 bottom: "ip2" bottom: "label"'))
    same(scored(folder, net=lesser.name, weights="heads.caffemodel").scores, first)
    second = scored(folder, net=net.name, weights="heads.caffemodel", blob="ip2").scores
    same(scored(folder, net=lesser.name, weights="heads.caffemodel", blob="ip2").scores, second)
    assert not np.allclose(first, second)


def test_losses_are_not_built(folder, saved):
    """A loss goes whatever it is, so that a fork's net can be scored."""
    same(scored(folder, net=saved(TEXT.replace("SoftmaxWithLoss", "FocalLoss")).name).scores, scored(folder).scores)


def test_scores_of_every_pixel(folder, saved):
    """Scores that are no row of classes an image are refused."""
    text = TEXT.replace('"ip" bottom: "label"', '"conv" bottom: "label"')
    with pytest.raises(SpecError, match=r'"conv" has the shape \(4, 8, 3, 3\) for 4 images, where scores are 4 rows'):
        scored(folder, net=saved(text).name)


@pytest.mark.parametrize("last", ["Flatten", "Dropout"])
def test_a_softmax_before_the_end(folder, saved, last):
    """Where what follows a softmax changes no number, the scores are what it reads."""
    softmax = 'layer { name: "s" type: "Softmax" bottom: "ip" top: "s" }'
    end = f'layer {{ name: "e" type: "{last}" bottom: "s" top: "e" }}'
    found = scored(folder, net=saved("\n".join([*TEXT.split("\n")[:-3], softmax, end])).name)
    same(found.scores, scored(folder).scores)


@pytest.mark.parametrize("end", ['type: "ArgMax"', 'type: "Reduction" reduction_param { axis: 1 }'])
def test_no_scores_of_classes(folder, saved, end):
    """One number an image is no score."""
    text = "\n".join(TEXT.split("\n")[:-3]) + f'layer {{ name: "a" bottom: "ip" top: "a" {end} }}'
    with pytest.raises(
        SpecError, match=r'"a" has the shape \(4,( 1)?.*\) for 4 images, where scores are 4 rows of classes'
    ):
        scored(folder, net=saved(text).name)


def test_rows_of_numbers(folder, saved):
    """A net that reads its images from HDF5, as numbers that nothing changes, is scored as they are."""
    random = np.random.default_rng(0)
    rows, labels = random.random((7, 3, 5, 5), np.float32), random.integers(0, 4, 7)
    with h5py.File(folder / "rows.h5", "w") as file:
        file["data"], file["label"] = rows, labels.astype(np.float32)
    (folder / "rows.txt").write_text(str(folder / "rows.h5"))
    param = 'hdf5_data_param { source: "rows.txt" batch_size: 4 }'
    data = f' name: "data" type: "HDF5Data" top: "data" top: "label" {param} }}'
    net = saved("\nlayer {".join(["", data, *TEXT.split("\nlayer {")[3:]]))
    scores = scored(folder, net=net.name)
    deploy = Net(saved(DEPLOY, "deploy.prototxt"), weights=folder / "net.caffemodel", shapes={"data": (7, 3, 5, 5)})
    same(scores.scores, deploy(data=torch.from_numpy(rows))["ip"].detach().numpy())
    assert scores.labels.tolist() == labels.tolist()


def test_a_softmax_in_place(folder, saved):
    """A softmax that hides its scores is refused, where it stands."""
    text = "\n".join(TEXT.split("\n")[:-3]) + '\nlayer { name: "s" type: "Softmax" bottom: "ip" top: "ip" }'
    with pytest.raises(SpecError, match=r'its scores cannot be told from their softmax, which has their name "ip"'):
        scored(folder, net=saved(text).name)


def test_two_data_layers(folder, saved):
    """A net that is fed by two data layers is refused by their names."""
    second = TEXT.split("\nlayer {")[2].replace('"data"', '"more"').replace('top: "label"', "")
    text = f"layer {{{second}{TEXT}"
    text = text.replace('type: "InnerProduct" bottom: "conv"', 'type: "InnerProduct" bottom: "sum"')
    concat = 'layer { name: "sum" type: "Concat" bottom: "conv" bottom: "more" top: "sum" concat_param { axis: 1 } }\n'
    text = text.replace('layer { name: "ip"', concat + 'layer { name: "ip"')
    with pytest.raises(SpecError, match="a net is scored over one data layer; this one has 2: more, data"):
        scored(folder, net=saved(text).name)


def test_weights_of_another_net(folder, saved):
    """Weights that lack a layer, or have another form of one, are refused."""
    Net(parse_net(TEXT.replace('"ip"', '"fc"')), shapes={"data": (1, 3, 5, 5), "label": (1,)}).save(
        folder / "a.caffemodel"
    )
    with pytest.raises(SnapshotError, match=r"a\.caffemodel: weights of another net: they lack ip"):
        scored(folder, weights="a.caffemodel")
    Net(parse_net(TEXT.replace("num_output: 8", "num_output: 6")), shapes={"data": (1, 3, 5, 5), "label": (1,)}).save(
        folder / "b.caffemodel"
    )
    with pytest.raises(SnapshotError, match=r'b\.caffemodel: blob 0 of layer "conv" has shape'):
        scored(folder, weights="b.caffemodel")
    with pytest.raises(SnapshotError, match=r"c\.caffemodel: there is no such file"):
        scored(folder, weights="c.caffemodel")


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"images": "nothing"}, DataError, r"nothing: there is no such folder, list or database"),
        ({"images": "images/x1.png"}, DataError, r"images/x1\.png: one image is no set: name its folder"),
        ({"images": "empty"}, DataError, r"empty: the folder holds no images"),
        ({"images": ["images/x77.png"]}, DataError, r"images/x77\.png: there is no such image"),
        ({"images": ["labels.txt"]}, DataError, r"labels\.txt: cannot decode an image \(JPEG, PNG or BMP\)[^;]*$"),
        ({"given": Preparation(size=(4, 4))}, SpecError, r"crop_size 5 is larger than the images, 3x4x4"),
        ({"images": ["images/x1.png"], "given": Preparation(size=(4, 9))}, SpecError, r"crop_size 5 is larger"),
        ({"given": Preparation(mean=(1, 2))}, SpecError, r"2 mean_value for images of 3 channels"),
        ({"given": Preparation(mean_file="none")}, SpecError, r'"none" is not there'),
    ],
)
def test_mistakes(folder, monkeypatch, options, error, reason):
    """Each mistake about images has one message that names them."""
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    with pytest.raises(error, match=reason):
        scored(folder, **options)


def test_crops_need_a_size(folder, saved):
    """Crops other than the centre are of a net with crop_size, which the message shows; mirrors are not."""
    net = saved(TEXT.replace("crop_size: 5", "resize: 5")).name
    with pytest.raises(SpecError, match=r"other\.prototxt:6:3: layer .data.: there is nothing to crop"):
        scored(folder, net=net, crops=parse_crops("5"))
    plain, mirrored = scored(folder, net=net), scored(folder, net=net, crops=Crops(mirror=True))
    assert not np.allclose(plain.scores, mirrored.scores)


def test_labels_that_are_no_classes(folder):
    """A label beyond the classes that are scored is refused with the record's name."""
    (folder / "list.txt").write_text(f"{folder}/images/x1.png 1\n{folder}/images/x2.png 4\n")
    with pytest.raises(DataError, match=r"line 2 .*x2\.png"):
        scored(folder, folder / "list.txt")


def test_an_average_that_is_none(folder):
    """Only the two averages are known."""
    with pytest.raises(ValueError, match='average "median" is none of scores, softmax'):
        scored(folder, average="median")
