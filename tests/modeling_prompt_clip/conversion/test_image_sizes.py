"""Image sizes by the number of positions: taken and said, asked for, or refused where patches overlap."""

import pytest

from modeling_prompt_clip.conversion.image_sizes import find_image_size


@pytest.mark.parametrize(
    ("positions", "patch_size", "size", "others"),
    [
        (196, 16, (224, 224), {(448, 112)}),
        (49, 32, (224, 224), set()),
        (256, 14, (224, 224), {(448, 112)}),
        (576, 14, (336, 336), {(448, 252), (504, 224), (672, 168)}),
        (192, 16, (384, 128), {(256, 192)}),
        (48, 32, (384, 128), {(256, 192)}),
        (243, 14, (378, 126), set()),
        (12, 16, (96, 32), {(64, 48)}),
    ],
)
def test_squares_and_three_to_one_are_taken_and_what_else_fits_is_named(positions, patch_size, size, others):
    found = find_image_size(positions, patch_size)
    assert found.height_width == size
    assert others <= set(found.others) and size not in found.others
    for height, width in found.others:
        assert (height // patch_size) * (width // patch_size) == positions and width <= height <= 4 * width


@pytest.mark.parametrize(
    ("positions", "grid", "stride"),
    [(200, "25 x 8", 15), (310, "31 x 10", 12), (374, "34 x 11", 11), (705, "47 x 15", 8), (210, "21 x 10", 12)],
)
def test_overlapping_patches_are_refused_by_name(positions, grid, stride):
    message = rf"as many as {grid} overlapping patches.*one every {stride} pixels.*overlapping patches cannot be had"
    with pytest.raises(ValueError, match=message):
        find_image_size(positions, 16)
    with pytest.raises(ValueError, match=message):
        find_image_size(positions, 16, wanted=(224, 224))


def test_three_to_one_that_may_overlap_is_asked_for():
    with pytest.raises(ValueError, match=r"27 x 9 overlapping patches of a 384x128 image.*of those that fit: 432 144"):
        find_image_size(243, 16)  # 384x128 at a stride of 14, or 432x144 without overlap
    assert find_image_size(243, 16, wanted=(432, 144)).height_width == (432, 144)
    with pytest.raises(ValueError, match="makes 24 x 8 patches .* positions for 243, as many as 27 x 9 overlapping"):
        find_image_size(243, 16, wanted=(384, 128))


@pytest.mark.parametrize(
    ("positions", "fits"), [(128, "256 128"), (162, "288 144"), (97, "none that is usual"), (0, "n")]
)
def test_other_numbers_are_asked_for(positions, fits):
    with pytest.raises(ValueError, match=f"give the image_size that it was trained at, of those that fit: {fits}"):
        find_image_size(positions, 16)


def test_given_and_known_sizes():
    assert find_image_size(192, 16, wanted=(256, 192)).others == ()
    assert find_image_size(192, 16, known=((256, 192), "as it says")).why == "as it says"
    resized = find_image_size(192, 16, known=((224, 224), "as input_resolution says"))  # the positions are newer
    assert resized.height_width == (384, 128)
    with pytest.raises(ValueError, match="which the patch size 14 does not divide; take 378 or 392"):
        find_image_size(243, 14, wanted=(384, 128))
