import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import CLIPModel

from modeling_prompt_clip import ClipPromptConfig, PromptCLIPModel, PromptCLIPProcessor
from modeling_prompt_clip.retrieval import encode_captions, encode_images

CAPTIONS = ["a tall man with a bag", "hi", "a woman", "", "a boy in red and blue and green and more", "b"]


def image_by_image(model, processor, images):
    with torch.no_grad():
        features = [model.eval().get_image_features(**processor(images=[image])).pooler_output for image in images]
    return torch.nn.functional.normalize(torch.cat(features), dim=1)


def caption_by_caption(model, processor, captions):
    with torch.no_grad():
        features = [model.eval().get_text_features(**processor(text=[text])).pooler_output for text in captions]
    return torch.nn.functional.normalize(torch.cat(features), dim=1)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_images_in_batches_are_the_images_one_by_one(tiny_model, tiny_processor, images, batch_size):
    expected = image_by_image(tiny_model, tiny_processor, images)
    embeds = encode_images(tiny_model, tiny_processor, images, batch_size)
    torch.testing.assert_close(embeds, expected, atol=1e-6, rtol=0)
    assert not torch.allclose(embeds[0], embeds[1], atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_captions_come_back_in_the_order_given(tiny_model, tiny_processor, batch_size):
    expected = caption_by_caption(tiny_model, tiny_processor, CAPTIONS)
    embeds = encode_captions(tiny_model, tiny_processor, CAPTIONS, batch_size)
    torch.testing.assert_close(embeds, expected, atol=1e-6, rtol=0)


def test_equal_captions_have_equal_embeddings_wherever_they_stand(tiny_model, tiny_processor):
    others = [f"a man in red {'and blue ' * (row % 9)}" for row in range(60)]
    captions = [
        caption for other in others for caption in (other, "a man in a red coat", "a man in a red coat &nbsp;")
    ]
    embeds = encode_captions(tiny_model, tiny_processor, captions, 7).unflatten(0, (60, 3))
    assert (embeds[:, 1:] == embeds[0, 1]).all()
    expected = caption_by_caption(tiny_model, tiny_processor, others)
    torch.testing.assert_close(embeds[:, 0], expected, atol=1e-6, rtol=0)


def test_captions_of_one_length_share_a_batch(tiny_model, tiny_processor, monkeypatch):
    shapes = []
    encode = tiny_model.get_text_features

    def spy(input_ids, **options):
        shapes.append(tuple(input_ids.shape))
        return encode(input_ids=input_ids, **options)

    monkeypatch.setattr(tiny_model, "get_text_features", spy)
    encode_captions(tiny_model, tiny_processor, ["aaaaaaaa", "a", "bbbbbbbb", "b"], batch_size=2)
    assert shapes == [(2, 3), (2, 10)]


@pytest.mark.parametrize("wrapped", [None, ClipPromptConfig(), LoraConfig(target_modules=["q_proj"])], ids=type)
def test_the_last_layers_compute_the_pooled_token_alone(tiny_folder, tiny_processor, images, wrapped):
    model = clip = PromptCLIPModel.from_pretrained(tiny_folder)
    if wrapped is not None:
        model = get_peft_model(model, wrapped)
    tokens = []
    for tower in (clip.vision_model, clip.text_model):
        tower.encoder.layers[-1].mlp.register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    encode_images(model, tiny_processor, images)
    encode_captions(model, tiny_processor, CAPTIONS)
    assert tokens == [1, 1]


def test_a_generator_and_a_column_give_what_a_list_gives(tiny_model, tiny_processor, images, people):
    expected = encode_images(tiny_model, tiny_processor, images)
    assert torch.equal(encode_images(tiny_model, tiny_processor, (image for image in images)), expected)
    assert torch.equal(encode_images(tiny_model, tiny_processor, people["image"]), expected)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_give_the_same_embeddings(tiny_model, tiny_processor, images, people, num_workers):
    expected = encode_images(tiny_model, tiny_processor, images, batch_size=5)
    for given in (images, people["image"], iter(images)):
        embeds = encode_images(tiny_model, tiny_processor, given, batch_size=5, num_workers=num_workers)
        assert torch.equal(embeds, expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named(tiny_model, tiny_processor, images, tmp_path, num_workers, workers):
    images[0].save(tmp_path / "short.jpg")
    (tmp_path / "short.jpg").write_bytes((tmp_path / "short.jpg").read_bytes()[:900])
    with Image.open(tmp_path / "short.jpg") as short:
        given = [*images[:7], short, *images[7:]]
        with pytest.raises(OSError, match=r"^image 7 \(counted from 0\) cannot be read: image file is truncated"):
            encode_images(tiny_model, tiny_processor, given, batch_size=5, num_workers=num_workers)
    assert not workers()


def test_workers_end_when_the_model_fails(tiny_model, tiny_processor, images, monkeypatch, workers):
    def fail(pixel_values, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tiny_model, "get_image_features", fail)
    with pytest.raises(RuntimeError, match="out of memory") as error:
        encode_images(tiny_model, tiny_processor, images, batch_size=2, num_workers=2)
    # while the error lives, so do the variables of the function that it left
    assert error.tb is not None and not workers()


def test_plain_clip_is_encoded(tiny_clip_folder, images):
    model = CLIPModel.from_pretrained(tiny_clip_folder)
    processor = PromptCLIPProcessor.from_clip(tiny_clip_folder, image_size=None)
    embeds = encode_images(model, processor, images), encode_captions(model, processor, CAPTIONS)
    torch.testing.assert_close(embeds[0], image_by_image(model, processor, images), atol=1e-6, rtol=0)
    torch.testing.assert_close(embeds[1], caption_by_caption(model, processor, CAPTIONS), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "config", [LoraConfig(target_modules=["q_proj"], init_lora_weights=False), ClipPromptConfig(init_std=1.0)]
)
def test_peft_models_are_encoded(tiny_model, tiny_processor, images, config):
    plain = encode_images(tiny_model, tiny_processor, images), encode_captions(tiny_model, tiny_processor, CAPTIONS)
    adapted = get_peft_model(tiny_model, config)
    encoded = encode_images(adapted, tiny_processor, images), encode_captions(adapted, tiny_processor, CAPTIONS)
    expected = image_by_image(adapted, tiny_processor, images), caption_by_caption(adapted, tiny_processor, CAPTIONS)
    for ours, one_by_one, without in zip(encoded, expected, plain, strict=True):
        torch.testing.assert_close(ours, one_by_one, atol=1e-6, rtol=0)
        assert not torch.allclose(ours, without, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_result_is_ordinary_unit_float32(tiny_model, tiny_processor, images, dtype):
    model = tiny_model.to(dtype)
    for embeds in (
        encode_images(model, tiny_processor, images[:2]),
        encode_captions(model, tiny_processor, CAPTIONS),
    ):
        assert embeds.dtype == torch.float32
        assert not embeds.is_inference()
        torch.testing.assert_close(embeds.norm(dim=1), torch.ones(len(embeds)))


def test_every_module_keeps_its_training_mode(tiny_model, tiny_processor, images):
    tiny_model.train()
    tiny_model.vision_model.eval()
    before = [module.training for module in tiny_model.modules()]
    encode_images(tiny_model, tiny_processor, images[:1])
    assert [module.training for module in tiny_model.modules()] == before
    with pytest.raises(ValueError, match="images is empty"):
        encode_images(tiny_model, tiny_processor, [])
    assert [module.training for module in tiny_model.modules()] == before


def test_dropout_is_off(tiny_model, tiny_processor, images):
    for layer in tiny_model.vision_model.encoder.layers:
        layer.self_attn.dropout = 0.5
    tiny_model.train()
    first, second = (encode_images(tiny_model, tiny_processor, images) for _ in range(2))
    assert torch.equal(first, second)


def test_wrong_input_is_named(tiny_model, tiny_processor, images):
    with pytest.raises(ValueError, match="captions is empty"):
        encode_captions(tiny_model, tiny_processor, [])
    with pytest.raises(ValueError, match="batch_size=0"):
        encode_images(tiny_model, tiny_processor, images, batch_size=0)
    with pytest.raises(ValueError, match="num_workers=-1 must be at least 0"):
        encode_images(tiny_model, tiny_processor, images, num_workers=-1)
    with pytest.raises(ValueError, match="batch_size=-1"):
        encode_captions(tiny_model, tiny_processor, CAPTIONS, batch_size=-1)


def test_diverged_weights_are_noticed(tiny_model, tiny_processor, images):
    tiny_model.visual_projection.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN or infinity for some image"):
        encode_images(tiny_model, tiny_processor, images[:1])


def test_no_bar_for_a_short_pass_nor_without_progress(tiny_model, tiny_processor, images, capsys):
    encode_images(tiny_model, tiny_processor, images)
    encode_captions(tiny_model, tiny_processor, CAPTIONS, progress=False)
    assert capsys.readouterr() == ("", "")
